package cache

import (
	"context"
	"slices"

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

// lock waits for the locks of keys, or for the end of ctx. They are taken in one order by
// all, or two who want the same would wait for each other.
func (s *stripes) lock(ctx context.Context, keys ...string) (unlock func(), err error) {
	at := make([]int, len(keys))
	for i, key := range keys {
		at[i] = int(xxh3.HashString(key) % uint64(len(s)))
	}
	slices.Sort(at)
	at = slices.Compact(at)
	release := func(n int) {
		for _, i := range at[:n] {
			<-s[i]
		}
	}
	for n, i := range at {
		select {
		case s[i] <- struct{}{}:
		case <-ctx.Done():
			release(n)
			return nil, ctx.Err()
		}
	}
	return func() { release(len(at)) }, nil
}
