package prommetrics_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
)

// down is a store that cannot be reached.
type down struct{}

var errDown = errors.New("connection refused")

func (down) Get(context.Context, string) ([]byte, bool, error)        { return nil, false, errDown }
func (down) Set(context.Context, string, []byte, time.Duration) error { return errDown }
func (down) Delete(context.Context, ...string) error                  { return errDown }

func TestNamed(t *testing.T) {
	near, err := ristrettocache.NewNear(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	opts := &cache.Options{Near: near}
	products, err1 := cache.New[int](nil, "products", time.Hour, opts)
	names, err2 := cache.New[string](nil, "names", time.Hour, opts)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := products.GetOrLoad(t.Context(), "1", func(context.Context) (int, error) { return 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
	c := prommetrics.Named[cache.Stats]("cache", "cache", products, names)
	want := `
# HELP cache_hits_total Count of cache_hits_total since the start.
# TYPE cache_hits_total counter
cache_hits_total{cache="names"} 0
cache_hits_total{cache="products"} 2
# HELP cache_loads_total Count of cache_loads_total since the start.
# TYPE cache_loads_total counter
cache_loads_total{cache="names"} 0
cache_loads_total{cache="products"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "cache_hits_total", "cache_loads_total"); err != nil {
		t.Error(err)
	}
	pedantic := prometheus.NewPedanticRegistry()
	pedantic.MustRegister(c)
	if _, err := pedantic.Gather(); err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("two of one name were accepted")
			}
		}()
		prommetrics.Named[cache.Stats]("cache", "cache", products, products)
	}()
}

// TestFallbackStats: the breaker and the queue of a cache's outage as metrics.
func TestFallbackStats(t *testing.T) {
	memory, err := ristrettocache.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	f, err := cache.NewFallback(down{}, memory, &cache.FallbackOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c", "a"} {
		if err := f.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	want := `
# HELP cache_fallback_degraded Current value of cache_fallback_degraded.
# TYPE cache_fallback_degraded gauge
cache_fallback_degraded 1
# HELP cache_fallback_fallbacks_total Count of cache_fallback_fallbacks_total since the start.
# TYPE cache_fallback_fallbacks_total counter
cache_fallback_fallbacks_total 4
# HELP cache_fallback_pending Current value of cache_fallback_pending.
# TYPE cache_fallback_pending gauge
cache_fallback_pending 3
`
	c := prommetrics.Stats("cache_fallback", nil, func() any { return f.Stats() })
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "cache_fallback_degraded", "cache_fallback_pending", "cache_fallback_fallbacks_total"); err != nil {
		t.Error(err)
	}
}
