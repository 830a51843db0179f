package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/cachetest"
)

func newFallback(t testing.TB, opts *cache.FallbackOptions) (f *cache.Fallback, primary, secondary *mapStore) {
	t.Helper()
	if opts == nil {
		opts = &cache.FallbackOptions{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	primary, secondary = newMapStore(), newMapStore()
	f, err := cache.NewFallback(primary, secondary, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f, primary, secondary
}

func TestFallbackSuite(t *testing.T) {
	up := cachetest.Harness{New: func(t testing.TB) cache.Cache { f, _, _ := newFallback(t, nil); return f }}
	down := cachetest.Harness{New: func(t testing.TB) cache.Cache {
		f, primary, _ := newFallback(t, &cache.FallbackOptions{TTL: 2 * time.Hour})
		primary.breakDown(errDown)
		return f
	}}
	t.Run("up", func(t *testing.T) { cachetest.Run(t, up) })
	t.Run("down", func(t *testing.T) { cachetest.Run(t, down) })
}

// TestFallbackForgetsWhatItMissed: a key that was deleted while the primary was away
// must not come back with it.
func TestFallbackForgetsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f, primary, _ := newFallback(t, nil)
		for i := range 1200 {
			if err := f.Set(ctx, fmt.Sprint("k", i), []byte("old"), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		primary.breakDown(errDown)
		for i := range 1200 {
			if err := f.Delete(ctx, fmt.Sprint("k", i)); err != nil {
				t.Fatal(err)
			}
		}
		if !f.Degraded() {
			t.Error("the primary is still trusted")
		}
		if err := f.Set(ctx, "k1", []byte("new"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if v, found, err := f.Get(ctx, "k1"); string(v) != "new" || !found || err != nil {
			t.Errorf("meanwhile: %q, %v, %v", v, found, err)
		}
		primary.breakDown(nil)
		time.Sleep(time.Minute)
		for i := range 1200 {
			if v, found, err := f.Get(ctx, fmt.Sprint("k", i)); found || err != nil {
				t.Fatalf("k%d came back: %q, %v", i, v, err)
			}
		}
		if f.Degraded() {
			t.Error("the primary is not trusted again")
		}
	})
}

func TestFallbackLeavesADeadStoreAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, primary, _ := newFallback(t, nil)
		primary.breakDown(errDown)
		for range 1000 {
			if _, _, err := f.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		if primary.calls > 3 {
			t.Errorf("%d calls of a dead store", primary.calls)
		}
		time.Sleep(30 * time.Second)
		before := primary.calls
		for range 1000 {
			if _, _, err := f.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		if n := primary.calls - before; n != 1 {
			t.Errorf("%d probes", n)
		}
	})
}

// TestFallbackBoundsItsMemory: what it can no longer remember it must not promise.
func TestFallbackBoundsItsMemory(t *testing.T) {
	f, primary, _ := newFallback(t, &cache.FallbackOptions{MaxPending: 2})
	ctx := t.Context()
	primary.breakDown(errDown)
	if err := f.Delete(ctx, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(ctx, "c"); !errors.Is(err, cache.ErrUnavailable) {
		t.Errorf("a third key: %v", err)
	}
	if err := f.Set(ctx, "d", []byte("x"), time.Hour); !errors.Is(err, cache.ErrUnavailable) {
		t.Errorf("a fourth key: %v", err)
	}
	if _, found, _ := f.Get(ctx, "d"); found {
		t.Error("a value was kept that a returning primary would contradict")
	}
}

// TestFallbackCallerLeaves: a caller's own end says nothing about the primary.
func TestFallbackCallerLeaves(t *testing.T) {
	f, _, _ := newFallback(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, _, err := f.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if f.Degraded() {
		t.Error("the primary was given up")
	}
}

// TestStrict: writes that the primary is told of later say so, and do the same all the same.
func TestStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f, primary, _ := newFallback(t, &cache.FallbackOptions{Strict: true})
		c := newTyped[int](t, f, nil)
		if err := errors.Join(c.Set(ctx, "k", 1), c.Delete(ctx, "none")); err != nil {
			t.Fatal(err)
		}
		primary.breakDown(errDown)
		if err := c.Set(ctx, "k", 2); !errors.Is(err, cache.ErrDegraded) {
			t.Errorf("Set: %v", err)
		}
		if v, found, err := c.Get(ctx, "k"); v != 2 || !found || err != nil {
			t.Errorf("what was set: %d, %v, %v", v, found, err)
		}
		if err := c.Delete(ctx, "k"); !errors.Is(err, cache.ErrDegraded) {
			t.Errorf("Delete: %v", err)
		}
		for range 2 { // loaded and kept
			if v, err := c.GetOrLoad(ctx, "k", constant(3)); v != 3 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		}
		if s := c.Stats(); s.StoreErrors != 0 || s.Loads != 1 {
			t.Errorf("%+v", s)
		}
		primary.breakDown(nil)
		time.Sleep(time.Minute)
		if err := c.Delete(ctx, "k"); err != nil {
			t.Errorf("the primary is back: %v", err)
		}
		if _, found, err := primary.Get(ctx, "test:k"); found || err != nil {
			t.Errorf("what was deleted meanwhile is there: %v", err)
		}
	})
}
