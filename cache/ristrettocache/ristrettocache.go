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
	"errors"
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
}

type entry struct {
	key     string
	value   []byte
	version uint64
	expires time.Time
}

// overhead is what an entry takes besides key and value.
const overhead = 100

var _ cache.Cache = (*Store)(nil)

// New returns an empty store. opts may be nil.
func New(opts *Options) (*Store, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxBytes < 1<<10 {
		return nil, errors.New("ristrettocache: MaxBytes must be at least 1024")
	}
	engine, err := ristretto.NewCache(&ristretto.Config[string, *entry]{
		// Ten counters for each entry that fits, as ristretto advises, at 1 KiB an entry.
		NumCounters:        max(1_000, min(o.MaxBytes/100, 100_000_000)),
		MaxCost:            o.MaxBytes,
		BufferItems:        64,
		IgnoreInternalCost: true, // overhead counts it
		ShouldUpdate:       func(now, before *entry) bool { return now.version > before.version },
	})
	if err != nil {
		return nil, fmt.Errorf("ristrettocache: %w", err)
	}
	return &Store{engine: engine}, nil
}

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
	e := &entry{key: key, value: append(make([]byte, 0, len(value)), value...), version: s.version.Add(1), expires: time.Now().Add(ttl)}
	cost := int64(len(key) + len(value) + overhead)
	// A Set of a new key only queues it, and of two that are queued together the first
	// stays. So wait until the queue is worked off and look: what is there now is
	// resident, and replacing something resident happens at once.
	const attempts = 3
	for range attempts {
		accepted := s.engine.SetWithTTL(key, e, cost, ttl)
		s.engine.Wait()
		now, resident := s.engine.Get(key)
		switch {
		case resident && now.version >= e.version:
			return nil
		case !resident && accepted:
			return nil // refused by the admission policy
		}
	}
	s.engine.Del(key) // rather nothing than something old
	s.engine.Wait()
	return nil
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
