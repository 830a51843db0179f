package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// tagged is a load that tells its tags only when it has read its value.
func tagged(v string, tags ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return v, cache.SetTags(ctx, tags...) }
}

func absent(t *testing.T, c *cache.Typed[string], key string) {
	t.Helper()
	if v, found, err := c.Get(t.Context(), key); found || err != nil {
		t.Errorf("%s: %q, %v, want nothing", key, v, err)
	}
}

func present(t *testing.T, c *cache.Typed[string], key, want string) {
	t.Helper()
	if v, found, err := c.Get(t.Context(), key); v != want || !found || err != nil {
		t.Errorf("%s: %q, %v, %v, want %q", key, v, found, err, want)
	}
}

// onTiers runs a test over each kind of store with and without memory before it, and over
// memory alone.
func onTiers(t *testing.T, test func(t *testing.T, open func() *cache.Typed[string])) {
	for _, near := range []bool{false, true} {
		t.Run(fmt.Sprint("near=", near), func(t *testing.T) {
			onStores(t, func(t *testing.T, store driver.Store) {
				test(t, func() *cache.Typed[string] {
					opts := patiently(cache.Options[string]{})
					if near {
						opts.LocalTTL = 100 * time.Hour
					}
					return newTyped[string](t, store, opts)
				})
			})
		})
	}
	t.Run("memory only", func(t *testing.T) {
		test(t, func() *cache.Typed[string] { return newTyped[string](t, nil, nil) })
	})
}

func TestTagsOfACallAndOfALoad(t *testing.T) {
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		fill := func() {
			t.Helper()
			_, err1 := c.GetOrLoad(ctx, "loaded", tagged("a", "x", "y"))
			_, err2 := c.GetOrLoad(ctx, "called", constant("b"), cache.WithTags("y", "z"))
			_, err3 := c.GetOrLoad(ctx, "both", tagged("c", "z"), cache.WithTags("x"))
			err4 := c.Set(ctx, "set", "d", cache.WithTags("x", strings.Repeat("long", 1000)))
			err5 := c.Set(ctx, "plain", "e")
			if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
				t.Fatal(err)
			}
			present(t, c, "loaded", "a")
			present(t, c, "called", "b")
			present(t, c, "both", "c")
			present(t, c, "set", "d")
			present(t, c, "plain", "e")
		}
		all := []string{"loaded", "called", "both", "set", "plain"}
		for tag, gone := range map[string]string{"x": "loaded both set", "y": "loaded called", "z": "called both", strings.Repeat("long", 1000): "set", "other": ""} {
			fill()
			if err := c.InvalidateTags(ctx, tag); err != nil {
				t.Fatal(err)
			}
			for _, key := range all {
				if _, found, err := c.Get(ctx, key); err != nil || found == strings.Contains(gone, key) {
					t.Errorf("after %.10s: %s is there: %v, %v", tag, key, found, err)
				}
			}
		}
		fill()
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		for _, key := range all {
			absent(t, c, key)
		}
	})
}

// TestTagsFenceLoads: a tag is invalidated while a load that will bear it runs, known
// before or only after it.
func TestTagsFenceLoads(t *testing.T) {
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		for name, load := range map[string]func(during func()) error{
			"told by the load": func(during func()) error {
				_, err := c.GetOrLoad(ctx, "k", func(ctx context.Context) (string, error) {
					during()
					return "old", cache.SetTags(ctx, "x")
				})
				return err
			},
			"told before it reads": func(during func()) error {
				_, err := c.GetOrLoad(ctx, "k", func(ctx context.Context) (string, error) {
					err := cache.SetTags(ctx, "x")
					during()
					return "old", err
				})
				return err
			},
			"told by the call": func(during func()) error {
				_, err := c.GetOrLoad(ctx, "k", func(context.Context) (string, error) {
					during()
					return "old", nil
				}, cache.WithTags("x"))
				return err
			},
		} {
			if err := load(func() {
				if err := c.InvalidateTags(ctx, "x"); err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			absent(t, c, "k")
			if err := load(func() {}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			present(t, c, "k", "old")
			if err := c.Delete(ctx, "k"); err != nil {
				t.Fatal(err)
			}
		}
		// A tag that the value does not bear keeps nothing from being stored, if the tags
		// are known before the load.
		if _, err := c.GetOrLoad(ctx, "other", func(ctx context.Context) (string, error) {
			return "v", c.InvalidateTags(ctx, "unrelated")
		}, cache.WithTags("x")); err != nil {
			t.Fatal(err)
		}
		present(t, c, "other", "v")
	})
}

// TestTagsOfOtherReaders: who has not loaded the value itself learns its tags from it.
func TestTagsOfOtherReaders(t *testing.T) {
	onStores(t, func(t *testing.T, store driver.Store) {
		ctx := t.Context()
		writer := newTyped[string](t, store, patiently(cache.Options[string]{}))
		reader := newTyped[string](t, store, patiently(cache.Options[string]{LocalTTL: 100 * time.Hour}))
		for range 2 {
			if _, err := writer.GetOrLoad(ctx, "k", tagged("v", "x")); err != nil {
				t.Fatal(err)
			}
			present(t, reader, "k", "v")
			present(t, reader, "k", "v")
			if err := writer.InvalidateTags(ctx, "x"); err != nil {
				t.Fatal(err)
			}
			absent(t, reader, "k")
		}
	})
}

// Whoever gives a key its tags, it has 16 at most.
func TestTagsOfAllKinds(t *testing.T) {
	names := func(n int, prefix string) (tags []string) {
		for i := range n {
			tags = append(tags, prefix+strconv.Itoa(i))
		}
		return tags
	}
	c := newTyped[string](t, newMapStore(), &cache.Options[string]{Tags: func(key string) []string {
		if key == "few" {
			return nil
		}
		return names(6, "own")
	}})
	_, err := c.GetOrLoadMany(t.Context(), []string{"few", "many"}, func(ctx context.Context, keys []string) (map[string]string, error) {
		if err := cache.SetTags(ctx, names(6, "late")...); err == nil {
			t.Error("6 of the cache, 5 of the call and 6 of the load")
		}
		return map[string]string{"few": "v", "many": "v"}, cache.SetTags(ctx, names(5, "late")...)
	}, cache.WithTags(names(5, "call")...))
	if err != nil {
		t.Fatal(err)
	}
	present(t, c, "many", "v")
	if err := c.InvalidateTags(t.Context(), "late4"); err != nil {
		t.Fatal(err)
	}
	absent(t, c, "many")
}

func TestCallOptionsRefused(t *testing.T) {
	ctx, c := t.Context(), newTyped[string](t, newMapStore(), nil)
	if err := cache.SetTags(ctx, "x"); err == nil {
		t.Error("SetTags outside of a load")
	}
	var kept context.Context
	_, err := c.GetOrLoad(ctx, "k", func(ctx context.Context) (string, error) {
		kept = ctx
		if err := cache.SetTags(ctx, strings.Split(strings.Repeat("x", 17), "")...); err == nil {
			t.Error("17 tags from a load")
		}
		if err := cache.SetTTL(ctx, 0); !errors.Is(err, cache.ErrInvalidTTL) {
			t.Error(err)
		}
		if err := cache.SetTTL(ctx, math.MaxInt64); err == nil || !strings.Contains(err.Error(), "is longer than") {
			t.Error(err)
		}
		return "v", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.SetTags(kept, "x"); err == nil {
		t.Error("SetTags after the load")
	}
	present(t, c, "k", "v")
	if _, err := c.GetOrLoad(ctx, "other", constant("v"), cache.WithTags(strings.Split(strings.Repeat("x", 17), "")...)); err == nil {
		t.Error("17 tags of a call")
	}
	// What could not be set must not leave what it was to replace.
	if err := c.Set(ctx, "k", "w", cache.WithTTL(-1)); !errors.Is(err, cache.ErrInvalidTTL) {
		t.Error(err)
	}
	absent(t, c, "k")
}

func TestTTLOfACallAndOfALoad(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		ctx, c := t.Context(), make(&cache.Options[int]{})
		err1 := c.Set(ctx, "set", 1, cache.WithTTL(time.Second))
		_, err2 := c.GetOrLoad(ctx, "called", constant(1), cache.WithTTL(time.Second))
		_, err3 := c.GetOrLoad(ctx, "loaded", func(ctx context.Context) (int, error) { return 1, cache.SetTTL(ctx, time.Second) })
		_, err4 := c.GetOrLoad(ctx, "usual", constant(1))
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		for after, want := range []bool{true, false} {
			for _, key := range []string{"set", "called", "loaded"} {
				if _, found, err := c.Get(ctx, key); found != want || err != nil {
					t.Errorf("%s after %d s: %v, %v", key, after, found, err)
				}
			}
			time.Sleep(time.Second)
		}
		if _, found, _ := c.Get(ctx, "usual"); !found {
			t.Error("the usual time was shortened")
		}
	})
}

// TestLateTagOfAnOldValue: an old value whose tag only its load knew is not served after
// InvalidateTags: not if the next load fails, takes long, or failed a moment ago.
func TestLateTagOfAnOldValue(t *testing.T) {
	t.Parallel()
	for _, many := range []bool{false, true} {
		onStores(t, func(t *testing.T, store driver.Store) { lateTagOfAnOldValue(t, store, many) })
		t.Run("memory only", func(t *testing.T) { lateTagOfAnOldValue(t, nil, many) })
	}
}

func lateTagOfAnOldValue(t *testing.T, store driver.Store, many bool) {
	t.Helper()
	ctx := t.Context()
	opts := patiently(cache.Options[string]{StaleFor: time.Hour, SoftTimeout: 50 * time.Millisecond, ThrottleFor: time.Hour, LocalTTL: time.Hour})
	var c *cache.Typed[string]
	if store == nil {
		c = newTyped[string](t, nil, opts)
	} else {
		c = newTyped[string](t, store, opts)
	}
	read := func(load func(context.Context) (string, error)) (string, error) {
		if !many {
			return c.GetOrLoad(ctx, "k", load)
		}
		got, err := c.GetOrLoadMany(ctx, []string{"k"}, func(ctx context.Context, _ []string) (map[string]string, error) {
			v, err := load(ctx)
			if err != nil {
				return nil, err
			}
			return map[string]string{"k": v}, nil
		})
		return got["k"], err
	}
	expired := func() {
		t.Helper()
		if err := c.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		_, err := read(tagged("old", "cat"))
		if err := errors.Join(err, c.Expire(ctx, "k")); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(context.Context) (string, error) { return "", errors.New("the source is down") }

	// A load failed a moment ago.
	expired()
	if v, err := read(fails); v != "old" || err != nil {
		t.Fatalf("the old value is not served: %q, %v", v, err)
	}
	if err := c.InvalidateTags(ctx, "cat"); err != nil {
		t.Fatal(err)
	}
	if v, err := read(tagged("new", "cat")); v != "new" || err != nil {
		t.Errorf("throttled: %q, %v", v, err)
	}
	// The next load fails, or takes long and fails or has read the source before.
	for name, end := range map[string]func(ctx context.Context) (string, error){"failed": fails, "slow": tagged("read before", "cat")} {
		expired()
		began, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = read(func(ctx context.Context) (string, error) { close(began); <-release; return end(ctx) })
		})
		<-began
		if err := c.InvalidateTags(ctx, "cat"); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if v, err := read(tagged("new", "cat")); v != "new" && err == nil {
				t.Errorf("%s: %q, %v", name, v, err)
			}
		})
		time.Sleep(100 * time.Millisecond) // beyond SoftTimeout
		close(release)
		wg.Wait()
	}
}
