package ratelimit_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// middleware limits next to n requests an hour from each address.
type middleware struct {
	name string
	wrap func(tb testing.TB, n int, next http.Handler) http.Handler
}

func mainstayHTTP(algorithm ratelimit.Algorithm) func(testing.TB, int, http.Handler) http.Handler {
	return func(tb testing.TB, n int, next http.Handler) http.Handler {
		p := ratelimit.Policy{Name: "api", Limit: n, Window: time.Hour, Algorithm: algorithm}
		if algorithm == ratelimit.Exact && n > 4096 {
			p.Limit, p.Window = 4096, time.Millisecond
		}
		l := must[*ratelimit.Memory](tb)(ratelimit.NewMemory(p, nil))
		key := must[ratelimit.KeyFunc](tb)(ratelimit.ByIP(nil))
		return must[*ratelimit.Middleware](tb)(ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: l, Key: key}}, nil)).Wrap(next)
	}
}

var middlewares = []middleware{
	{"none", func(_ testing.TB, _ int, next http.Handler) http.Handler { return next }},
	{"mainstay Exact", mainstayHTTP(ratelimit.Exact)},
	{"mainstay GCRA", mainstayHTTP(ratelimit.GCRA)},
	{"sethvargo", func(tb testing.TB, n int, next http.Handler) http.Handler {
		s, err := memorystore.New(&memorystore.Config{Tokens: uint64(n), Interval: time.Hour})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { s.Close(ctx) })
		return must[*httplimit.Middleware](tb)(httplimit.NewMiddleware(s, httplimit.IPKeyFunc())).Handle(next)
	}},
	{"throttled", func(tb testing.TB, n int, next http.Handler) http.Handler {
		l := must[*throttled.GCRARateLimiterCtx](tb)(throttled.NewGCRARateLimiterCtx(
			must[throttled.GCRAStoreCtx](tb)(memstore.NewCtx(0)), throttled.RateQuota{MaxRate: throttled.PerHour(n), MaxBurst: n - 1}))
		h := &throttled.HTTPRateLimiterCtx{RateLimiter: l, VaryBy: &throttled.VaryBy{RemoteAddr: true}}
		return h.RateLimit(next)
	}},
	{"httprate", func(_ testing.TB, n int, next http.Handler) http.Handler {
		byPeer := func(r *http.Request) (string, error) { return httprate.CanonicalizeIP(host(r)), nil }
		return httprate.LimitBy(n, time.Hour, byPeer)(next)
	}},
	{"ulule", func(_ testing.TB, n int, next http.Handler) http.Handler {
		return stdlib.NewMiddleware(limiter.New(ululememory.NewStore(), limiter.Rate{Limit: int64(n), Period: time.Hour})).Handler(next)
	}},
}

// host is the shortest way to the address, in a peer's favour.
func host(r *http.Request) string {
	for i := len(r.RemoteAddr) - 1; i >= 0; i-- {
		if r.RemoteAddr[i] == ':' {
			return r.RemoteAddr[:i]
		}
	}
	return r.RemoteAddr
}

// writer is a ResponseWriter that costs next to nothing itself.
type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(p []byte) (int, error) { return len(p), nil }
func (w *writer) WriteHeader(status int)      { w.status = status }

var callers = func() (list [64]string) {
	for i := range list {
		list[i] = "203.0.113." + strconv.Itoa(i) + ":4711"
	}
	return list
}()

// serve sends requests of a few callers in turn, which all must get the same answer.
func serve(b *testing.B, h http.Handler, want int) {
	b.Helper()
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &writer{header: make(http.Header, 8)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		clear(w.header)
		w.status = http.StatusOK
		r.RemoteAddr = callers[i%len(callers)]
		h.ServeHTTP(w, r)
		if w.status != want {
			b.Fatal(w.status)
		}
	}
}

var next = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// BenchmarkMiddlewareAllowed: Exact has no limit above 4096, so it gets that in a millisecond.
func BenchmarkMiddlewareAllowed(b *testing.B) {
	for _, m := range middlewares {
		b.Run(m.name, func(b *testing.B) { serve(b, m.wrap(b, 1<<29, next), http.StatusOK) })
	}
}

func BenchmarkMiddlewareDenied(b *testing.B) {
	for _, m := range middlewares[1:] {
		b.Run(m.name, func(b *testing.B) {
			h := m.wrap(b, 1, next)
			r := must[*http.Request](b)(http.NewRequest(http.MethodGet, "/", nil))
			for _, r.RemoteAddr = range callers {
				for range 3 {
					h.ServeHTTP(&writer{header: http.Header{}}, r)
				}
			}
			serve(b, h, http.StatusTooManyRequests)
		})
	}
}
