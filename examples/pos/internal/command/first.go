package command

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// fillShop writes the demo data into an empty database that a server has created. It leaves
// other databases as they are, and also a database that was started without demo data.
func fillShop(ctx context.Context, s *settings.Settings, st *store.Store, logger *slog.Logger) error {
	state, err := st.Demo(ctx)
	if err != nil || state != store.DemoWaits {
		return err
	}
	empty, err := st.Empty(ctx)
	if err != nil {
		return err
	}
	if s.Demo && empty {
		now, err := st.Now(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := st.Seed(ctx, calendar(s), now, store.Demo{}); err != nil {
			// When several servers start at once on one database, only one fills it.
			if empty, emptyErr := st.Empty(ctx); emptyErr != nil || empty {
				return fmt.Errorf("demo data: %w", err)
			}
		}
		logger.Info("demo data written", "took", time.Since(start).Round(time.Millisecond))
	}
	return st.SetDemo(ctx)
}

// calendar returns the business days of the shop.
func calendar(s *settings.Settings) store.Calendar {
	return store.Calendar{Zone: s.Timezone, Hour: s.DayStart.Hour, Minute: s.DayStart.Minute}
}

// secrets are keys that all servers on a database share.
type secrets struct {
	cursor  []byte
	tokens  []byte
	opsHash [sha256.Size]byte
}

// operator reports whether a request carries the operations token.
func (s *secrets) operator(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], s.opsHash[:]) == 1
}

// firstStart ensures that passwords and secrets exist. It stores those that were set, and
// generates and prints the missing ones. It prints them only once, because the database stores
// only their hashes.
func firstStart(ctx context.Context, stdout io.Writer, s *settings.Settings, st *store.Store) (*secrets, error) {
	for _, u := range []struct {
		user store.User
		set  string
	}{{store.AdminUser, s.AdminPassword}, {store.CashierUser, s.CashierPassword}} {
		if err := password(ctx, stdout, st, u.user, u.set); err != nil {
			return nil, err
		}
	}
	key, _, err := st.MetaOr(ctx, "cursor_secret", rand.Text()+rand.Text())
	if err != nil {
		return nil, err
	}
	tokens, _, err := st.MetaOr(ctx, "token_secret", rand.Text()+rand.Text())
	if err != nil {
		return nil, err
	}
	sum, err := opsHash(ctx, stdout, s, st)
	return &secrets{cursor: []byte(key), tokens: []byte(tokens), opsHash: sum}, err
}

func password(ctx context.Context, stdout io.Writer, st *store.Store, user store.User, set string) error {
	if set != "" {
		return st.ApplyPassword(ctx, user, set)
	}
	if has, err := st.HasPassword(ctx, user); err != nil || has {
		return err
	}
	made := rand.Text()[:16]
	given, err := st.GivePassword(ctx, user, made)
	if given {
		fmt.Fprintf(stdout, "pos: %s password: %s\n", user.Name, made)
	}
	return err
}

func opsHash(ctx context.Context, stdout io.Writer, s *settings.Settings, st *store.Store) (sum [sha256.Size]byte, err error) {
	if s.OpsToken != "" {
		return sha256.Sum256([]byte(s.OpsToken)), nil
	}
	made := rand.Text()
	sum = sha256.Sum256([]byte(made))
	kept, isNew, err := st.MetaOr(ctx, "ops_token_sha256", hex.EncodeToString(sum[:]))
	if err != nil {
		return sum, err
	}
	if isNew {
		fmt.Fprintf(stdout, "pos: ops token: %s\n", made)
	}
	if n, err := hex.Decode(sum[:], []byte(kept)); err != nil || n != len(sum) {
		return sum, fmt.Errorf("the ops token's hash in the database cannot be read; set --ops-token")
	}
	return sum, nil
}
