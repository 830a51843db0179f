// Package ristrettocache stores bytes in the memory of this process, over ristretto. It is
// bounded by bytes, and has an admission policy that keeps what is asked for often. Use it
// where values should be encoded and compressed in memory; a cache.Typed without a store
// keeps values as they are, and is faster.
//
// It differs from plain ristretto where that surprises: a Get that begins after Set
// has returned sees the value or nothing older; of two Sets of a new key the later one
// stays; keys are compared in full; Close may run beside other calls. The admission
// policy can still refuse a value, so a store of this kind must never hold the only
// copy of anything.
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

// Options tune a [Store]. The zero value and nil work.
type Options struct {
	// MaxBytes bounds keys and values, with about 100 bytes more for each. Default: 64
	// MiB.
	MaxBytes int64
}

// Store is a cache in memory. It is safe for concurrent use. Ristretto runs two
// goroutines of its own until Close.
type Store struct {
	mu      sync.RWMutex // held for reading by every call, for writing by Close
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

// overhead is the memory of an entry besides key and value.
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
		IgnoreInternalCost: true, // overhead counts it
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

// Set stores a copy of value, unless the admission policy refuses it; then an older
// value is gone too.
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

// keep stores a copy of a value. It is called with the lock.
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
	s.engine.Wait() // a Set that was queued before must not come after
	return nil
}

// Close frees the memory. Calls that come later fail with driver.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.engine.Close()
	}
	return nil
}

// keep stores a value so that it, or one that newEnough accepts, is there afterwards, or
// nothing is. A Set of a new key only queues it, and of two that are queued together
// the first stays. So it waits until the queue is worked off and looks: what is there
// then is resident, and replacing something resident happens at once.
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
			return // refused by the admission policy
		}
	}
	engine.Del(key) // no value is better than an old one
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

// counters are ten for each entry that fits, as ristretto advises, at 1 KiB an entry.
func counters(maxBytes int64) int64 { return max(1_000, min(maxBytes/100, 100_000_000)) }
