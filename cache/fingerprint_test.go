package cache_test

import (
	"testing"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// TestFingerprint: a changed type of V, at any depth and with any codec, is a miss. The same
// type is a hit.
func TestFingerprint(t *testing.T) {
	type price struct{ Cents int }
	type priceOf[T any] struct{ Cents T }
	type tree struct {
		Name     string
		Children []*tree
	}
	type leaf struct {
		Name     string
		Children []*leaf
		Weight   int
	}
	for _, codec := range []cache.Codec{cache.Msgpack(), cache.JSON()} {
		same := func(t *testing.T, hit bool, want bool) {
			t.Helper()
			if hit != want {
				t.Errorf("%s: a hit is %v, want %v", codec.Name(), hit, want)
			}
		}
		same(t, readAs[price, price](t, codec), true)
		same(t, readAs[tree, tree](t, codec), true)
		same(t, readAs[map[string][]price, map[string][]price](t, codec), true)
		same(t, readAs[int, int64](t, codec), false)
		same(t, readAs[*price, price](t, codec), false)
		same(t, readAs[tree, leaf](t, codec), false)
		same(t, readAs[priceOf[int], priceOf[float64]](t, codec), false)
		same(t, readAs[[]priceOf[int], []priceOf[uint]](t, codec), false)
		same(t, readAs[[2]int, [3]int](t, codec), false)
		same(t, readAs[map[string]priceOf[int], map[string]priceOf[int8]](t, codec), false)
		same(t, readAs[map[int]price, map[string]price](t, codec), false)
		same(t, readAs[struct{ A price }, struct{ B price }](t, codec), false)
		same(t, readAs[struct{ price }, struct{ Price price }](t, codec), false)
		same(t, readAs[struct{ A, B int }, struct{ B, A int }](t, codec), false)
		same(t, readAs[struct {
			A int `json:"a"`
		}, struct {
			A int `json:"b"`
		}](t, codec), false)
		same(t, readAs[struct{ A []map[string]*priceOf[int] }, struct{ A []map[string]*priceOf[int16] }](t, codec), false)
	}
}

// readAs stores a value of one type, and reports whether a cache of another type reads one.
func readAs[Old, New any](t *testing.T, codec cache.Codec) bool {
	t.Helper()
	m := newMapStore()
	open := func() driver.Store { return storeOf(m) }
	var value Old
	if err := newTyped(t, open(), &cache.Options[Old]{Codec: codec}).Set(t.Context(), "k", value); err != nil {
		t.Fatal(err)
	}
	_, ok, err := newTyped(t, open(), &cache.Options[New]{Codec: codec}).Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
