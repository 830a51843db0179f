package cache_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// fits stores 64 values of size bytes in a cache with MaxBytes of 8 MiB, and fails if more
// of them stay than fit.
func fits[V any](t *testing.T, name string, size int64, value func(i int) V) {
	t.Helper()
	const limit = 8 << 20
	c := newTyped(t, nil, &cache.Options[V]{MaxBytes: limit})
	for i := range 64 {
		if err := c.Set(t.Context(), fmt.Sprint(i), value(i)); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats().Memory; s.Entries == 0 || s.Entries*size > limit {
		t.Errorf("%s: %d values of %d bytes within %d: %+v", name, s.Entries, size, limit, s)
	}
}

// TestEstimateOfLaterFields: a large first field does not hide the size of later fields.
func TestEstimateOfLaterFields(t *testing.T) {
	const size = 1 << 20
	long := make([]string, 2500)
	text := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), size) }
	type page struct {
		Tags []string
		HTML string
	}
	fits(t, "a text", size, func(i int) page { return page{long, text(i)} })
	fits(t, "bytes", size, func(int) struct {
		Tags []string
		HTML []byte
	} {
		return struct {
			Tags []string
			HTML []byte
		}{long, make([]byte, size)}
	})
	fits(t, "parts", size, func(i int) struct {
		Tags  map[string]string
		Parts []*page
	} {
		tags := map[string]string{}
		for i := range 2500 {
			tags[fmt.Sprint(i)] = ""
		}
		return struct {
			Tags  map[string]string
			Parts []*page
		}{tags, []*page{{HTML: text(i)[:size/2]}, {long, text(i)[:size/2]}}}
	})
	fits(t, "a list of pages", size, func(i int) []page { return []page{{Tags: long}, {long, text(i)}} })
}

// TestEstimateEnds: an estimate of a value with many parts visits a limited number of them.
func TestEstimateEnds(t *testing.T) {
	type node struct {
		Next, Other *node
		Names       [4]string
	}
	var list *node
	for range 3_000_000 {
		list = &node{Next: list, Other: list}
	}
	c := newTyped(t, nil, &cache.Options[*node]{})
	start := time.Now()
	for range 100 {
		if err := c.Set(t.Context(), "k", list); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100 estimates took %v", took)
	}
}

// TestOddWeights: one wrong result of Weigh does not end the limit for other values.
func TestOddWeights(t *testing.T) {
	for _, odd := range []int64{math.MaxInt64, math.MaxInt64 - 1000, -1 << 20, math.MinInt64} {
		weigh := func(v []byte) int64 {
			if len(v) == 0 {
				return odd
			}
			return int64(len(v))
		}
		c := newTyped(t, nil, &cache.Options[[]byte]{MaxBytes: 4 << 20, Weigh: weigh})
		for i := range 64 {
			_ = c.Set(t.Context(), "odd", nil)
			_ = c.Set(t.Context(), fmt.Sprint(i), make([]byte, 1<<20-1000))
		}
		if s := c.Stats().Memory; s.Entries < 3 || s.Entries > 5 || s.Bytes < 3<<20-3000 || s.Bytes > 4<<20 {
			t.Errorf("Weigh %d: %+v", odd, s)
		}
	}
}

// TestSizeOfCompressedValues: a value counts with its size in memory, not with its
// compressed size.
func TestSizeOfCompressedValues(t *testing.T) {
	const limit, size = 4 << 20, 1 << 19
	for _, how := range []cache.Compression{cache.S2, cache.Zstd} {
		c := newTyped(t, driver.Local(newMapStore(), driver.NewMemory(limit)), &cache.Options[string]{Compression: how, LocalTTL: 100 * time.Hour})
		text := strings.Repeat("x", size)
		for i := range 32 {
			if err := c.Set(context.Background(), fmt.Sprint(i), text); err != nil {
				t.Fatal(err)
			}
			if _, found, err := c.Get(t.Context(), fmt.Sprint(i)); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		if s := c.Stats().Memory; s.Entries == 0 || s.Entries*size > limit {
			t.Errorf("%d: %d values of %d bytes within %d: %+v", how, s.Entries, size, limit, s)
		}
	}
}
