package cache_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/cachetest"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// TestMemoryHoldsWhatFits: writes of other keys drop nothing.
func TestMemoryHoldsWhatFits(t *testing.T) {
	c, err := cache.New(nil, "n", time.Hour, &cache.Options[int]{MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	for i := range n {
		if err := c.Set(t.Context(), strconv.Itoa(i), i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if v, ok, _ := c.Get(t.Context(), strconv.Itoa(i)); !ok || v != i {
			t.Fatalf("%d: %d, %v", i, v, ok)
		}
	}
	for i := range n / 2 {
		if err := c.Delete(t.Context(), strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats().Memory; s.Entries != n/2 || s.Evicted != 0 || s.Invalidated != n/2 {
		t.Errorf("%+v", s)
	}
}

// TestMaxBytes: values of any shape stay within the bound, after Set and after a load.
func TestMaxBytes(t *testing.T) {
	const limit = 8 << 20
	bounded(t, func() []byte { return make([]byte, 1<<20) }, limit)
	bounded(t, func() string { return string(make([]byte, 1<<20)) }, limit)
	bounded(t, func() *[1 << 20]byte { return new([1 << 20]byte) }, limit)
	bounded(t, func() []*[1 << 10]byte {
		out := make([]*[1 << 10]byte, 1024)
		for i := range out {
			out[i] = new([1 << 10]byte)
		}
		return out
	}, limit)
	bounded(t, func() map[string]any { return map[string]any{"a": map[int][]int64{1: make([]int64, 1<<17)}} }, limit)
	bounded(t, func() any { return struct{ B []byte }{make([]byte, 1<<20)} }, limit)
}

func bounded[V any](t *testing.T, value func() V, limit int64) {
	t.Helper()
	c, err := cache.New(nil, "n", time.Hour, &cache.Options[V]{MaxBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []func(string) error{
		func(key string) error { return c.Set(t.Context(), key, value()) },
		func(key string) error {
			_, err := c.GetOrLoad(t.Context(), "l"+key, func(context.Context) (V, error) { return value(), nil })
			return err
		},
	} {
		for i := range 64 {
			if err := write(strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if s := c.Stats().Memory; s.Entries > 8 || s.Entries < 4 || s.Bytes > limit {
			t.Errorf("%T: %+v", *new(V), s)
		}
	}
}

// TestRecursion: a load that would wait for itself gets an error at once.
func TestRecursion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newTyped[int](t, newMapStore(), nil), newTyped[int](t, nil, nil)
		began := time.Now()
		direct := func(ctx context.Context) (int, error) { return a.GetOrLoad(ctx, "k", constant(1)) }
		if _, err := a.GetOrLoad(t.Context(), "k", direct); !errors.Is(err, cache.ErrRecursive) {
			t.Error("direct:", err)
		}
		var throughB func(ctx context.Context) (int, error)
		throughA := func(ctx context.Context) (int, error) { return b.GetOrLoad(ctx, "x", throughB) }
		throughB = func(ctx context.Context) (int, error) { return a.GetOrLoad(ctx, "y", throughA) }
		if _, err := a.GetOrLoad(t.Context(), "y", throughA); !errors.Is(err, cache.ErrRecursive) {
			t.Error("through another:", err)
		}
		_, err := a.GetOrLoadMany(t.Context(), []string{"1", "2"}, func(ctx context.Context, keys []string) (map[string]int, error) {
			_, err := a.GetOrLoad(ctx, "2", constant(1))
			return nil, err
		})
		if !errors.Is(err, cache.ErrRecursive) {
			t.Error("many:", err)
		}
		// Two loads that began apart, each of which asks for the key of the other.
		var wg sync.WaitGroup
		var failed atomic.Int32
		for _, keys := range [][2]string{{"left", "right"}, {"right", "left"}} {
			wg.Go(func() {
				_, err := a.GetOrLoad(t.Context(), keys[0], func(ctx context.Context) (int, error) {
					time.Sleep(time.Second)
					return a.GetOrLoad(ctx, keys[1], constant(1))
				})
				if errors.Is(err, cache.ErrRecursive) {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		if failed.Load() == 0 {
			t.Error("two loads that wait for each other")
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("after %v", took)
		}
		// A load may ask for other keys.
		v, err := a.GetOrLoad(t.Context(), "sum", func(ctx context.Context) (int, error) {
			x, err1 := a.GetOrLoad(ctx, "p", constant(1))
			y, err2 := b.GetOrLoad(ctx, "q", constant(2))
			return x + y, errors.Join(err1, err2)
		})
		if v != 3 || err != nil {
			t.Error(v, err)
		}
	})
}

// TestConditionalRefresh: a load sees the value that it replaces, and may decide not to
// store its own.
func TestConditionalRefresh(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{StaleFor: time.Hour})
		ctx := t.Context()
		var seen []int
		load := func(ctx context.Context) (int, error) {
			old, ok := cache.Old[int](ctx, "k")
			if !ok {
				return 5, nil
			}
			seen = append(seen, old)
			return old + 1, nil
		}
		for range 3 {
			if _, err := c.GetOrLoad(ctx, "k", load); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour + time.Second)
		}
		if !slices.Equal(seen, []int{5, 6}) {
			t.Errorf("old values %v", seen)
		}
		loads := 0
		for range 3 {
			v, err := c.GetOrLoad(ctx, "other", func(ctx context.Context) (int, error) { loads++; return loads, cache.DoNotKeep(ctx) })
			if v != loads || err != nil {
				t.Error(v, err)
			}
		}
		if loads != 3 {
			t.Errorf("%d loads of what must not be kept", loads)
		}
	})
}

func TestClone(t *testing.T) {
	for _, store := range []any{nil, newMapStore()} {
		c := newTyped(t, store, &cache.Options[[]int]{Clone: slices.Clone[[]int], LocalTTL: 100 * time.Hour})
		load := func(context.Context) ([]int, error) { return []int{1, 2}, nil }
		for range 3 {
			v, err := c.GetOrLoad(t.Context(), "k", load)
			if err != nil || v[0] != 1 {
				t.Fatal(v, err)
			}
			v[0] = 9
		}
	}
}

// TestAudit: a value that the source no longer has is reported, and one that was written
// meanwhile is not.
func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []cache.AuditEvent
		var mu sync.Mutex
		c := newTyped[int](t, nil, &cache.Options[int]{AuditEvery: 1, Trace: &cache.Trace{Audit: func(_ context.Context, e cache.AuditEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}}})
		var db atomic.Int64
		load := func(context.Context) (int, error) { return int(db.Load()), nil }
		read := func() { _, _ = c.GetOrLoad(t.Context(), "k", load); synctest.Wait() }
		read()
		read()
		if s := c.Stats(); s.Audited != 1 || s.AuditedStale != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		db.Store(7) // without a Delete
		read()
		if s := c.Stats(); s.AuditedStale != 1 || s.StaleAge < time.Minute || !events[1].Stale {
			t.Errorf("%+v, %+v", s, events)
		}
		_, _ = c.GetOrLoad(t.Context(), "k", func(ctx context.Context) (int, error) {
			_ = c.Delete(ctx, "k") // a write during the comparison explains the difference
			return 8, nil
		})
		synctest.Wait()
		if s := c.Stats(); s.AuditedStale != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// counting is a decorator: it embeds the store, and so keeps all that it can do.
type counting struct {
	driver.Store
	calls *atomic.Int64
}

func (c counting) Do(ctx context.Context, ops []driver.Op) {
	c.calls.Add(1)
	c.Store.Do(ctx, ops)
}

// forgetful loses an ability, as a decorator with its own type would.
type forgetful struct{ driver.Store }

func (forgetful) Capabilities() driver.Capabilities {
	return driver.Capabilities{Memory: driver.NewMemory(0)}
}

func TestDecorators(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	cachetest.Decorator(t, func(s driver.Store) driver.Store { return counting{s, &calls} })
	if calls.Load() == 0 {
		t.Error("the decorator was not used")
	}
	store := storeOf(newMapStore())
	if (forgetful{store}).Capabilities() == store.Capabilities() {
		t.Error("the suite cannot tell a decorator that loses the memory of its store")
	}
}
