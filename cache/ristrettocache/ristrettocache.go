// Package ristrettocache is a cache.Cache in this process, over ristretto: bounded by
// bytes, with an admission policy that keeps what is asked for often.
//
// It differs from plain ristretto where that surprises: a Get that begins after Set
// has returned sees the value or nothing older; of two Sets of a new key the later one
// stays; keys are compared in full; Close may run beside other calls. The admission
// policy can still refuse a value, so a store of this kind must never hold the only
// copy of anything.
package ristrettocache

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/mainstay-go/mainstay/cache"
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
	coh     *cache.Coherence
}

type entry struct {
	key     string
	value   []byte
	version uint64
	expires time.Time
}

// overhead is what an entry takes besides key and value.
const overhead = 100

var (
	_ cache.Cache    = (*Store)(nil)
	_ cache.Comparer = (*Store)(nil)
	_ cache.Coherent = (*Store)(nil)
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
	return &Store{engine: engine, coh: cache.NewCoherence()}, nil
}

// Coherence is shared by the caches on this store.
func (s *Store) Coherence() *cache.Coherence { return s.coh }

// Get returns a copy of a value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if key == "" {
		return nil, false, cache.ErrEmptyKey
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, false, cache.ErrClosed
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
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return cache.ErrClosed
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
		return cache.ErrClosed
	}
	for _, key := range keys {
		if key == "" {
			return cache.ErrEmptyKey
		}
		s.engine.Del(key)
	}
	s.engine.Wait() // a Set that was queued before must not come after
	return nil
}

// Close frees the memory. Calls that come later fail with cache.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.engine.Close()
	}
	return nil
}
