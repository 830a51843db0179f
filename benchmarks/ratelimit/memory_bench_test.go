// Package ratelimit_test measures the limiters beside sethvargo/go-limiter v1.1.0,
// go-chi/httprate v0.16.1, ulule/limiter v3.11.2, throttled v2.15.0 and redis_rate v10.0.1.
package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/mainstay-go/mainstay/ratelimit"
)

var ctx = context.Background()

// take asks for one unit of key and says whether it was given.
type take func(key string) bool

// subject is one limiter of n units in a window.
type subject struct {
	name  string
	build func(tb testing.TB, n int, window time.Duration, keys int) take
}

func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func mainstay(algorithm ratelimit.Algorithm) func(testing.TB, int, time.Duration, int) take {
	return func(tb testing.TB, n int, window time.Duration, keys int) take {
		p := ratelimit.Policy{Name: "bench", Limit: n, Window: window, Algorithm: algorithm}
		m := must[*ratelimit.Memory](tb)(ratelimit.NewMemory(p, &ratelimit.Options{MaxKeys: max(1000, 2*keys)}))
		return func(key string) bool {
			r, err := m.Allow(ctx, key)
			return err == nil && r.Allowed
		}
	}
}

var subjects = []subject{
	{"mainstay Exact", mainstay(ratelimit.Exact)},
	{"mainstay Buckets", mainstay(ratelimit.Buckets)},
	{"mainstay GCRA", mainstay(ratelimit.GCRA)},
	{"sethvargo", func(tb testing.TB, n int, window time.Duration, _ int) take {
		s, err := memorystore.New(&memorystore.Config{Tokens: uint64(n), Interval: window})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { s.Close(ctx) })
		return func(key string) bool {
			_, _, _, ok, err := s.Take(ctx, key)
			return err == nil && ok
		}
	}},
	{"throttled", func(tb testing.TB, n int, window time.Duration, _ int) take {
		store := must[throttled.GCRAStoreCtx](tb)(memstore.NewCtx(0))
		l := must[*throttled.GCRARateLimiterCtx](tb)(throttled.NewGCRARateLimiterCtx(store,
			throttled.RateQuota{MaxRate: throttled.PerDuration(n, window), MaxBurst: n - 1}))
		return func(key string) bool {
			limited, _, err := l.RateLimitCtx(ctx, key, 1)
			return err == nil && !limited
		}
	}},
	{"ulule", func(_ testing.TB, n int, window time.Duration, _ int) take {
		l := limiter.New(ululememory.NewStore(), limiter.Rate{Limit: int64(n), Period: window})
		return func(key string) bool {
			c, err := l.Get(ctx, key)
			return err == nil && !c.Reached
		}
	}},
	{"httprate", func(tb testing.TB, n int, window time.Duration, _ int) take {
		// Without fields, since OnLimit, which decides, is the middleware's.
		l := httprate.NewRateLimiter(n, window, httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
		r := must[*http.Request](tb)(http.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
		return func(key string) bool { return !l.OnLimit(nil, r, key) }
	}},
}

func parallel(b *testing.B, f func(i int)) {
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			f(i)
		}
	})
}

// BenchmarkHotKeyDenied asks for a key that is exhausted.
func BenchmarkHotKeyDenied(b *testing.B) {
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			take := s.build(b, 100, time.Hour, 1)
			for range 300 {
				take("user:1")
			}
			parallel(b, func(int) {
				if take("user:1") {
					b.Error("allowed")
				}
			})
		})
	}
}

// BenchmarkHotKeyAllowed asks for a key that always has some left, and says in allowed/op
// that it had.
func BenchmarkHotKeyAllowed(b *testing.B) {
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			take := s.build(b, 1<<29, 24*time.Hour, 1)
			take("user:1")
			countAllowed(b, take)
		})
	}
}

// countAllowed asks for one key and reports the share that was given.
func countAllowed(b *testing.B, take take) {
	b.Helper()
	var allowed atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mine := 0
		for pb.Next() {
			if take("user:1") {
				mine++
			}
		}
		allowed.Add(int64(mine))
	})
	b.ReportMetric(float64(allowed.Load())/float64(b.N), "allowed/op")
}

// BenchmarkHotKeyMixed asks for a key whose limit comes back again and again, as often as a
// millisecond lets through 4096.
func BenchmarkHotKeyMixed(b *testing.B) {
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			take := s.build(b, 4096, time.Millisecond, 1)
			countAllowed(b, take)
		})
	}
}

// benchKeys is how many keys the next two take: MAINSTAY_BENCH_KEYS, default 20,000.
// The table of the README is of a million.
func benchKeys(tb testing.TB) int {
	tb.Helper()
	s := os.Getenv("MAINSTAY_BENCH_KEYS")
	if s == "" {
		return 20_000
	}
	return must[int](tb)(strconv.Atoi(s))
}

func keyOf(i int) string { return "user:" + strconv.Itoa(i) }

// BenchmarkManyKeys asks for keys at random, each of which has been used once. They are
// copies, as those of requests are: a table that keeps the very string it was handed
// would otherwise compare two pointers.
func BenchmarkManyKeys(b *testing.B) {
	n := benchKeys(b)
	keys, copies := make([]string, n), make([]string, n)
	for i := range keys {
		keys[i], copies[i] = keyOf(i), keyOf(i)
	}
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			take := s.build(b, 100, time.Hour, n)
			for _, key := range keys {
				take(key)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(rand.Uint64(), 1))
				for pb.Next() {
					take(copies[r.IntN(n)])
				}
			})
		})
	}
}

// BenchmarkBytesPerKey fills a limiter with keys that are used once, and reports the
// heap that it holds for each, its text included.
func BenchmarkBytesPerKey(b *testing.B) {
	n := benchKeys(b)
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				take := s.build(b, 100, time.Hour, n)
				for i := range n {
					take(keyOf(i))
				}
				b.ReportMetric(float64(heap()-before)/float64(n), "B/key")
				runtime.KeepAlive(take)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkBytesOfACost reports the bytes that a use of 4,096 units takes beyond a use of one.
func BenchmarkBytesOfACost(b *testing.B) {
	const keys = 2000
	bytes := func(cost int) float64 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := must[*ratelimit.Memory](b)(ratelimit.NewMemory(ratelimit.Policy{Name: "bench", Limit: 4096, Window: time.Hour}, nil))
		for i := range keys {
			if r, err := m.AllowN(ctx, keyOf(i), cost); err != nil || !r.Allowed {
				b.Fatal(r, err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(m)
		return float64(after.HeapAlloc-before.HeapAlloc) / keys
	}
	for b.Loop() {
		one, many := bytes(1), bytes(4096)
		b.ReportMetric(many, "B/key")
		b.ReportMetric(max(many-one, 0), "B/cost")
	}
}
