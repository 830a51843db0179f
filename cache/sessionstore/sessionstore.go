// Package sessionstore keeps log-in sessions in Redis for all replicas of a service.
//
// It is not a cache. Redis has the only copy, and every call reads it, so that an ended
// session is over everywhere at once. While Redis does not reply, every method fails with
// [ErrUnavailable]. Sessions should have their own database, which [ClientOptions] selects,
// on a server that evicts no unexpired keys. Lost keys end sessions.
//
// [Store.SCS] fits github.com/alexedwards/scs.
package sessionstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/internal/redisdeadline"
)

// DB is the database that ClientOptions selects.
const DB = 2

// Errors for errors.Is.
var (
	// ErrUnavailable means that Redis did not reply. Reject the request.
	ErrUnavailable = errors.New("sessionstore: Redis does not respond, so no session can be read")
	// ErrEnded means that the session does not exist, or no longer exists.
	ErrEnded = errors.New("sessionstore: the session has ended")
	// ErrConflict means that another request saved the session since it was read. Read it
	// again.
	ErrConflict = errors.New("sessionstore: the session was changed meanwhile")
)

// Options tune a [Store]. The zero value and nil are valid.
type Options struct {
	// Prefix is the beginning of every key. Default: "session:".
	Prefix string
	// Idle is how long a session lives without use. Default: 12 h.
	Idle time.Duration
	// Timeout is the limit for one call of Redis. A method makes one or two. Default: 500
	// ms.
	Timeout time.Duration
}

// Store keeps sessions in Redis: standalone, Sentinel, Cluster or Ring. It is safe for
// concurrent use.
type Store struct {
	client  redis.UniversalClient
	opts    Options
	guard   bool // the client ignores the deadlines of contexts
	touched atomic.Uint64
	missed  atomic.Uint64
}

// New returns a store. It does not connect. opts may be nil.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	s := &Store{client: client}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.Prefix = cmp.Or(s.opts.Prefix, "session:")
	s.opts.Idle = cmp.Or(s.opts.Idle, 12*time.Hour)
	s.opts.Timeout = cmp.Or(s.opts.Timeout, 500*time.Millisecond)
	switch {
	case client == nil:
		return nil, errors.New("sessionstore: New needs a client")
	case strings.ContainsAny(s.opts.Prefix, "{}"):
		return nil, errors.New("sessionstore: Prefix must not contain braces, which place keys on a Cluster")
	case s.opts.Idle < time.Second || s.opts.Timeout < time.Millisecond:
		return nil, errors.New("sessionstore: Idle must be at least a second and Timeout a millisecond")
	}
	s.guard = redisdeadline.Ignored(client)
	return s, nil
}

// ClientOptions returns settings for a client of one server: database 2, deadlines of
// contexts obeyed, no retries. A Cluster has only one database. Options.Prefix separates
// the sessions there.
func ClientOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, DB: DB, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: 300 * time.Millisecond, ReadTimeout: 300 * time.Millisecond,
		WriteTimeout: 300 * time.Millisecond, PoolTimeout: 300 * time.Millisecond,
	}
}

// Session is the state of one log-in.
type Session struct {
	// User is the argument of Start. EndAll ends all sessions of a user.
	User string
	// Data belongs to the caller. Save replaces it.
	Data []byte
	// Ends is when the session ends even if it is in use.
	Ends time.Time

	token, state string
	seen         []byte // as stored
}

// Token is the session's secret, for its client only. The data in Redis cannot be used to
// log in.
func (s *Session) Token() string { return s.token }

// Stats are counters since New.
type Stats struct {
	// Extended counts the writes that moved the end of sessions in use. ExtendErrors counts
	// the writes that failed: these sessions will end earlier.
	Extended, ExtendErrors uint64
}

// Stats returns the counters.
func (s *Store) Stats() Stats { return Stats{s.touched.Load(), s.missed.Load()} }

// Start begins a session of a user, for at most lifetime. An EndAll of the user that
// returned before Start does not end it. An EndAll during Start may or may not end it.
func (s *Store) Start(ctx context.Context, user string, data []byte, lifetime time.Duration) (*Session, error) {
	if lifetime < time.Second {
		return nil, errors.New("sessionstore: the lifetime of a session must be at least a second")
	}
	state, err := s.state(ctx, user, lifetime)
	if err != nil {
		return nil, err
	}
	started := &Session{User: user, Data: data, Ends: time.Now().Add(lifetime), token: rand.Text(), state: state}
	return started, s.put(ctx, started, min(s.opts.Idle, lifetime))
}

// Get returns the session of a token, or nil if there is none. A Get counts as use: it
// moves the end of the session to Idle from now. The new end is written if it moves by at
// least a tenth of Idle.
func (s *Store) Get(ctx context.Context, token string) (*Session, error) {
	found, left, err := s.read(ctx, token)
	if found == nil || err != nil {
		return nil, err
	}
	if want := min(s.opts.Idle, time.Until(found.Ends)); want-left > s.opts.Idle/10 {
		_, err := call(ctx, s, func(ctx context.Context) (bool, error) { return s.client.PExpire(ctx, s.key(token), want).Result() })
		if err != nil {
			s.missed.Add(1)
		} else {
			s.touched.Add(1)
		}
	}
	return found, nil
}

// Save stores the Data of a session. It fails with ErrConflict if another request has saved
// the session since it was read, or with ErrEnded. The end of the session does not change.
func (s *Store) Save(ctx context.Context, changed *Session) error {
	data, err := changed.encode()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s, func(ctx context.Context) (int, error) {
		return saveScript.Run(ctx, s.client, []string{s.key(changed.token)}, sha1Hex(changed.seen), data).Int()
	})
	switch {
	case err != nil:
		return err
	case answer == saveEnded:
		return ErrEnded
	case answer == saveConflict:
		return ErrConflict
	}
	changed.seen = data
	return nil
}

// Rotate gives a session a new token and ends the old one. Call it after every change of
// rights. The old token is no longer valid.
func (s *Store) Rotate(ctx context.Context, token string) (*Session, error) {
	found, left, err := s.read(ctx, token)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, ErrEnded
	}
	rotated := *found
	rotated.token = rand.Text()
	if err := s.put(ctx, &rotated, left); err != nil {
		return nil, err
	}
	if err := s.End(ctx, token); err != nil {
		return nil, errors.Join(err, s.End(ctx, rotated.token)) // two valid tokens must not remain
	}
	return &rotated, nil
}

// End ends a session. A session that has already ended is not an error. End does not stop
// when ctx ends: a user who logs out and closes the page is logged out.
func (s *Store) End(ctx context.Context, token string) error {
	if !plausible(token) {
		return ctx.Err()
	}
	_, err := call(context.WithoutCancel(ctx), s, func(ctx context.Context) (int64, error) { return s.client.Del(ctx, s.key(token)).Result() })
	return err
}

// EndAll ends all sessions of a user, for example after a change of the password. Its
// duration does not depend on their number. After it has returned nil, no session that was
// started before is valid. EndAll does not stop when ctx ends.
func (s *Store) EndAll(ctx context.Context, user string) error {
	_, err := call(context.WithoutCancel(ctx), s, func(ctx context.Context) (int64, error) { return s.client.Del(ctx, s.userKey(user)).Result() })
	return err
}

// plausible reports whether a text has the form of a token.
func plausible(token string) bool { return token != "" && len(token) <= 256 }

// key hashes the token, so that a reader of Redis cannot log in.
func (s *Store) key(token string) string { return s.opts.Prefix + hash(token) }

func (s *Store) userKey(user string) string { return s.opts.Prefix + "user:" + hash(user) }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// call calls Redis. Its errors wrap ErrUnavailable, except redis.Nil.
func call[T any](ctx context.Context, s *Store, f func(context.Context) (T, error)) (T, error) {
	value, err := redisdeadline.Call(ctx, s.guard, s.opts.Timeout, f)
	if err != nil && !errors.Is(err, redis.Nil) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return value, err
}
