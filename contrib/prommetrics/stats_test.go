package prommetrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mainstay-go/mainstay/contrib/prommetrics"
)

type breaker struct{ Open bool }

type stats struct {
	Hits, StaleHits uint64
	Keys            int
	HTTPErrors      uint64
	Ratio           float64
	Busy            time.Duration
	Breaker         breaker
	Since           time.Time
	Name            string
	Checks          []string
	hidden          uint64
}

func TestStats(t *testing.T) {
	s := stats{Hits: 1, StaleHits: 2, Keys: 3, HTTPErrors: 4, Ratio: 0.5, Busy: 1500 * time.Millisecond, Breaker: breaker{true}, hidden: 9}
	c := prommetrics.Stats("cache", prometheus.Labels{"cache": "products"}, func() any { return &s })
	want := `
# HELP cache_breaker_open Current value of cache_breaker_open.
# TYPE cache_breaker_open gauge
cache_breaker_open{cache="products"} 1
# HELP cache_busy_seconds Current value of cache_busy_seconds.
# TYPE cache_busy_seconds gauge
cache_busy_seconds{cache="products"} 1.5
# HELP cache_hits_total Count of cache_hits_total since the start.
# TYPE cache_hits_total counter
cache_hits_total{cache="products"} 1
# HELP cache_http_errors_total Count of cache_http_errors_total since the start.
# TYPE cache_http_errors_total counter
cache_http_errors_total{cache="products"} 4
# HELP cache_keys Current value of cache_keys.
# TYPE cache_keys gauge
cache_keys{cache="products"} 3
# HELP cache_ratio Current value of cache_ratio.
# TYPE cache_ratio gauge
cache_ratio{cache="products"} 0.5
# HELP cache_stale_hits_total Count of cache_stale_hits_total since the start.
# TYPE cache_stale_hits_total counter
cache_stale_hits_total{cache="products"} 2
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	s.Hits = 7
	if got := testutil.CollectAndCount(c, "cache_hits_total"); got != 1 {
		t.Fatal(got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a snapshot without numbers must not pass unseen")
		}
	}()
	prommetrics.Stats("x", nil, func() any { return struct{ Name string }{} })
}
