package ristrettocache

import (
	"bytes"
	"context"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// Discard implements cache.Comparer.
func (s *Store) Discard(ctx context.Context, key string, seen []byte) (bool, error) {
	if key == "" {
		return false, cache.ErrEmptyKey
	}
	if seen == nil {
		return false, ctx.Err()
	}
	return s.ifStill(ctx, key, seen, func() {
		s.engine.Del(key)
		s.engine.Wait() // a Set that was queued before must not come after
	})
}

// Swap implements cache.Comparer. The admission policy may refuse the value even so.
func (s *Store) Swap(ctx context.Context, key string, seen, value []byte, ttl time.Duration) (bool, error) {
	if err := cache.Validate(ctx, key, ttl); err != nil {
		return false, err
	}
	return s.ifStill(ctx, key, seen, func() {
		s.keep(key, value, ttl)
		s.coh.KeyChanged(key)
	})
}

// ifStill changes a key while nobody else can, if its value is seen.
func (s *Store) ifStill(ctx context.Context, key string, seen []byte, change func()) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock() // all others hold it for reading
	defer s.mu.Unlock()
	if s.closed {
		return false, cache.ErrClosed
	}
	e, ok := s.engine.Get(key)
	if ok && (e.key != key || !time.Now().Before(e.expires)) {
		ok = false
	}
	if ok != (seen != nil) || ok && !bytes.Equal(e.value, seen) {
		return false, nil
	}
	change()
	return true, nil
}
