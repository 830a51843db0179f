package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// slowToRead answers with what was there when it was asked.
type slowToRead struct {
	*mapStore
	reads atomic.Int32
}

func (s *slowToRead) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.reads.Add(1)
	value, found, err := s.mapStore.Get(ctx, key)
	select {
	case <-time.After(100 * time.Millisecond):
		return value, found, err
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// TestReadsTogether: however many read a key at once, two reads of the store answer them,
// and none is given what was read before it began.
func TestReadsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &slowToRead{mapStore: newMapStore()}
		c, other := newTyped[int](t, store, nil), newTyped[int](t, store.mapStore, nil)
		if err := other.Set(ctx, "k", 1); err != nil {
			t.Fatal(err)
		}
		leader, leave := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := c.Get(leader, "k"); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader, who left: %v", err)
			}
		})
		wg.Go(func() {
			time.Sleep(10 * time.Millisecond) // behind the leader
			if err := other.Set(ctx, "k", 2); err != nil {
				t.Error(err)
			}
			for range 100 {
				wg.Go(func() {
					if v, found, err := c.Get(ctx, "k"); v != 2 || !found || err != nil {
						t.Errorf("a reader that began after another process's Set: %d, %v, %v", v, found, err)
					}
				})
			}
			wg.Go(func() {
				start := time.Now()
				hasty, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				if _, _, err := c.Get(hasty, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Millisecond {
					t.Errorf("a hasty reader: %v after %v", err, time.Since(start))
				}
			})
			time.Sleep(40 * time.Millisecond)
			leave()
		})
		wg.Wait()
		if n := store.reads.Load(); n != 2 {
			t.Errorf("%d reads of the store", n)
		}
	})
}

// TestReadsWithOtherTags: who asks with other tags is not given the states of these.
func TestReadsWithOtherTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := newTyped[int](t, &slowToRead{mapStore: newMapStore()}, nil)
		if err := c.Set(ctx, "k", 1, cache.WithTags("a")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, opts := range [][]cache.CallOption{nil, {cache.WithTags("a")}, {cache.WithTags("a", "b")}, nil} {
			wg.Go(func() {
				if v, err := c.GetOrLoad(ctx, "k", constant(2), opts...); v != 1 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		wg.Wait()
	})
}
