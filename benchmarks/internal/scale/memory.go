package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/ratelimit"
)

var keySizes = []int{100, 1000, 10_000, 100_000, 1_000_000, 3_000_000}

var curves = []curve{
	{
		Name: "cache", Title: "Cache in memory: cost against keys", X: "keys", Y: "ns a hit, bytes an entry", Sizes: keySizes,
		Series: []string{"ns a hit", "bytes an entry"}, Measure: cacheKeys,
	},
	{
		Name: "ratelimit", Title: "Limits in memory: cost against keys", X: "keys", Y: "ns a decision, bytes a key", Sizes: keySizes,
		Series: []string{"ns a decision", "bytes a key"}, Measure: limitKeys,
	},
	{
		Name: "health", Title: "Health: cost against checks", X: "checks", Y: "µs", Sizes: []int{10, 100, 1000, 10_000},
		Series: []string{"one result", "one request"}, Measure: checks,
	},
	{
		Name: "pagination", Title: "Pages of 25 on SQLite: time against rows", X: "rows", Y: "µs a page", Sizes: []int{1000, 10_000, 100_000, 1_000_000},
		Series: []string{"first page", "last page, keyset", "last page, offset"}, Measure: pages,
	},
	{
		Name: "backup", Title: "Backup of SQLite: time against rows of 100 bytes", X: "rows", Y: "s", Sizes: []int{1000, 10_000, 100_000, 1_000_000},
		Series: []string{"backup", "restore"}, Measure: backups,
	},
	{
		Name: "instances", Title: "Cache on Redis: commands against instances", X: "instances", Y: "commands a write", Sizes: []int{1, 3, 10, 30, 100},
		Series: []string{"commands a write"}, Measure: instances,
	},
}

// each runs f for at least 300 ms and returns the nanoseconds of one call.
func each(f func(i int)) float64 {
	const least = 300 * time.Millisecond
	start := time.Now()
	n := 0
	for time.Since(start) < least {
		for range 1000 {
			f(n)
			n++
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func cacheKeys(ctx context.Context, _ string, n int) (map[string]float64, error) {
	before := heap()
	values, err := cache.New(nil, "scale", time.Hour, &cache.Options[int]{MaxBytes: 4 << 30})
	if err != nil {
		return nil, err
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	text := heap()
	for i, key := range keys {
		if err := values.Set(ctx, key, i); err != nil {
			return nil, err
		}
	}
	bytes := (heap() - before - (text - before)) / float64(n)
	r := rand.New(rand.NewPCG(1, 2))
	missed := 0
	cost := each(func(int) {
		if _, ok, err := values.Get(ctx, keys[r.IntN(n)]); err != nil || !ok {
			missed++
		}
	})
	if missed > 0 {
		return nil, fmt.Errorf("%d reads of %d keys found no value", missed, n)
	}
	return map[string]float64{"ns a hit": cost, "bytes an entry": bytes}, nil
}

func limitKeys(ctx context.Context, _ string, n int) (map[string]float64, error) {
	before := heap()
	limiter, err := ratelimit.NewMemory(ratelimit.Policy{Name: "scale", Limit: 100, Window: time.Hour}, &ratelimit.Options{MaxKeys: 2 * n})
	if err != nil {
		return nil, err
	}
	for i := range n {
		if _, err := limiter.Allow(ctx, strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	bytes := (heap() - before) / float64(n)
	r := rand.New(rand.NewPCG(1, 2))
	cost := each(func(int) { _, err = limiter.Allow(ctx, strconv.Itoa(r.IntN(n))) })
	return map[string]float64{"ns a decision": cost, "bytes a key": bytes}, err
}

func checks(ctx context.Context, _ string, n int) (map[string]float64, error) {
	all := make([]health.Check, n)
	for i := range all {
		all[i] = health.Check{
			Name: "check" + strconv.Itoa(i), Timeout: time.Second,
			Checker: health.CheckerFunc(func(context.Context) health.Result { return health.Result{Status: health.Pass} }),
		}
	}
	registry, err := health.New(all, nil)
	if err != nil {
		return nil, err
	}
	if _, err := registry.RunOnce(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	if _, err := registry.RunOnce(ctx); err != nil {
		return nil, err
	}
	result := float64(time.Since(start).Microseconds()) / float64(n)
	handler := http.HandlerFunc(registry.ServeHealth)
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/health/", nil)
	w := httptest.NewRecorder()
	cost := each(func(int) {
		w.Body.Reset()
		handler.ServeHTTP(w, request)
	})
	return map[string]float64{"one result": result, "one request": cost / 1000}, nil
}
