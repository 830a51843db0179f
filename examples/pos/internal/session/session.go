// Package session stores the sessions of users in the database. Each server caches a session
// for 0.4 s. A session that ends at one server therefore ends at every server, with or without
// Redis.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// memory is how long a server caches a session. The server that ends a session waits that long
// before it reports success, so no server accepts the session afterwards.
const memory = 400 * time.Millisecond

// patience is the time limit for the look-up of a session. With it, probes and the status page
// respond while the database is unavailable.
const patience = 3 * time.Second

// most is the maximum number of cached sessions.
const most = 10_000

// Sessions are the sessions of the shop. They are safe for concurrent use.
type Sessions struct {
	store  *store.Store
	secret []byte
	alone  bool // no other server uses the database

	mu    sync.Mutex
	known map[string]known
	ends  int // counts endings, so that a read that began before one is not cached
}

type known struct {
	user store.User
	read time.Time // when the read began
}

// New returns the sessions in a database. The secret signs tokens. All servers on one database
// share it. alone means that no other server uses the database.
func New(st *store.Store, secret []byte, alone bool) *Sessions {
	return &Sessions{store: st, secret: secret, alone: alone, known: map[string]known{}}
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Sign returns text with a checksum that only holders of the secret can compute.
func (s *Sessions) Sign(kind, text string) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(kind + "\n" + text))
	return text + "." + encoding.EncodeToString(mac.Sum(nil)[:15])
}

// Signed reports whether Sign made a text.
func (s *Sessions) Signed(kind, signed string) bool {
	text, _, ok := strings.Cut(signed, ".")
	return ok && hmac.Equal([]byte(s.Sign(kind, text)), []byte(signed))
}

const kind = "session"

// Start starts a session and returns its token.
func (s *Sessions) Start(ctx context.Context, user store.User, lifetime time.Duration, address, agent string) (string, error) {
	token := s.Sign(kind, rand.Text())
	return token, s.store.StartSession(ctx, token, user, lifetime, address, agent)
}

// User returns the user of a token, and false if there is no such session.
func (s *Sessions) User(ctx context.Context, token string) (store.User, bool, error) {
	read := time.Now()
	s.mu.Lock()
	k, ok := s.known[token]
	ends := s.ends
	s.mu.Unlock()
	if ok && read.Sub(k.read) < memory {
		return k.user, true, nil
	}
	if !s.Signed(kind, token) { // a forged token costs no look-up
		return store.User{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	user, ok, err := s.store.Session(ctx, token)
	if err != nil || !ok {
		return store.User{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == ends {
		if len(s.known) >= most {
			maps.DeleteFunc(s.known, func(_ string, k known) bool { return read.Sub(k.read) >= memory })
		}
		if len(s.known) < most {
			s.known[token] = known{user, read}
		}
	}
	return user, true, nil
}

// End ends a session. Ending a session twice is no error.
func (s *Sessions) End(ctx context.Context, token string) error {
	if err := s.store.EndSession(ctx, token); err != nil {
		return err
	}
	return s.Ended(ctx)
}

// Ended must be called after sessions have ended in the database. It returns when no server
// accepts them any more.
func (s *Sessions) Ended(ctx context.Context) error {
	s.mu.Lock()
	s.ends++
	clear(s.known)
	s.mu.Unlock()
	if s.alone {
		return nil
	}
	select {
	case <-time.After(memory):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
