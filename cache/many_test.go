package cache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// source is a database of values that counts what it is asked.
type source struct {
	mu     sync.Mutex
	asked  [][]string
	values map[string]string
	err    error
}

func (s *source) load(_ context.Context, keys []string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, slices.Sorted(slices.Values(keys)))
	out := map[string]string{}
	for _, key := range keys {
		if v, ok := s.values[key]; ok {
			out[key] = v
		}
	}
	return out, s.err
}

// questions returns what was asked since the last call.
func (s *source) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked = nil }()
	var all []string
	for _, keys := range s.asked {
		all = append(all, strings.Join(keys, " "))
	}
	return strings.Join(all, "; ")
}

func TestManyKeys(t *testing.T) {
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		db := &source{values: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}}
		want := func(keys, values, questions string) {
			t.Helper()
			got, err := c.GetOrLoadMany(ctx, strings.Fields(keys), db.load)
			if err != nil {
				t.Fatal(err)
			}
			var pairs []string
			for _, key := range slices.Sorted(maps.Keys(got)) {
				pairs = append(pairs, key+"="+got[key])
			}
			if s := strings.Join(pairs, " "); s != values {
				t.Errorf("%s: got %q, want %q", keys, s, values)
			}
			if q := db.questions(); q != questions {
				t.Errorf("%s: asked %q, want %q", keys, q, questions)
			}
		}
		want("", "", "")
		want("a b", "a=1 b=2", "a b")
		want("b a b", "a=1 b=2", "")
		want("a x c y b", "a=1 b=2 c=3", "c x y")
		want("x y c", "c=3", "") // what does not exist is remembered
		if err := c.Delete(ctx, "a", "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetOrLoad(ctx, "y", constant("none")); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("y: %v", err)
		}
		want("a b c d x y", "a=1 b=2 c=3 d=4", "a d x")
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		want("a b", "a=1 b=2", "a b")
		// Tags are of all values of the load.
		got, err := c.GetOrLoadMany(ctx, []string{"a", "c", "d"}, func(ctx context.Context, keys []string) (map[string]string, error) {
			return map[string]string{"c": "3", "d": "4"}, cache.SetTags(ctx, "late")
		}, cache.WithTags("early"))
		if err != nil || len(got) != 3 {
			t.Fatal(got, err)
		}
		if err := c.InvalidateTags(ctx, "late"); err != nil {
			t.Fatal(err)
		}
		want("a c d", "a=1 c=3 d=4", "c d")
	})
}

// TestManyKeysFail: an error is of the keys that are not in the result.
func TestManyKeysFail(t *testing.T) {
	t.Parallel()
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		db := &source{values: map[string]string{"a": "1"}, err: errSource}
		got, err := c.GetOrLoadMany(ctx, []string{"a", "b", "c"}, db.load)
		if !errors.Is(err, errSource) || len(got) != 1 || got["a"] != "1" {
			t.Fatal(got, err)
		}
		if n := strings.Count(err.Error(), errSource.Error()); n != 1 {
			t.Errorf("the error is told %d times: %v", n, err)
		}
		db.questions()
		db.err = nil
		if got, err = c.GetOrLoadMany(ctx, []string{"a", "b", "c"}, db.load); err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		// Errors are not kept. One of the keys may wait for its lease of the first call.
		if q := strings.Fields(strings.ReplaceAll(db.questions(), ";", "")); len(q) != 2 || !slices.Contains(q, "b") || !slices.Contains(q, "c") {
			t.Errorf("asked %q", q)
		}
		_, err = c.GetOrLoadMany(ctx, []string{"d", "e"}, func(context.Context, []string) (map[string]string, error) { panic("bug") })
		var caught *cache.PanicError
		if !errors.As(err, &caught) {
			t.Errorf("a panic: %v", err)
		}
		if got, err = c.GetOrLoadMany(ctx, []string{"a", "d"}, db.load); err != nil || got["a"] != "1" {
			t.Errorf("after a panic: %v, %v", got, err)
		}
	})
}

// TestManyKeysShareLoads has batches and single readers want overlapping keys: each key
// is loaded once.
func TestManyKeysShareLoads(t *testing.T) {
	t.Parallel()
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		var loads [60]atomic.Int32
		key := func(i int) string { return fmt.Sprint("k", i) }
		value := func(k string) string {
			var i int
			fmt.Sscanf(k, "k%d", &i)
			loads[i].Add(1)
			time.Sleep(10 * time.Millisecond)
			return "v" + k
		}
		var wg sync.WaitGroup
		for from := range 40 {
			wg.Go(func() {
				var keys []string
				for i := range 20 {
					keys = append(keys, key(from+i))
				}
				got, err := c.GetOrLoadMany(ctx, keys, func(_ context.Context, missing []string) (map[string]string, error) {
					out := map[string]string{}
					for _, k := range missing {
						out[k] = value(k)
					}
					return out, nil
				})
				if err != nil || len(got) != 20 || got[keys[7]] != "v"+keys[7] {
					t.Errorf("%d values, %v", len(got), err)
				}
			})
			wg.Go(func() {
				k := key(from + 5)
				if v, err := c.GetOrLoad(ctx, k, func(context.Context) (string, error) { return value(k), nil }); v != "v"+k || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		wg.Wait()
		for i := range 59 {
			if n := loads[i].Load(); n != 1 {
				t.Errorf("%s: %d loads", key(i), n)
			}
		}
	})
}

// TestManyKeysAreFencedEach: of a batch that is loaded, the key that is deleted
// meanwhile is not kept, and the others are.
func TestManyKeysAreFencedEach(t *testing.T) {
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		got, err := c.GetOrLoadMany(ctx, []string{"a", "b", "c"}, func(ctx context.Context, _ []string) (map[string]string, error) {
			return map[string]string{"a": "1", "b": "2", "c": "3"}, errors.Join(c.Delete(ctx, "a"), c.Set(ctx, "b", "new"))
		})
		if err != nil || len(got) != 3 {
			t.Fatal(got, err)
		}
		absent(t, c, "a")
		present(t, c, "b", "new")
		present(t, c, "c", "3")
		if n := c.Stats().Fenced; n != 2 {
			t.Errorf("%d fenced", n)
		}
	})
}

func TestManyKeysCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTyped[string](t, newMapStore(), nil)
		if err := c.Set(t.Context(), "here", "v"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		start := time.Now()
		got, err := c.GetOrLoadMany(ctx, []string{"here", "slow"}, func(ctx context.Context, _ []string) (map[string]string, error) {
			time.Sleep(500 * time.Millisecond)
			return map[string]string{"slow": "s"}, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || got["here"] != "v" || time.Since(start) != 20*time.Millisecond {
			t.Errorf("%v, %v after %v", got, err, time.Since(start))
		}
		time.Sleep(time.Second)
		if v, found, err := c.Get(t.Context(), "slow"); v != "s" || !found || err != nil {
			t.Errorf("the load did not go on: %q, %v, %v", v, found, err)
		}
	})
}

// TestManyKeysWithoutAStore: values are loaded when the store fails, and old ones are
// served when the load does.
func TestManyKeysWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), newMapStore()
		c := newTyped[string](t, store, &cache.Options[string]{StaleFor: time.Hour, Jitter: -1})
		db := &source{values: map[string]string{"a": "1", "b": "2"}}
		store.breakDown(errDown)
		if got, err := c.GetOrLoadMany(ctx, []string{"a", "b"}, db.load); err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		store.breakDown(nil)
		if got, err := c.GetOrLoadMany(ctx, []string{"a", "b"}, db.load); err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		db.questions()
		time.Sleep(90 * time.Minute)
		got, err := c.GetOrLoadMany(ctx, []string{"a", "b", "c"}, func(context.Context, []string) (map[string]string, error) { return nil, errSource })
		if !errors.Is(err, errSource) || got["a"] != "1" || got["b"] != "2" || len(got) != 2 {
			t.Errorf("%v, %v", got, err)
		}
		if n := c.Stats().Stale; n != 2 {
			t.Errorf("%d stale", n)
		}
	})
}

// TestManyKeysWithAnEmptyKey: a key that is refused has an error, and the other keys of the
// call are read, loaded, stored and deleted.
func TestManyKeysWithAnEmptyKey(t *testing.T) {
	onTiers(t, func(t *testing.T, open func() *cache.Typed[string]) {
		ctx, c := t.Context(), open()
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, cache.ErrEmptyKey) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for range 20 { // in any order of the map
			if err := c.SetMany(ctx, map[string]string{"a": "old", "b": "old"}); err != nil {
				t.Fatal(err)
			}
			refused("SetMany", c.SetMany(ctx, map[string]string{"": "new", "a": "new", "b": "new"}))
			present(t, c, "a", "new")
			present(t, c, "b", "new")
		}
		got, err := c.GetMany(ctx, []string{"", "a", "b"})
		refused("GetMany", err)
		if len(got) != 2 {
			t.Errorf("GetMany: %v", got)
		}
		db := &source{values: map[string]string{"c": "loaded"}}
		got, err = c.GetOrLoadMany(ctx, []string{"", "a", "c", ""}, db.load)
		refused("GetOrLoadMany", err)
		if len(got) != 2 || got["c"] != "loaded" || strings.Count(err.Error(), "empty") != 1 {
			t.Errorf("GetOrLoadMany: %v, %v", got, err)
		}
		refused("Delete", c.Delete(ctx, "a", "", "b"))
		absent(t, c, "a")
		absent(t, c, "b")
		refused("Set", c.Set(ctx, "", "x"))
		refused("Delete", c.Delete(ctx, ""))
		got, err = c.GetMany(ctx, []string{""})
		refused("GetMany", err)
		if len(got) != 0 {
			t.Errorf("GetMany: %v", got)
		}
	})
}

// TestManyKeysAreRefusedEach: too many tags of one key, or a wrong time to live of all keys,
// is an error that occurs once.
func TestManyKeysAreRefusedEach(t *testing.T) {
	ctx := t.Context()
	c := newTyped(t, newMapStore(), &cache.Options[string]{Tags: func(key string) []string {
		if key == "b" {
			return make([]string, 17)
		}
		return nil
	}})
	db := &source{values: map[string]string{"a": "1", "b": "2", "c": "3"}}
	got, err := c.GetOrLoadMany(ctx, []string{"a", "b", "c"}, db.load)
	if err == nil || !strings.Contains(err.Error(), `"b"`) || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	got, err = c.GetOrLoadMany(ctx, []string{"a", "c"}, db.load, cache.WithTTL(-1))
	if !errors.Is(err, cache.ErrInvalidTTL) || len(got) != 0 || strings.Count(err.Error(), "time to live") != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
