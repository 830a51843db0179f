package redislimit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the scripts
	"encoding/base64"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
)

//go:embed window.lua
var windowSource string

//go:embed take.lua
var takeSource string

//go:embed exact.lua
var exactSource string

//go:embed peek.lua
var peekSource string

//go:embed cancel.lua
var cancelSource string

var (
	takeScript   = redis.NewScript(windowSource + takeSource)
	exactScript  = redis.NewScript(exactSource)
	peekScript   = redis.NewScript(peekSource)
	cancelScript = redis.NewScript(cancelSource)
)

// Client is what a Store needs: every client of go-redis has it, *redis.Client (also
// behind Sentinel), *redis.ClusterClient, *redis.Ring and *redis.AutoPipeliner.
type Client interface {
	redis.Scripter
	Del(ctx context.Context, keys ...string) *redis.IntCmd
}

// pipeliner is a Client that can send several scripts in one round trip.
type pipeliner interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// reloader is the client of a Cluster. By itself it finds out once a minute who has taken
// over from a node that is gone.
type reloader interface {
	ReloadState(ctx context.Context)
}

// Store is one Redis and what this process knows of its health. It is safe for
// concurrent use and starts no goroutine that outlives a call by more than the
// client's own time limits.
type Store struct {
	client  Client
	opts    Options
	base    time.Time
	breaker breaker
	guard   bool        // the client may ignore deadlines
	slots   atomic.Bool // keys of different subjects cannot go into one script

	calls    atomic.Uint64
	failures atomic.Uint64
}

// New returns a store on client. It does not connect, so a service starts without its
// Redis. opts may be nil.
func New(client Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redislimit: New needs a client")
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{client: client, opts: o, base: time.Now()}
	s.breaker = breaker{base: s.base, limit: int32(min(o.BreakerFailures, 1<<30)), pause: o.BreakerOpen}
	keepsDeadlines, known, retries := false, true, 0
	switch c := client.(type) {
	case *redis.Client:
		keepsDeadlines, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
	case *redis.ClusterClient:
		keepsDeadlines, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
		s.slots.Store(true)
	default:
		known = false
		s.slots.Store(true)
	}
	s.guard = !keepsDeadlines
	if known && s.guard {
		o.Logger.Warn("redislimit: the client ignores its context's deadline, so that each decision takes a goroutine to leave it behind; set ContextTimeoutEnabled (see redislimit.ClientOptions)")
	}
	if retries > 0 {
		o.Logger.Warn("redislimit: the client sends a command again when its answer is lost, which counts it twice; set MaxRetries to -1 (see redislimit.ClientOptions)", "max_retries", retries)
	}
	return s, nil
}

// Stats counts what happened since New.
type Stats struct {
	// Calls and Failures count questions to Redis.
	Calls, Failures uint64
	// Down says that Redis is left alone at the moment.
	Down bool
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	return Stats{Calls: s.calls.Load(), Failures: s.failures.Load(), Down: s.breaker.open.Load() != 0}
}

// errDown stands for the answer that the open breaker saved us from waiting for.
type errDown struct{ wait time.Duration }

func (e errDown) Error() string {
	return fmt.Sprintf("redislimit: Redis does not answer and is left alone for another %v", e.wait.Round(time.Millisecond))
}

// ask runs f within the store's deadline and keeps the breaker. The error is the
// caller's context's when that ended, and otherwise means that Redis failed. f may go
// on running after ask has given up, and so must only return what it finds.
func ask[T any](ctx context.Context, s *Store, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if wait, ok := s.breaker.allow(); !ok {
		return zero, errDown{wait}
	}
	s.calls.Add(1)
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	got, err := guarded(limited, s.guard, f)
	switch {
	case err == nil:
		s.answered()
		return got, nil
	case ctx.Err() != nil: // the caller left: that says nothing about Redis
		return zero, ctx.Err()
	}
	s.failed(err)
	return zero, err
}

// resend is how long after a request the client may send it again: when the answer is
// lost a Cluster's does, whatever its MaxRetries says.
func (s *Store) resend() time.Duration { return max(10*s.opts.Timeout, time.Second) }

// onceKey names one request about a key, beside it in its slot.
func onceKey(redisKey string) string { return redisKey + ":" + rand.Text() }

// guarded leaves f behind when ctx ends, if f might not notice.
func guarded[T any](ctx context.Context, guard bool, f func(context.Context) (T, error)) (T, error) {
	if !guard {
		return f(ctx)
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := f(ctx)
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

func (s *Store) answered() {
	if !s.breaker.succeeded() {
		return
	}
	s.opts.Logger.Info("redislimit: Redis answers again")
	if t := s.opts.Trace; t != nil && t.Up != nil {
		t.Up()
	}
}

func (s *Store) failed(err error) {
	s.failures.Add(1)
	if c, ok := s.client.(reloader); ok {
		c.ReloadState(context.Background()) // in the background, and once for many failures
	}
	t := s.opts.Trace
	if t != nil && t.Failed != nil {
		t.Failed(err)
	}
	if !s.breaker.failed() {
		return
	}
	s.opts.Logger.Warn("redislimit: Redis does not answer; each policy's OnFailure holds until it does", "error", err)
	if t != nil && t.Down != nil {
		t.Down(err)
	}
}

// pauseLeft is how long a call that failed by err should wait until it tries again.
func (s *Store) pauseLeft(err error) time.Duration {
	if down, ok := errors.AsType[errDown](err); ok {
		return down.wait
	}
	return s.opts.BreakerOpen
}

// share is this process's part of a limit while Redis is away.
func (s *Store) share(limit int) int {
	if limit < 1 { // blocked, or Unlimited
		return limit
	}
	return max(1, limit/s.opts.Instances)
}

// shares is share of what f says.
func (s *Store) shares(f ratelimit.LimitFunc) ratelimit.LimitFunc {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, key string) (int, bool) {
		limit, ok := f(ctx, key)
		return s.share(limit), ok
	}
}

// redisKey is "rl:{user:42}:api", with the caller in braces, so that all policies of
// one caller share a Cluster slot and callers spread over all of them.
func (s *Store) redisKey(key, suffix string) string {
	return s.opts.Prefix + ":{" + plainKey(key) + "}:" + suffix
}

// plainKey keeps what ratelimit.Key makes and hashes what could break out of the
// braces, reach into another key or fill Redis. No plain key begins with a tilde.
func plainKey(key string) string {
	plain := len(key) <= 128
	for i := 0; plain && i < len(key); i++ {
		c := key[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '_' || c == '@' || c == '-' || c == ':'
	}
	if plain {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}
