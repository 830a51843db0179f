package cache

import (
	"context"

	"github.com/zeebo/xxh3"
)

// stripes are locks by key: writes of one key happen one after another, so that a
// fill which has been checked cannot arrive at the store behind the Delete that should
// have stopped it. A lock is held for one call of the store, which has a deadline.
type stripes [256]chan struct{}

func newStripes() *stripes {
	var s stripes
	for i := range s {
		s[i] = make(chan struct{}, 1)
	}
	return &s
}

// lock waits for the key's lock, or for the end of ctx.
func (s *stripes) lock(ctx context.Context, key string) (unlock func(), err error) {
	stripe := s[xxh3.HashString(key)%uint64(len(s))]
	select {
	case stripe <- struct{}{}:
		return func() { <-stripe }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
