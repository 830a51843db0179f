package cache_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// TestHeap: MaxBytes bounds the heap, for small and large values, with and without tags, and
// for much more keys than fit.
func TestHeap(t *testing.T) {
	const limit = 16 << 20
	heap(t, "integers", limit, func(i int) int { return i })
	heap(t, "short texts", limit, func(i int) string { return "value " + strconv.Itoa(i) })
	heap(t, "bytes", limit, func(int) []byte { return make([]byte, 1000) })
	heap(t, "pointers", limit, func(i int) *[6]int { return &[6]int{i} })
	heap(t, "maps", limit, func(i int) map[string]int { return map[string]int{strconv.Itoa(i): i, "a": 1} })
	heap(t, "tagged", limit, func(i int) int { return i }, "a", "b")
}

// inUse returns the bytes of the heap when collections free nothing more: pools keep what they
// hold for two, and goroutines of an earlier test may be on their way to the end.
func inUse() int64 {
	var m runtime.MemStats
	last, same := uint64(0), 0
	for range 100 {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if same++; m.HeapAlloc+100_000 < last || m.HeapAlloc > last+100_000 {
			same = 0
		}
		if last = m.HeapAlloc; same == 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return int64(last) //nolint:gosec // below 2^63
}

func heap[V any](t *testing.T, name string, limit int64, value func(int) V, tags ...string) {
	t.Helper()
	before := inUse()
	c, err := cache.New(nil, "n", time.Hour, &cache.Options[V]{MaxBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400_000 {
		if c.Stats().Memory.Evicted > 50_000 {
			break
		}
		var opts []cache.CallOption
		if len(tags) > 0 {
			opts = append(opts, cache.WithTags(tags...), cache.WithTags(strconv.Itoa(i)))
		}
		if err := c.Set(t.Context(), strconv.Itoa(i), value(i), opts...); err != nil {
			t.Fatal(err)
		}
	}
	s := c.Stats().Memory
	grown := inUse() - before
	t.Logf("%s: %d entries, %d bytes counted, %d in the heap", name, s.Entries, s.Bytes, grown)
	if s.Evicted == 0 || s.Bytes > limit || grown > limit*5/4 || grown < limit/2 {
		t.Errorf("%s: %+v, %d bytes in the heap, MaxBytes is %d", name, s, grown, limit)
	}
	runtime.KeepAlive(c)
}

// TestHeapOfRecords: neither a refused audit nor a load that never ends makes the process
// record invalidations for ever.
func TestHeapOfRecords(t *testing.T) {
	block := make(chan struct{})
	for name, run := range map[string]func(*cache.Typed[int]){
		"audits": func(c *cache.Typed[int]) {
			_, _ = c.GetOrLoad(t.Context(), "k", constant(1))
			for range 40 { // more than run at once
				_, _ = c.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { <-block; return 1, nil })
			}
			close(block)
		},
		"a load": func(c *cache.Typed[int]) {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			_, _ = c.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { <-end; return 1, nil })
		},
	} {
		c := newTyped(t, nil, &cache.Options[int]{AuditEvery: 1, LoadTimeout: 50 * time.Millisecond})
		run(c)
		// Audits that have begun end soon. Growth by keys that are always new would not end.
		key := 0
		for end := time.Now().Add(20 * time.Second); ; {
			before := inUse()
			for range 300_000 {
				key++
				_ = c.Delete(t.Context(), strconv.Itoa(key))
			}
			grown := inUse() - before
			if grown <= 4<<20 {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: the heap still grows by %d bytes", name, grown)
				break
			}
		}
		runtime.KeepAlive(c)
	}
}
