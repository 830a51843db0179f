// Package session keeps who is logged in: in the database, with a short memory in the
// cache before it, or in Redis before it.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
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
func NewStored(st *store.Store, c driver.Store) (*Stored, error) {
	known, err := cache.New[store.User](c, "session", memory, &cache.Options[store.User]{Codec: cache.JSON()})
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

// Redis are sessions in a Redis database of their own, which every request asks. The
// shop's database has them too: while Redis is away or has lost them the shop goes on
// selling.
type Redis struct {
	sessions *sessionstore.Store
	stored   *store.Store
	asleep   atomic.Int64 // Redis is not asked before this instant, in Unix nanoseconds
}

// NewRedis returns sessions in Redis, and in the database behind it.
func NewRedis(sessions *sessionstore.Store, st *store.Store) *Redis {
	return &Redis{sessions: sessions, stored: st}
}

// pause is how long Redis is left alone after it did not answer, so that a Redis that
// hangs holds up one request in a second and not all.
const pause = time.Second

// NewSession starts a session and returns its token.
func (r *Redis) NewSession(ctx context.Context, user store.User, lifetime time.Duration) (string, error) {
	value, err := json.Marshal(user)
	if err != nil {
		return "", err
	}
	started, err := r.sessions.Start(ctx, user.Name, value, lifetime)
	switch {
	case errors.Is(err, sessionstore.ErrUnavailable):
		return r.stored.NewSession(ctx, user, lifetime)
	case err != nil:
		return "", err
	}
	return started.Token(), r.stored.KeepSession(ctx, started.Token(), user, lifetime)
}

// Session returns the user of a token; false if there is no such session.
func (r *Redis) Session(ctx context.Context, token string) (user store.User, ok bool, err error) {
	if time.Now().UnixNano() < r.asleep.Load() {
		return r.stored.Session(ctx, token)
	}
	found, err := r.sessions.Get(ctx, token)
	switch {
	case errors.Is(err, sessionstore.ErrUnavailable) && ctx.Err() == nil:
		r.asleep.Store(time.Now().Add(pause).UnixNano())
		return r.stored.Session(ctx, token)
	case err != nil:
		return user, false, err
	case found == nil: // perhaps from a time when Redis was away
		return r.stored.Session(ctx, token)
	}
	if err := json.Unmarshal(found.Data, &user); err != nil {
		return store.User{}, false, fmt.Errorf("session: %w", err)
	}
	return user, true, nil
}

// EndSession ends a session; one that has ended is no error. While Redis is away it
// fails and ends nothing: Redis would know the session again when it is back.
func (r *Redis) EndSession(ctx context.Context, token string) error {
	if err := r.sessions.End(ctx, token); err != nil {
		return err
	}
	return r.stored.EndSession(ctx, token)
}
