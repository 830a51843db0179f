package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

func newTyped[V any](t *testing.T, store any, opts *cache.Options[V]) *cache.Typed[V] {
	t.Helper()
	if opts == nil {
		opts = &cache.Options[V]{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	opts.NoMemory = store != nil && opts.LocalTTL == 0
	c, err := cache.New[V](storeOf(store), "test", time.Hour, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func constant[V any](v V) func(context.Context) (V, error) {
	return func(context.Context) (V, error) { return v, nil }
}

func TestOneLoadForAThousandReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTyped[int](t, newMapStore(), nil)
		var loads atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v, err := c.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) {
					loads.Add(1)
					time.Sleep(50 * time.Millisecond)
					return 7, nil
				})
				if v != 7 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
		if s := c.Stats(); s.Loads != 1 || s.Joined != 999 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestLeaderLeaves cancels the caller that began the load; a waiter with little time
// leaves alone, and the others get the value.
func TestLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTyped[string](t, newMapStore(), nil)
		type ctxKey struct{}
		load := func(ctx context.Context) (string, error) {
			if ctx.Value(ctxKey{}) != "kept" {
				t.Error("the load lost the values of its context")
			}
			select {
			case <-time.After(500 * time.Millisecond):
				return "v", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		start := time.Now()
		leader, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "kept"))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.GetOrLoad(leader, "k", load); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				if v, err := c.GetOrLoad(t.Context(), "k", load); v != "v" || err != nil {
					t.Errorf("a waiter got %q, %v", v, err)
				}
			})
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := c.GetOrLoad(ctx, "k", load); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Millisecond {
				t.Errorf("the hasty waiter got %v after %v", err, time.Since(start))
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

// TestDeleteFencesLoads has a load read, the value change and the key be deleted, and
// only then the load end: nobody may find what it read.
func TestDeleteFencesLoads(t *testing.T) {
	for name, change := range map[string]func(context.Context, *cache.Typed[string]) error{
		"Delete": func(ctx context.Context, c *cache.Typed[string]) error { return c.Delete(ctx, "k") },
		"Set":    func(ctx context.Context, c *cache.Typed[string]) error { return c.Set(ctx, "k", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTyped[string](t, newMapStore(), nil)
				read, end := make(chan struct{}), make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					v, err := c.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) {
						close(read)
						<-end
						return "old", nil
					})
					if v != "old" || err != nil { // it asked before the change
						t.Errorf("the early reader got %q, %v", v, err)
					}
				})
				<-read
				if err := change(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				// A reader that comes after the change does not join the old load.
				if v, err := c.GetOrLoad(t.Context(), "k", constant("new")); v != "new" || err != nil {
					t.Errorf("the late reader got %q, %v", v, err)
				}
				close(end)
				wg.Wait()
				if v, found, err := c.Get(t.Context(), "k"); v != "new" || !found || err != nil {
					t.Errorf("kept: %q, %v, %v", v, found, err)
				}
				if n := c.Stats().Fenced; n != 1 {
					t.Errorf("%d fenced", n)
				}
			})
		})
	}
}

// readWhileDeleting lets something happen while a Delete is on its way to the store.
type readWhileDeleting struct {
	*mapStore
	during func()
}

func (s *readWhileDeleting) Delete(ctx context.Context, keys ...string) error {
	s.during()
	return s.mapStore.Delete(ctx, keys...)
}

// TestReadDuringDelete: what is read while a Delete is under way is old when it ends.
func TestReadDuringDelete(t *testing.T) {
	store := &readWhileDeleting{mapStore: newMapStore()}
	c := newTyped[int](t, store, &cache.Options[int]{LocalTTL: 100 * time.Hour})
	ctx := t.Context()
	if err := c.Set(ctx, "k", 1); err != nil {
		t.Fatal(err)
	}
	store.during = func() {
		if v, found, err := c.Get(ctx, "k"); v != 1 || !found || err != nil {
			t.Errorf("meanwhile: %d, %v, %v", v, found, err)
		}
	}
	if err := c.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if v, found, err := c.Get(ctx, "k"); found || err != nil {
		t.Errorf("memory kept %d, which was read during the Delete (%v)", v, err)
	}
}

// TestNeverStaleAfterDelete hammers one key with loads of random length and deletes,
// and checks each read that began after a delete ended.
func TestNeverStaleAfterDelete(t *testing.T) {
	c := newTyped[int64](t, newMapStore(), nil)
	var source, floor atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var reads, stale atomic.Int64
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := floor.Load()
				v, err := c.GetOrLoad(context.Background(), "k", func(context.Context) (int64, error) {
					v := source.Load()
					for range v % 50 {
						runtime.Gosched()
					}
					return v, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
				if v < least {
					stale.Add(1)
				}
			}
		})
	}
	for range 10_000 {
		now := source.Add(1)
		if err := c.Delete(context.Background(), "k"); err != nil {
			t.Fatal(err)
		}
		floor.Store(now)
	}
	close(stop)
	wg.Wait()
	if stale.Load() != 0 {
		t.Errorf("%d of %d reads were stale", stale.Load(), reads.Load())
	}
}

func TestLoadsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTyped[int](t, newMapStore(), &cache.Options[int]{LoadTimeout: time.Second})
		failure := errors.New("no such table")
		for name, test := range map[string]struct {
			load func(context.Context) (int, error)
			is   error
		}{
			"error":   {func(context.Context) (int, error) { return 0, failure }, failure},
			"panic":   {func(context.Context) (int, error) { panic(failure) }, failure},
			"goexit":  {func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, cache.ErrLoadExited},
			"timeout": {func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, cache.ErrLoadTimeout},
		} {
			if _, err := c.GetOrLoad(t.Context(), name, test.load); !errors.Is(err, test.is) {
				t.Errorf("%s: %v", name, err)
			}
			if v, err := c.GetOrLoad(t.Context(), name, constant(5)); v != 5 || err != nil {
				t.Errorf("after %s: %d, %v", name, v, err)
			}
		}
		var panicked *cache.PanicError
		_, err := c.GetOrLoad(t.Context(), "stack", func(context.Context) (int, error) { panic("x") })
		if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "TestLoadsThatFail") {
			t.Errorf("the panic's stack is lost: %v", err)
		}
	})
}

func TestNilAndEmptyAreValues(t *testing.T) {
	store := newMapStore()
	pointers, slices := newTyped[*int](t, store, nil), newTyped[[]int](t, store, nil)
	var loads int
	for range 3 {
		if v, err := pointers.GetOrLoad(t.Context(), "p", func(context.Context) (*int, error) { loads++; return nil, nil }); v != nil || err != nil {
			t.Error(v, err)
		}
		if v, err := slices.GetOrLoad(t.Context(), "s", func(context.Context) ([]int, error) { loads++; return []int{}, nil }); len(v) != 0 || err != nil {
			t.Error(v, err)
		}
	}
	if loads != 2 {
		t.Errorf("%d loads", loads)
	}
}

// TestBrokenStore: a store that fails costs loads, never errors.
func TestBrokenStore(t *testing.T) {
	store := newMapStore()
	store.breakDown(errDown)
	var log strings.Builder
	c, err := cache.New[int](storeOf(store), "test", time.Hour, &cache.Options[int]{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if v, err := c.GetOrLoad(t.Context(), "k", constant(3)); v != 3 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	}
	if err := c.Delete(t.Context(), "k"); !errors.Is(err, errDown) {
		t.Errorf("a failed Delete must say so: %v", err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one failure:\n%s", n, log.String())
	}
	store.breakDown(nil)
	if _, _, err := c.Get(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "works again") {
		t.Errorf("log: %s", log.String())
	}
}

func TestHungStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMapStore()
		store.hang = true
		c := newTyped[int](t, store, &cache.Options[int]{StoreTimeout: 100 * time.Millisecond})
		start := time.Now()
		if v, err := c.GetOrLoad(t.Context(), "k", constant(3)); v != 3 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// TestBadPayloads puts everything but a good value under a key.
func TestBadPayloads(t *testing.T) {
	store := newMapStore()
	c := newTyped[map[string]int](t, store, nil)
	good := func() []byte {
		if err := c.Set(t.Context(), "k", map[string]int{"a": 1}); err != nil {
			t.Fatal(err)
		}
		return store.values["test:k"]
	}
	if v, found, err := c.Get(t.Context(), "k"); err != nil || found {
		t.Fatal(v, found, err)
	}
	original := append([]byte{}, good()...)
	bad := map[string][]byte{"empty": {}, "foreign": []byte("hello"), "cut": original[:len(original)-1], "longer": append(append([]byte{}, original...), 0)}
	for i := range original {
		flipped := append([]byte{}, original...)
		flipped[i] ^= 0x10
		bad[fmt.Sprintf("bit of byte %d", i)] = flipped
		bad[fmt.Sprintf("first %d", i)] = original[:i]
	}
	for name, data := range bad {
		store.values["test:k"] = data
		if v, found, err := c.Get(t.Context(), "k"); found || err != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if v, err := c.GetOrLoad(t.Context(), "k", constant(map[string]int{"b": 2})); v["b"] != 2 || err != nil {
			t.Errorf("%s: loaded %v, %v", name, v, err)
		}
	}
	store.values["test:k"] = original
	for name, opts := range map[string]*cache.Options[map[string]int]{"schema": {Schema: "2"}, "codec": {Codec: cache.JSON()}} {
		if v, found, err := newTyped[map[string]int](t, store, opts).Get(t.Context(), "k"); found || err != nil {
			t.Errorf("another %s: %v, %v", name, v, err)
		}
	}
	if v, found, _ := c.Get(t.Context(), "k"); !found || v["a"] != 1 {
		t.Error("the good value is gone")
	}
}

func TestCodecs(t *testing.T) {
	type product struct {
		Name  string
		Price int64
		Tags  []string
	}
	want := product{"tea", 1 << 60, []string{"hot"}}
	for _, codec := range []cache.Codec{cache.Msgpack(), cache.JSON()} {
		c := newTyped[product](t, newMapStore(), &cache.Options[product]{Codec: codec})
		if err := c.Set(t.Context(), "k", want); err != nil {
			t.Fatal(err)
		}
		if got, found, err := c.Get(t.Context(), "k"); !found || err != nil || got.Name != want.Name || got.Price != want.Price || len(got.Tags) != 1 {
			t.Errorf("%s: %+v, %v", codec.Name(), got, err)
		}
	}
	raw := newTyped[[]byte](t, newMapStore(), &cache.Options[[]byte]{Codec: cache.Raw()})
	if err := raw.Set(t.Context(), "k", []byte("x\x00y")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := raw.Get(t.Context(), "k"); string(got) != "x\x00y" || err != nil {
		t.Errorf("raw: %q, %v", got, err)
	}
	wrong := newTyped[int](t, newMapStore(), &cache.Options[int]{Codec: cache.Raw()})
	if err := wrong.Set(t.Context(), "k", 1); err == nil {
		t.Error("Raw took an int")
	}
	if v, err := wrong.GetOrLoad(t.Context(), "k", constant(4)); v != 4 || err != nil {
		t.Errorf("a value that cannot be kept: %d, %v", v, err)
	}
}

func TestConstruction(t *testing.T) {
	store := newMapStore()
	for name, make := range map[string]func() error{
		"no store": func() error {
			_, err := cache.New[int](nil, "n", time.Hour, &cache.Options[int]{NoMemory: true})
			return err
		},
		"no tier": func() error {
			_, err := cache.New(cache.NewMemory(0), "n", time.Hour, &cache.Options[int]{NoMemory: true})
			return err
		},
		"endless": func() error { _, err := cache.New[int](nil, "n", math.MaxInt64, nil); return err },
		"no name": func() error { _, err := cache.New[int](storeOf(store), "", time.Hour, nil); return err },
		"no time": func() error { _, err := cache.New[int](storeOf(store), "n", 0, nil); return err },
		"negative": func() error {
			_, err := cache.New[int](storeOf(store), "n", time.Hour, &cache.Options[int]{LoadTimeout: -1})
			return err
		},
		"jitter": func() error {
			_, err := cache.New[int](storeOf(store), "n", time.Hour, &cache.Options[int]{Jitter: math.NaN()})
			return err
		},
		"early": func() error {
			_, err := cache.New[int](storeOf(store), "n", time.Hour, &cache.Options[int]{EarlyRefresh: math.NaN()})
			return err
		},
		"always early": func() error {
			_, err := cache.New[int](storeOf(store), "n", time.Hour, &cache.Options[int]{EarlyRefresh: math.Inf(1)})
			return err
		},
	} {
		if err := make(); err == nil || !strings.HasPrefix(err.Error(), "cache: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := newTyped[int](t, store, nil)
	_, getErr := c.GetOrLoad(t.Context(), "", constant(1))
	if !errors.Is(getErr, cache.ErrEmptyKey) || !errors.Is(c.Set(t.Context(), "", 1), cache.ErrEmptyKey) || !errors.Is(c.Delete(t.Context(), "a", ""), cache.ErrEmptyKey) {
		t.Error("an empty key was accepted")
	}
}

// TestExpireKeepsNoDeletedValue: a Delete or a Set beside Expire is not lost.
func TestExpireKeepsNoDeletedValue(t *testing.T) {
	ctx := t.Context()
	var beside func()
	// If Expire copies the value, the other write comes between.
	c := newTyped(t, nil, &cache.Options[string]{StaleFor: time.Hour, Clone: func(s string) string {
		if then := beside; then != nil {
			beside = nil
			then()
		}
		return s
	}})
	for name, write := range map[string]func() error{
		"Delete": func() error { return c.Delete(ctx, "k") },
		"Set":    func() error { return c.Set(ctx, "k", "new") },
	} {
		for range 2000 {
			if err := c.Set(ctx, "k", "old"); err != nil {
				t.Fatal(err)
			}
			beside = func() { _ = write() }
			if err := c.Expire(ctx, "k"); err != nil {
				t.Fatal(err)
			}
			beside = nil
			var wg sync.WaitGroup
			wg.Go(func() { _ = c.Expire(ctx, "k") })
			if err := write(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if v, err := c.GetOrLoad(ctx, "k", func(context.Context) (string, error) { return "", errSource }); v == "old" {
				t.Fatalf("after %s and Expire: %q, %v", name, v, err)
			}
		}
	}
}
