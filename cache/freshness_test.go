package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

var errSource = errors.New("the database is away")

// onEach runs a test over a store, over memory alone, and over both.
func onEach(t *testing.T, test func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int])) {
	for name, kind := range map[string]struct{ store, near bool }{"store": {true, false}, "memory": {false, true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, func(o *cache.Options[int]) *cache.Typed[int] {
					o.Jitter = -1
					var store any
					if kind.store {
						store = newMapStore()
					}
					if kind.near {
						o.LocalTTL = 100 * time.Hour
					}
					return newTyped[int](t, store, o)
				})
			})
		})
	}
}

func failing(context.Context) (int, error) { return 0, errSource }

func TestNotFoundIsRemembered(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{NotFoundTTL: time.Minute})
		loads := 0
		load := func(context.Context) (int, error) { loads++; return 9, fmt.Errorf("no row: %w", cache.ErrNotFound) }
		for range 100 {
			if v, err := c.GetOrLoad(t.Context(), "k", load); !errors.Is(err, cache.ErrNotFound) || loads == 0 || loads > 1 && v != 0 {
				t.Fatal(v, err)
			}
		}
		if v, found, err := c.Get(t.Context(), "k"); v != 0 || found || err != nil {
			t.Errorf("Get: %d, %v, %v", v, found, err)
		}
		if loads != 1 {
			t.Errorf("%d loads", loads)
		}
		// Whoever makes the thing also makes it known.
		if err := c.Set(t.Context(), "k", 5); err != nil {
			t.Fatal(err)
		}
		if v, err := c.GetOrLoad(t.Context(), "k", load); v != 5 || err != nil {
			t.Errorf("after Set: %d, %v", v, err)
		}
		if err := c.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		_, _ = c.GetOrLoad(t.Context(), "k", load)
		time.Sleep(2 * time.Minute)
		_, _ = c.GetOrLoad(t.Context(), "k", load)
		if loads != 3 {
			t.Errorf("%d loads in all", loads)
		}
	})
}

func TestStaleIfError(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{StaleFor: time.Hour, ThrottleFor: 10 * time.Second})
		ctx := t.Context()
		if v, err := c.GetOrLoad(ctx, "k", constant(1)); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		time.Sleep(90 * time.Minute) // the time to live is an hour
		if _, found, _ := c.Get(ctx, "k"); found {
			t.Error("Get returned a stale value")
		}
		loads := 0
		load := func(context.Context) (int, error) { loads++; return 0, errSource }
		for range 50 {
			if v, err := c.GetOrLoad(ctx, "k", load); v != 1 || err != nil {
				t.Fatal(v, err)
			}
			time.Sleep(time.Millisecond)
		}
		if loads != 1 {
			t.Errorf("a failing source was asked %d times", loads)
		}
		if s := c.Stats(); s.Stale != 50 || s.StaleFailed != 1 || s.StaleThrottled != 49 {
			t.Errorf("%+v", s)
		}
		time.Sleep(11 * time.Second)
		if v, err := c.GetOrLoad(ctx, "k", constant(2)); v != 2 || err != nil {
			t.Errorf("the source works again: %d, %v", v, err)
		}
		// What was deleted is never served.
		if err := c.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		if v, err := c.GetOrLoad(ctx, "k", failing); !errors.Is(err, errSource) {
			t.Errorf("after Delete: %d, %v", v, err)
		}
		// What has expired is.
		if err := c.Set(ctx, "k", 3); err != nil {
			t.Fatal(err)
		}
		if err := c.Expire(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		if v, err := c.GetOrLoad(ctx, "k", failing); v != 3 || err != nil {
			t.Errorf("after Expire: %d, %v", v, err)
		}
		time.Sleep(3 * time.Hour)
		if v, err := c.GetOrLoad(ctx, "k", failing); !errors.Is(err, errSource) {
			t.Errorf("after StaleFor: %d, %v", v, err)
		}
	})
}

func TestSoftTimeout(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{StaleFor: time.Hour, SoftTimeout: 100 * time.Millisecond})
		ctx := t.Context()
		if err := c.Set(ctx, "k", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		slow := func(context.Context) (int, error) { time.Sleep(5 * time.Second); return 2, nil }
		start := time.Now()
		if v, err := c.GetOrLoad(ctx, "k", slow); v != 1 || err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%d, %v after %v", v, err, time.Since(start))
		}
		time.Sleep(10 * time.Second)
		if s := c.Stats(); s.Stale != 1 || s.StaleSlow != 1 || s.LoadTime != 5*time.Second {
			t.Errorf("%+v", s)
		}
		if v, found, err := c.Get(ctx, "k"); v != 2 || !found || err != nil {
			t.Errorf("the load did not go on: %d, %v, %v", v, found, err)
		}
	})
}

func TestEarlyRefresh(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{EarlyRefresh: 1, LoadTimeout: time.Hour})
		ctx := t.Context()
		n := 0
		load := func(context.Context) (int, error) { time.Sleep(time.Minute); n++; return n, nil }
		if v, err := c.GetOrLoad(ctx, "k", load); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		// Nobody has to wait for hours of steady reading.
		for range 6 * 3600 {
			time.Sleep(time.Second)
			start := time.Now()
			if _, err := c.GetOrLoad(ctx, "k", load); err != nil || time.Since(start) != 0 {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		}
		time.Sleep(5 * time.Minute)
		if n < 5 || n > 30 {
			t.Errorf("%d loads in six hours of an hour each", n)
		}
	})
}

func TestTagsAndClear(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{Tags: func(key string) []string { return []string{key[:1], "every"} }})
		ctx := t.Context()
		check := func(when string, want map[string]bool) {
			t.Helper()
			for key, there := range want {
				if _, found, err := c.Get(ctx, key); found != there || err != nil {
					t.Errorf("%s: %s %v, %v", when, key, found, err)
				}
			}
		}
		fill := func() {
			for i, key := range []string{"a1", "a2", "b1"} {
				if _, err := c.GetOrLoad(ctx, key, constant(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		fill()
		if err := c.InvalidateTags(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		check("tag a", map[string]bool{"a1": false, "a2": false, "b1": true})
		fill()
		check("filled again", map[string]bool{"a1": true, "a2": true, "b1": true})
		if err := c.InvalidateTags(ctx, "none", "every"); err != nil {
			t.Fatal(err)
		}
		check("tag every", map[string]bool{"a1": false, "b1": false})
		fill()
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		check("Clear", map[string]bool{"a1": false, "a2": false, "b1": false})
		// During a load.
		for name, change := range map[string]func() error{"tag": func() error { return c.InvalidateTags(ctx, "a") }, "clear": func() error { return c.Clear(ctx) }} {
			if _, err := c.GetOrLoad(ctx, "a3", func(context.Context) (int, error) { return 1, change() }); err != nil {
				t.Fatal(err)
			}
			check(name+" during a load", map[string]bool{"a3": false})
		}
	})
	many := newTyped[int](t, newMapStore(), &cache.Options[int]{Tags: func(string) []string { return make([]string, 17) }})
	if _, err := many.GetOrLoad(t.Context(), "k", constant(1)); err == nil {
		t.Error("17 tags were accepted")
	}
}

// TestNearDoesNotAllocate: a hit in memory costs no garbage.
func TestNearDoesNotAllocate(t *testing.T) {
	c := newTyped[*int](t, nil, &cache.Options[*int]{LocalTTL: 100 * time.Hour})
	load := func(context.Context) (*int, error) { return new(int), nil }
	ctx := t.Context()
	if _, err := c.GetOrLoad(ctx, "k", load); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.GetOrLoad(ctx, "k", load) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if s := c.Stats(); s.Loads != 1 || s.LocalHits < 100 {
		t.Errorf("%+v", s)
	}
}

func TestCompression(t *testing.T) {
	long := strings.Repeat("the same again and ", 1000)
	for _, how := range []cache.Compression{cache.S2, cache.Zstd} {
		store := newMapStore()
		c := newTyped[string](t, store, &cache.Options[string]{Compression: how})
		for key, value := range map[string]string{"long": long, "short": "x"} {
			if err := c.Set(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
			// Whatever the setting is when it is read.
			if v, found, err := newTyped[string](t, store, nil).Get(t.Context(), key); v != value || !found || err != nil {
				t.Errorf("%d %s: %v, %v", how, key, found, err)
			}
		}
		if n := len(store.values["test:long"]); n > len(long)/5 {
			t.Errorf("%d: %d bytes of %d", how, n, len(long))
		}
		// A small input that becomes large is a bad payload.
		small := newTyped[string](t, store, &cache.Options[string]{MaxValue: 1000})
		if _, found, err := small.Get(t.Context(), "long"); found || err != nil || small.Stats().BadPayloads != 1 {
			t.Errorf("a bomb was read: %v, %v", found, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	store := newMapStore()
	c := newTyped[string](t, store, &cache.Options[string]{MaxValue: 100})
	if err := c.Set(t.Context(), "k", "small"); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 200)
	if err := c.Set(t.Context(), "k", large); !errors.Is(err, cache.ErrTooLarge) {
		t.Error(err)
	}
	if v, found, _ := c.Get(t.Context(), "k"); found {
		t.Errorf("the value that was replaced is served: %q", v)
	}
	if v, err := c.GetOrLoad(t.Context(), "k", constant(large)); v != large || err != nil || c.Stats().TooLarge != 1 {
		t.Errorf("%d bytes, %v", len(v), err)
	}
	// Another process can store more than this one reads.
	if err := newTyped[string](t, store, nil).Set(t.Context(), "k", large); err != nil {
		t.Fatal(err)
	}
	if v, found, err := c.Get(t.Context(), "k"); found || err != nil || c.Stats().BadPayloads != 1 {
		t.Errorf("%d bytes, %v", len(v), err)
	}
}
