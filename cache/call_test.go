package cache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// TestOldValueEnds: no reader receives an old value after StaleFor, neither from a load that
// began before that end, nor during the pause after a failed load.
func TestOldValueEnds(t *testing.T) {
	slow := func(context.Context) (int, error) { time.Sleep(10 * time.Second); return 0, errSource }
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx := t.Context()
		c := make(&cache.Options[int]{StaleFor: 5 * time.Second, ThrottleFor: time.Minute})
		_, _ = c.GetOrLoad(ctx, "slow", constant(1))
		_, _ = c.GetOrLoad(ctx, "throttled", constant(1))
		_, _ = c.GetOrLoad(ctx, "expired", constant(1))
		time.Sleep(time.Hour + time.Second)
		if v, err := c.GetOrLoad(ctx, "throttled", failing); v != 1 || err != nil {
			t.Errorf("within StaleFor: %d, %v", v, err)
		}
		if v, err := c.GetOrLoad(ctx, "slow", slow); !errors.Is(err, errSource) {
			t.Errorf("a load that ends after StaleFor: %d, %v", v, err)
		}
		if v, err := c.GetOrLoad(ctx, "throttled", failing); !errors.Is(err, errSource) {
			t.Errorf("a pause that ends after StaleFor: %d, %v", v, err)
		}
	})
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx := t.Context()
		c := make(&cache.Options[int]{StaleFor: 5 * time.Second})
		_, _ = c.GetOrLoad(ctx, "k", constant(1))
		time.Sleep(time.Hour - time.Second)
		if err := c.Expire(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if v, err := c.GetOrLoad(ctx, "k", slow); !errors.Is(err, errSource) {
			t.Errorf("a load that ends after the StaleFor of Expire: %d, %v", v, err)
		}
	})
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx := t.Context()
		c := make(&cache.Options[int]{EarlyRefresh: 1e9}) // every read refreshes
		_, _ = c.GetOrLoad(ctx, "k", constant(1))
		time.Sleep(time.Hour - time.Second)
		if v, err := c.GetOrLoad(ctx, "k", slow); v != 1 || err != nil {
			t.Errorf("within the time to live: %d, %v", v, err)
		}
		time.Sleep(2 * time.Second)
		if v, err := c.GetOrLoad(ctx, "k", slow); !errors.Is(err, errSource) {
			t.Errorf("after the time to live, without StaleFor: %d, %v", v, err)
		}
	})
}

// afterFill calls then after each Fill that the store has executed.
type afterFill struct {
	driver.Store
	then func()
}

func (s afterFill) Do(ctx context.Context, ops []driver.Op) {
	s.Store.Do(ctx, ops)
	for i := range ops {
		if ops[i].Kind == driver.Fill {
			s.then()
		}
	}
}

// TestDeleteAfterLoadTimeout: LoadTimeout ends a call whose load has returned and whose
// value is not yet kept. A Delete at that moment is not lost.
func TestDeleteAfterLoadTimeout(t *testing.T) {
	for _, tier := range []string{"memory", "store"} {
		t.Run(tier, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, db := t.Context(), "old"
				var c *cache.Typed[string]
				pause := func() {
					if db != "old" {
						return
					}
					time.Sleep(time.Second) // LoadTimeout ends the call
					db = "new"
					if err := c.Delete(ctx, "k"); err != nil {
						t.Error(err)
					}
				}
				opts := &cache.Options[string]{LoadTimeout: 100 * time.Millisecond, LocalTTL: 100 * time.Hour}
				if tier == "memory" {
					opts.Trace = &cache.Trace{Loaded: func(context.Context, cache.LoadedEvent) { pause() }}
					c = newTyped(t, nil, opts)
				} else {
					c = newTyped(t, afterFill{storeOf(newMapStore()), pause}, opts)
				}
				load := func(context.Context) (string, error) { return db, nil }
				if v, err := c.GetOrLoad(ctx, "k", load); !errors.Is(err, cache.ErrLoadTimeout) {
					t.Errorf("%q, %v", v, err)
				}
				time.Sleep(2 * time.Second)
				if v, err := c.GetOrLoad(ctx, "k", load); v != "new" || err != nil {
					t.Errorf("after Delete: %q, %v", v, err)
				}
			})
		})
	}
}
