package prommetrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
)

func TestNamed(t *testing.T) {
	products, err1 := cache.New[int](nil, "products", time.Hour, nil)
	names, err2 := cache.New[string](nil, "names", time.Hour, nil)
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
