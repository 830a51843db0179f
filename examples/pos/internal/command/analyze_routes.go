package command

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/metrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/pagination/querycount"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// routeCost counts the statements of one GET, with an empty cache and with a warm one.
type routeCost struct {
	Route      string `json:"route"`
	Status     int    `json:"status"`
	Cold       int    `json:"statements"`
	Warm       int    `json:"statements_cached"`
	ColdMicros int64  `json:"us"`
	WarmMicros int64  `json:"us_cached"`
}

// cacheUse is the hit ratio of the cache. Source names the server that counted the reads.
type cacheUse struct {
	Backend  string  `json:"backend"`
	Source   string  `json:"source"`
	Hits     uint64  `json:"hits"`
	Misses   uint64  `json:"misses"`
	HitRatio float64 `json:"hit_ratio"`
}

const (
	thisRun    = "this run"
	thatServer = "the running server"
)

func (c *cacheUse) set(source string, hits, misses uint64) {
	c.Source, c.Hits, c.Misses, c.HitRatio = source, hits, misses, 0
	if hits+misses > 0 {
		c.HitRatio = float64(hits) / float64(hits+misses)
	}
}

// measureRoutes sends each reading route twice to a server of its own, which shares only the
// database with a running one. It touches no session, limit or cached value of the shop.
func measureRoutes(ctx context.Context, s *settings.Settings, st *store.Store) ([]routeCost, cacheUse, error) {
	use := cacheUse{Backend: "memory"}
	if s.Redis.Configured() {
		use.Backend = "Redis"
	}
	quiet := slog.New(slog.DiscardHandler)
	caches, err := shopcache.New(st, nil, quiet)
	if err != nil {
		return nil, use, err
	}
	checks, err := health.New(nil, &health.Options{Logger: quiet})
	if err != nil {
		return nil, use, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	handler, err := api.New(api.Config{
		Settings: s, Store: st, Sessions: analyst{}, Caches: caches, Calendar: calendar(s), Metrics: metrics.New(), Health: checks, CursorSecret: secret, Logger: quiet,
		Operator: func(*http.Request) bool { return false },
		Limiter: func(p ratelimit.Policy) (ratelimit.Limiter, error) {
			p.Limit = ratelimit.Unlimited
			return ratelimit.NewMemory(p, nil)
		},
		Concurrency: func(p concurrency.Policy) (concurrency.Limiter, error) {
			return concurrency.New(p, nil)
		},
	})
	if err != nil {
		return nil, use, err
	}
	routes := []string{
		"/api/v1/categories/", "/api/v1/products/", "/api/v1/products/?search=juice", "/api/v1/customers/",
		"/api/v1/sales/", "/api/v1/sales/?cursor=", "/api/v1/reports/sales/", "/api/v1/dashboard/",
	}
	var card sql.NullString
	if err := st.Reader().QueryRowContext(ctx, "SELECT min(number) FROM cards").Scan(&card); err == nil && card.Valid {
		routes = append(routes, "/api/v1/cards/"+card.String+"/")
	}
	costs := make([]routeCost, len(routes))
	for i, route := range routes {
		c := &costs[i]
		c.Route = route
		if c.Status, c.Cold, c.ColdMicros, err = send(ctx, handler, route); err != nil {
			return nil, use, err
		}
		c.Warm = math.MaxInt
		for range 3 { // on a slow host the versions of the caches are too old by now, and are read again
			_, statements, took, err := send(ctx, handler, route)
			if err != nil {
				return nil, use, err
			}
			if statements < c.Warm {
				c.Warm, c.WarmMicros = statements, took
			}
			if c.Warm == 0 {
				break
			}
		}
	}
	var hits, misses uint64
	for _, one := range caches.All() {
		hits, misses = hits+one.Stats().Hits, misses+one.Stats().Misses
	}
	use.set(thisRun, hits, misses)
	return costs, use, nil
}

func send(ctx context.Context, handler http.Handler, route string) (status, statements int, micros int64, err error) {
	ctx, counter := querycount.With(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://analyze"+route, nil)
	if err != nil {
		return 0, 0, 0, err
	}
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Authorization", "Bearer analyst")
	w := &discard{header: http.Header{}, status: http.StatusOK}
	start := time.Now()
	handler.ServeHTTP(w, r)
	return w.status, counter.Total(), time.Since(start).Microseconds(), nil
}

// analyst is the only client of a server without a listener.
type analyst struct{}

func (analyst) Start(context.Context, store.User, time.Duration, string, string) (string, error) {
	return "", nil
}
func (analyst) End(context.Context, string) error { return nil }
func (analyst) Ended(context.Context) error       { return nil }
func (analyst) Sign(_, text string) string        { return text }
func (analyst) Signed(string, string) bool        { return false }

func (analyst) User(context.Context, string) (store.User, bool, error) {
	return store.AdminUser, true, nil
}

// discard is a ResponseWriter that stores only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

var cacheCounter = regexp.MustCompile(`^cache_(hits|misses)_total\{.*\} ([0-9.e+]+)$`)

// askServer replaces the counters of this run by those of a running server. It needs a server
// and its operations token.
func askServer(ctx context.Context, s *settings.Settings, use *cacheUse) {
	if s.OpsToken == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/metrics", nil)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+s.OpsToken)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return
	}
	sums, seen := map[string]uint64{}, false
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if m := cacheCounter.FindStringSubmatch(lines.Text()); m != nil {
			n, _ := strconv.ParseFloat(m[2], 64)
			sums[m[1]] += uint64(n)
			seen = true
		}
	}
	if seen {
		use.set(thatServer, sums["hits"], sums["misses"])
	}
}
