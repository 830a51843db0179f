// Package rediscache is a cache.Cache on Redis: standalone, Sentinel, Cluster or Ring.
// It grants leases, keeps the states of tags, and tells all processes of writes; see
// [Store.Run].
//
// Each call has a deadline of its own, which holds even where the client ignores
// contexts (go-redis does, unless told otherwise); [ClientOptions] are settings with
// which a dead server is noticed soon.
package rediscache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/internal/redisdeadline"
)

// Options tune a [Store]. The zero value and nil work.
type Options struct {
	// Prefix stands before every key, to share a database with others. Default: "cache:".
	Prefix string
	// Timeout bounds one call. Default: 250 ms.
	Timeout time.Duration
	// MaxValue is the size in bytes above which a value is not stored, since one
	// command with it would hold up the server. Default: 1 MiB.
	MaxValue int
	// NearLimit bounds the age of what caches keep in memory before this store while
	// writes are heard of: the cost of a message that nobody noticed was lost.
	// Default: 30 s.
	NearLimit time.Duration
	// NearLimitDeaf is the same while they are not heard of: before Run, and when its
	// connection is gone. Default: 2 s.
	NearLimitDeaf time.Duration
	// Tracking makes Run hear of writes by others than this package too: a SET or DEL
	// by redis-cli, another service, the server's own expiry and FLUSHALL. The server
	// must be Redis 6 or later and allow CLIENT TRACKING, and the client a
	// *redis.Client, *redis.ClusterClient or *redis.Ring. The server does not say who
	// wrote, so what this process keeps in memory is dropped after its own writes and
	// loads as well, which costs each process one more read of Redis for each of them,
	// and it tells every process of every write under Prefix, in all databases.
	// Default: false.
	Tracking bool
	// Logger is told when writes are no longer heard of, and when they are again.
	// Default: slog.Default().
	Logger *slog.Logger
	// Trace is told what happens. Default: nil.
	Trace *Trace
}

// Store is a cache on Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	opts   Options
	nodes  func(context.Context) ([]*redis.Client, error) // to track, nil where that cannot be done
	guard  bool                                           // the client does not obey the deadlines of contexts
	ways   sync.Mutex
	coh    *cache.Coherence
	bus    bus
	stats  counters
}

var (
	_ cache.Cache    = (*Store)(nil)
	_ cache.Leaser   = (*Store)(nil)
	_ cache.Tagger   = (*Store)(nil)
	_ cache.Comparer = (*Store)(nil)
	_ cache.Coherent = (*Store)(nil)
)

// New returns a store. It does not connect. opts may be nil.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	s := &Store{client: client, coh: cache.NewCoherence(), bus: newBus()}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Prefix == "" {
		s.opts.Prefix = "cache:"
	}
	if s.opts.Timeout == 0 {
		s.opts.Timeout = 250 * time.Millisecond
	}
	if s.opts.MaxValue == 0 {
		s.opts.MaxValue = 1 << 20
	}
	if s.opts.NearLimit == 0 {
		s.opts.NearLimit = 30 * time.Second
	}
	if s.opts.NearLimitDeaf == 0 {
		s.opts.NearLimitDeaf = 2 * time.Second
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.Default()
	}
	if s.opts.Trace == nil {
		s.opts.Trace = &Trace{}
	}
	switch {
	case strings.ContainsAny(s.opts.Prefix, "{}"):
		return nil, errors.New("rediscache: Prefix must not contain braces, which place keys on a Cluster")
	case s.opts.NearLimit < 0 || s.opts.NearLimitDeaf < 0:
		return nil, errors.New("rediscache: NearLimit and NearLimitDeaf must not be negative")
	case client == nil:
		return nil, errors.New("rediscache: New needs a client")
	case s.opts.Timeout < 0 || s.opts.MaxValue < 0:
		return nil, errors.New("rediscache: Timeout and MaxValue must not be negative")
	}
	if s.nodes = nodesOf(client); s.opts.Tracking && s.nodes == nil {
		return nil, fmt.Errorf("rediscache: Tracking needs a *redis.Client, *redis.ClusterClient or *redis.Ring, not %T", client)
	}
	s.coh.SetLimit(s.opts.NearLimitDeaf)
	s.guard = redisdeadline.Ignored(client)
	return s, nil
}

// ClientOptions returns settings for a client of one server: deadlines of contexts are
// obeyed, connecting and each answer may take 200 ms, and nothing is tried again, which
// is for the caller with its budget to decide.
func ClientOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true,
		DialTimeout:           200 * time.Millisecond,
		ReadTimeout:           200 * time.Millisecond,
		WriteTimeout:          200 * time.Millisecond,
		PoolTimeout:           200 * time.Millisecond,
		MaxRetries:            -1,
		DialerRetries:         1,
	}
}

// ClusterOptions are the same for a Cluster. One more try is made, since a node that has
// lost a slot answers with its new owner.
func ClusterOptions(addrs ...string) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                 addrs,
		ContextTimeoutEnabled: true,
		DialTimeout:           200 * time.Millisecond,
		ReadTimeout:           200 * time.Millisecond,
		WriteTimeout:          200 * time.Millisecond,
		PoolTimeout:           200 * time.Millisecond,
		MaxRedirects:          1,
		MaxRetries:            -1,
		DialerRetries:         1,
	}
}

// maxKey is the length above which a key is stored under its hash, with its beginning
// left readable.
const maxKey = 512

// key is where a value is kept. What stands in braces decides the slot of a Cluster, and
// is the same for the key of its lease.
func (s *Store) key(key string) string {
	if len(key) > maxKey || key[0] == '}' {
		sum := sha256.Sum256([]byte(key))
		key = "#" + base64.RawURLEncoding.EncodeToString(sum[:]) + "#" + key[:min(len(key), 64)]
	}
	return s.opts.Prefix + "{" + key + "}"
}

func (s *Store) leaseKey(key string) string { return s.key(key) + ":lease" }
func (s *Store) tagKey(tag string) string   { return s.opts.Prefix + "tag:" + tag }

// Coherence is told of the writes of this process at once, and of those of others while
// Run runs.
func (s *Store) Coherence() *cache.Coherence { return s.coh }

// Get returns a value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if key == "" {
		return nil, false, cache.ErrEmptyKey
	}
	value, err := again(ctx, s, func(ctx context.Context) ([]byte, error) {
		return s.client.Get(ctx, s.key(key)).Bytes()
	})
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return value, err == nil, wrap(err)
}

// Set stores a value, ends the lease of the key and tells all processes, in one step.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return err
	}
	if len(value) > s.opts.MaxValue {
		// The old value must go all the same: the caller has replaced it.
		return errors.Join(s.tooLarge(value), s.Delete(ctx, key))
	}
	defer s.coh.KeyChanged(key)
	return s.run(ctx, setScript, []string{s.key(key), s.leaseKey(key)}, value, ttl.Milliseconds(), s.bus.channel(s), s.bus.message(opKey, cache.KeyHash(key)))
}

func (s *Store) tooLarge(value []byte) error {
	return fmt.Errorf("rediscache: %w: %d bytes, at most %d are stored", cache.ErrTooLarge, len(value), s.opts.MaxValue)
}

// Delete removes keys, ends their leases and tells all processes, in one step for each.
// On a Cluster each node is sent its own in one round trip.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if key == "" {
			return cache.ErrEmptyKey
		}
	}
	if len(keys) == 0 {
		return ctx.Err()
	}
	defer func() {
		for _, key := range keys {
			s.coh.KeyChanged(key)
		}
	}()
	arguments := func(key string) ([]string, []any) {
		return []string{s.key(key), s.leaseKey(key)}, []any{s.bus.channel(s), s.bus.message(opKey, cache.KeyHash(key))}
	}
	if len(keys) == 1 {
		at, args := arguments(keys[0])
		_, err := again(ctx, s, func(ctx context.Context) (int, error) { return deleteScript.Run(ctx, s.client, at, args...).Int() })
		return wrap(err)
	}
	_, err := again(ctx, s, func(ctx context.Context) (struct{}, error) {
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				at, args := arguments(key)
				deleteScript.Eval(ctx, p, at, args...)
			}
			return nil
		})
		return struct{}{}, err
	})
	return wrap(err)
}

// run runs a script for its effect.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) error {
	_, err := s.ask(ctx, script, keys, args...)
	return err
}

func (s *Store) ask(ctx context.Context, script *redis.Script, keys []string, args ...any) (int, error) {
	n, err := do(ctx, s, func(ctx context.Context) (int, error) { return script.Run(ctx, s.client, keys, args...).Int() })
	return n, wrap(err)
}

// do calls the client within the store's own deadline.
func do[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (T, error) {
	value, err := redisdeadline.Call(ctx, s.guard, s.opts.Timeout, call)
	if c, ok := s.client.(reloader); ok && err != nil && ctx.Err() == nil && !errors.As(err, new(redis.Error)) {
		c.ReloadState(ctx) // in the background, and once for many failures
	}
	return value, err
}

// reloader is the client of a Cluster. By itself it finds out once a minute who has taken
// over from a node that is gone.
type reloader interface {
	ReloadState(ctx context.Context)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("rediscache: %w", err)
}
