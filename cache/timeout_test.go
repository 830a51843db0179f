package cache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// TestHardTimeout: LoadTimeout holds for the readers of a load that does not obey its
// context, and what it brings in the end is not kept.
func TestHardTimeout(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx := t.Context()
		deaf := func(context.Context) (int, error) { time.Sleep(5 * time.Second); return 1, nil }
		c := make(&cache.Options[int]{LoadTimeout: 50 * time.Millisecond, StaleFor: 24 * time.Hour})
		start := time.Now()
		if v, err := c.GetOrLoad(ctx, "k", deaf); !errors.Is(err, cache.ErrLoadTimeout) || time.Since(start) != 50*time.Millisecond {
			t.Errorf("%d, %v after %v", v, err, time.Since(start))
		}
		time.Sleep(10 * time.Second)
		if v, found, err := c.Get(ctx, "k"); found || err != nil {
			t.Errorf("kept: %d, %v", v, err)
		}
		if v, err := c.GetOrLoad(ctx, "k", constant(2)); v != 2 || err != nil {
			t.Errorf("the key cannot be loaded: %d, %v", v, err)
		}
		time.Sleep(2 * time.Hour)
		start = time.Now()
		if v, err := c.GetOrLoad(ctx, "k", deaf); v != 2 || err != nil || time.Since(start) != 50*time.Millisecond {
			t.Errorf("the old value: %d, %v after %v", v, err, time.Since(start))
		}
		if s := c.Stats(); s.StaleFailed != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(10 * time.Second)
		if s := c.Stats(); s.Loads != 3 || s.LoadErrors != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestErrorTTL: an error is given to those who come soon after, but not to who comes
// after a Delete, and not where there is an old value.
func TestErrorTTL(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx := t.Context()
		c := make(&cache.Options[int]{ErrorTTL: time.Second})
		var loads atomic.Int32
		load := func(context.Context) (int, error) { loads.Add(1); return 0, errSource }
		for range 10 {
			if _, err := c.GetOrLoad(ctx, "k", load); !errors.Is(err, errSource) {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads within the second", n)
		}
		if err := c.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		if v, err := c.GetOrLoad(ctx, "k", constant(1)); v != 1 || err != nil {
			t.Errorf("after Delete: %d, %v", v, err)
		}
		if err := c.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		_, _ = c.GetOrLoad(ctx, "k", load)
		time.Sleep(1100 * time.Millisecond)
		if v, err := c.GetOrLoad(ctx, "k", constant(2)); v != 2 || err != nil {
			t.Errorf("after the second: %d, %v", v, err)
		}
	})
	if _, err := cache.New[int](storeOf(newMapStore()), "n", time.Hour, &cache.Options[int]{ErrorTTL: time.Minute}); err == nil {
		t.Error("an ErrorTTL of a minute was accepted")
	}
}

// TestPolicies is the table of the system that this package was made for: each kind of
// value lives as long as it may, and a write makes its group fresh at once.
func TestPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMapStore()
		ctx := t.Context()
		group := func(tags ...string) func(string) []string { return func(string) []string { return tags } }
		for name, policy := range map[string]struct {
			ttl  time.Duration
			opts cache.Options[int]
		}{
			"dashboard":  {time.Minute, cache.Options[int]{StaleFor: time.Hour, Tags: group("sales", "user ann")}},
			"products":   {5 * time.Minute, cache.Options[int]{NotFoundTTL: 10 * time.Second, Tags: group("catalogue")}},
			"categories": {10 * time.Minute, cache.Options[int]{Tags: group("catalogue")}},
			"reports":    {30 * time.Minute, cache.Options[int]{EarlyRefresh: 1, Tags: group("sales")}},
			"balances":   {30 * time.Second, cache.Options[int]{NotFoundTTL: -1}},
		} {
			policy.opts.Jitter = -1
			c, err := cache.New[int](storeOf(store), name, policy.ttl, &policy.opts)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.GetOrLoad(ctx, "k", constant(1))
			time.Sleep(policy.ttl - time.Second)
			if v, found, err := c.Get(ctx, "k"); v != 1 || !found || err != nil {
				t.Errorf("%s before its end: %d, %v, %v", name, v, found, err)
			}
			time.Sleep(time.Second)
			if _, found, err := c.Get(ctx, "k"); found || err != nil {
				t.Errorf("%s after its end: %v, %v", name, found, err)
			}
			_, _ = c.GetOrLoad(ctx, "k", constant(2))
			if policy.opts.Tags == nil {
				continue
			}
			if err := c.InvalidateTags(ctx, policy.opts.Tags("k")[0]); err != nil {
				t.Fatal(err)
			}
			if v, err := c.GetOrLoad(ctx, "k", constant(3)); v != 3 || err != nil {
				t.Errorf("%s after a write: %d, %v", name, v, err)
			}
		}
	})
}
