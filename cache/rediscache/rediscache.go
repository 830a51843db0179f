// Package rediscache is a cache.Cache on Redis: standalone, Sentinel, Cluster or Ring.
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
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
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
}

// Store is a cache on Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	opts   Options
	guard  bool // the client does not obey the deadlines of contexts
}

// ErrTooLarge means that a value is larger than Options.MaxValue.
var ErrTooLarge = errors.New("rediscache: the value is too large")

var _ cache.Cache = (*Store)(nil)

// New returns a store. It does not connect. opts may be nil.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	s := &Store{client: client}
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
	switch {
	case client == nil:
		return nil, errors.New("rediscache: New needs a client")
	case s.opts.Timeout < 0 || s.opts.MaxValue < 0:
		return nil, errors.New("rediscache: Timeout and MaxValue must not be negative")
	}
	switch c := client.(type) {
	case *redis.Client:
		s.guard = !c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		s.guard = !c.Options().ContextTimeoutEnabled
	default:
		s.guard = true
	}
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

// maxKey is the length above which a key is stored under its hash, with its beginning
// left readable.
const maxKey = 512

func (s *Store) key(key string) string {
	if len(key) > maxKey {
		sum := sha256.Sum256([]byte(key))
		key = key[:64] + "#" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return s.opts.Prefix + key
}

// Get returns a value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if key == "" {
		return nil, false, cache.ErrEmptyKey
	}
	value, err := do(ctx, s, func(ctx context.Context) ([]byte, error) {
		return s.client.Get(ctx, s.key(key)).Bytes()
	})
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return value, err == nil, wrap(err)
}

// Set stores a value.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return err
	}
	if len(value) > s.opts.MaxValue {
		// The old value must go all the same: the caller has replaced it.
		return errors.Join(fmt.Errorf("%w: %d bytes, at most %d are stored", ErrTooLarge, len(value), s.opts.MaxValue), s.Delete(ctx, key))
	}
	_, err := do(ctx, s, func(ctx context.Context) (struct{}, error) {
		// Not Client.Set, which rounds a time to live to seconds where it can.
		return struct{}{}, s.client.Do(ctx, "SET", s.key(key), value, "PX", ttl.Milliseconds()).Err()
	})
	return wrap(err)
}

// Delete removes keys. On a Cluster each node is sent its own in one round trip.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if key == "" {
			return cache.ErrEmptyKey
		}
	}
	if len(keys) == 0 {
		return ctx.Err()
	}
	_, err := do(ctx, s, func(ctx context.Context) (struct{}, error) {
		if len(keys) == 1 {
			return struct{}{}, s.client.Del(ctx, s.key(keys[0])).Err()
		}
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.Del(ctx, s.key(key))
			}
			return nil
		})
		return struct{}{}, err
	})
	return wrap(err)
}

// do calls the client within the store's own deadline.
func do[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if !s.guard {
		return call(ctx)
	}
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	go func() { // ends with the client's own timeouts
		value, err := call(ctx)
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("rediscache: %w", err)
}
