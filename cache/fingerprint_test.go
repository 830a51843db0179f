package cache_test

import (
	"encoding/json"
	"net"
	"net/url"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

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

// These types have the names and forms of others, and no methods.
type (
	RawMessage json.RawMessage
	IP         net.IP  // net.IP encodes itself as a text
	URL        url.URL // url.URL encodes itself as bytes, by a method of its pointer
)

// renamed is a codec that the package does not know.
type renamed struct{ cache.Codec }

// TestFingerprintOfMarshalers: a type that begins or ceases to encode itself has another
// form, if the codec uses that method.
func TestFingerprintOfMarshalers(t *testing.T) {
	same := func(name string, hit, want bool) {
		t.Helper()
		if hit != want {
			t.Errorf("%s: a hit is %v, want %v", name, hit, want)
		}
	}
	same("json.RawMessage", readAs[RawMessage, json.RawMessage](t, cache.JSON()), false)
	same("json.RawMessage in a struct", readAs[struct{ A []*RawMessage }, struct{ A []*json.RawMessage }](t, cache.JSON()), false)
	same("json.RawMessage of another codec", readAs[RawMessage, json.RawMessage](t, cache.Msgpack()), true)
	same("json.RawMessage of an unknown codec", readAs[RawMessage, json.RawMessage](t, renamed{cache.JSON()}), false)
	same("json.RawMessage itself", readAs[json.RawMessage, json.RawMessage](t, cache.JSON()), true)
	for _, codec := range []cache.Codec{cache.JSON(), cache.Msgpack(), renamed{cache.JSON()}} {
		same("a text", readAs[IP, net.IP](t, codec), false)
		same("a text in a map", readAs[map[string]IP, map[string]net.IP](t, codec), false)
		same("an embedded text", readAs[struct{ IP }, struct{ net.IP }](t, codec), false)
		same("the same text", readAs[net.IP, net.IP](t, codec), true)
	}
	same("bytes", readAs[URL, url.URL](t, cache.Msgpack()), false)
	same("bytes behind a pointer", readAs[*URL, *url.URL](t, cache.Msgpack()), false)
	same("bytes with JSON", readAs[URL, url.URL](t, cache.JSON()), true)
	same("msgpack.RawMessage", readAs[RawMessage, msgpack.RawMessage](t, cache.Msgpack()), false)
	same("msgpack.RawMessage with JSON", readAs[RawMessage, msgpack.RawMessage](t, cache.JSON()), true)
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
