// Package ristrettocache stores bytes in the memory of this process, with ristretto. It is
// limited by bytes, and its admission policy keeps the keys that are read often. Use it if
// values should be encoded and compressed in memory. A cache.Typed without a store does not
// encode values, and is faster.
//
// It differs from plain ristretto in four points. A Get that begins after Set has returned
// never returns an older value. The later of two Sets of a new key stays. Keys are compared
// in full. Close may run concurrently with other calls. The admission policy can still
// reject a value, so a store of this kind must never hold the only copy of a value.
package ristrettocache

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Options tune a [Store]. The zero value and nil are valid.
type Options struct {
	// MaxBytes is the limit for keys and values, with about 100 additional bytes for each.
	// Default: 64 MiB.
	MaxBytes int64
}

// Store is a cache in memory. It is safe for concurrent use. Ristretto runs two goroutines
// until Close.
type Store struct {
	mu      sync.RWMutex // read lock in every call, write lock in Close
	closed  bool
	engine  *ristretto.Cache[string, *entry]
	version atomic.Uint64
	local   driver.Store
}

type entry struct {
	key     string
	value   []byte
	version uint64
	expires time.Time
}

// overhead is the memory of an entry in addition to key and value.
const overhead = 100

var (
	_ driver.Simple = (*Store)(nil)
	_ driver.Store  = (*Store)(nil)
)

// New returns an empty store. opts may be nil.
func New(opts *Options) (*Store, error) {
	max, err := opts.maxBytes()
	if err != nil {
		return nil, err
	}
	engine, err := ristretto.NewCache(&ristretto.Config[string, *entry]{
		NumCounters:        counters(max),
		MaxCost:            max,
		BufferItems:        64,
		IgnoreInternalCost: true, // overhead includes it
		ShouldUpdate:       func(now, before *entry) bool { return now.version > before.version },
	})
	if err != nil {
		return nil, fmt.Errorf("ristrettocache: %w", err)
	}
	s := &Store{engine: engine}
	s.local = driver.Local(s, nil)
	return s, nil
}

// Do implements driver.Store.
func (s *Store) Do(ctx context.Context, ops []driver.Op) { s.local.Do(ctx, ops) }

// Capabilities implements driver.Store.
func (s *Store) Capabilities() driver.Capabilities { return s.local.Capabilities() }

// Get returns a copy of a value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if key == "" {
		return nil, false, driver.ErrEmptyKey
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, false, driver.ErrClosed
	}
	e, ok := s.engine.Get(key)
	if !ok || e.key != key || !time.Now().Before(e.expires) {
		return nil, false, nil
	}
	return bytes.Clone(e.value), true, nil
}

// Set stores a copy of value, unless the admission policy rejects it. An older value is
// then removed too.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := cmp.Or((&driver.Op{Kind: driver.Set, Key: key, TTL: ttl}).Check(), ctx.Err()); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return driver.ErrClosed
	}
	s.keep(key, value, ttl)
	return nil
}

// keep stores a copy of a value. The caller holds the lock.
func (s *Store) keep(key string, value []byte, ttl time.Duration) {
	e := &entry{key: key, value: append(make([]byte, 0, len(value)), value...), version: s.version.Add(1), expires: time.Now().Add(ttl)}
	cost := int64(len(key) + len(value) + overhead)
	keep(s.engine, key, e, cost, ttl, func(now *entry) bool { return now.version >= e.version })
}

// Delete removes keys.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return driver.ErrClosed
	}
	for _, key := range keys {
		if key == "" {
			return driver.ErrEmptyKey
		}
		s.engine.Del(key)
	}
	s.engine.Wait() // a queued Set must not run later
	return nil
}

// Close frees the memory. Later calls fail with driver.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.engine.Close()
	}
	return nil
}

// keep stores a value. Afterwards the engine has this value, or one that newEnough accepts,
// or none. A Set of a new key is only queued, and the first of two queued Sets stays. So
// keep waits until the queue is empty and reads the key. A value is then resident, and
// replacing a resident value happens at once.
func keep[K ristretto.Key, V any](engine *ristretto.Cache[K, V], key K, value V, cost int64, ttl time.Duration, newEnough func(V) bool) {
	const attempts = 3
	for range attempts {
		accepted := engine.SetWithTTL(key, value, cost, ttl)
		engine.Wait()
		now, resident := engine.Get(key)
		switch {
		case resident && newEnough(now):
			return
		case !resident && accepted:
			return // rejected by the admission policy
		}
	}
	engine.Del(key) // a missing value is better than an old one
	engine.Wait()
}

func (o *Options) maxBytes() (int64, error) {
	if o == nil || o.MaxBytes == 0 {
		return 64 << 20, nil
	}
	if o.MaxBytes < 1<<10 {
		return 0, errors.New("ristrettocache: MaxBytes must be at least 1024")
	}
	return o.MaxBytes, nil
}

// counters returns ten for each entry that fits, as ristretto recommends, at 1 KiB per
// entry.
func counters(maxBytes int64) int64 { return max(1_000, min(maxBytes/100, 100_000_000)) }
