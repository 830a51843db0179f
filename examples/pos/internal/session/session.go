// Package session keeps who is logged in: in the database, with a short memory in the
// cache before it, or in Redis.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/sessionstore"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// memory is how long a session is believed without asking the database: so long may one
// live on in another replica after its end.
const memory = 30 * time.Second

// Stored are sessions in the database.
type Stored struct {
	*store.Store
	known *cache.Typed[store.User]
}

// NewStored returns sessions in the database, remembered in a cache.
func NewStored(st *store.Store, c cache.Cache) (*Stored, error) {
	known, err := cache.New[store.User](c, "session", memory, &cache.Options{Codec: cache.JSON()})
	return &Stored{st, known}, err
}

var errNone = errors.New("session: there is none")

// Session returns the user of a token; false if there is no such session.
func (s *Stored) Session(ctx context.Context, token string) (store.User, bool, error) {
	user, err := s.known.GetOrLoad(ctx, hash(token), func(ctx context.Context) (store.User, error) {
		user, ok, err := s.Store.Session(ctx, token)
		if err == nil && !ok {
			err = errNone // not kept: whoever guesses tokens fills no cache
		}
		return user, err
	})
	if errors.Is(err, errNone) {
		return store.User{}, false, nil
	}
	return user, err == nil, err
}

// EndSession ends a session.
func (s *Stored) EndSession(ctx context.Context, token string) error {
	return errors.Join(s.Store.EndSession(ctx, token), s.known.Delete(ctx, hash(token)))
}

// hash is what is kept of a token: who can read the cache can log in as nobody.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Redis are sessions in a Redis database of their own. It is authoritative: while it
// does not answer, nobody is logged in.
type Redis struct{ sessions *sessionstore.Store }

// NewRedis returns sessions in Redis.
func NewRedis(sessions *sessionstore.Store) *Redis { return &Redis{sessions} }

// NewSession starts a session and returns its token.
func (r *Redis) NewSession(ctx context.Context, user store.User, lifetime time.Duration) (string, error) {
	value, err := json.Marshal(user)
	if err != nil {
		return "", err
	}
	started, err := r.sessions.Start(ctx, user.Name, value, lifetime)
	if err != nil {
		return "", err
	}
	return started.Token(), nil
}

// Session returns the user of a token; false if there is no such session.
func (r *Redis) Session(ctx context.Context, token string) (user store.User, ok bool, err error) {
	found, err := r.sessions.Get(ctx, token)
	if found == nil || err != nil {
		return user, false, err
	}
	if err := json.Unmarshal(found.Data, &user); err != nil {
		return store.User{}, false, fmt.Errorf("session: %w", err)
	}
	return user, true, nil
}

// EndSession ends a session; one that has ended is no error.
func (r *Redis) EndSession(ctx context.Context, token string) error {
	return r.sessions.End(ctx, token)
}
