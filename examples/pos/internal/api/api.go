// Package api serves the shop over HTTP: the JSON routes, the health routes, and the pages.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/metrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
)

// AlertsPath is where the links of messages lead that acknowledge and silence alerts.
const AlertsPath = "/alerts/"

// Config has the parts of the API.
type Config struct {
	Settings *settings.Settings
	Store    *store.Store
	Sessions Sessions
	Caches   *shopcache.Caches
	Calendar store.Calendar
	Metrics  *metrics.Metrics
	Health   *health.Registry
	// Alerts serves the links of messages; nil is off.
	Alerts *alert.Alerter
	// Uptime serves the pages under /uptime/; nil is off.
	Uptime *history.History
	// Limiter makes a limiter for a policy, in memory or in Redis.
	Limiter func(ratelimit.Policy) (ratelimit.Limiter, error)
	// Concurrency makes a limiter of concurrent requests in the same store.
	Concurrency func(concurrency.Policy) (concurrency.Limiter, error)
	// CursorSecret signs cursors. All servers on one database share it.
	CursorSecret []byte
	// Operator reports whether a request carries the operations token.
	Operator func(*http.Request) bool
	Logger   *slog.Logger
}

// Sessions stores the sessions of users.
type Sessions interface {
	Start(ctx context.Context, user store.User, lifetime time.Duration, address, agent string) (token string, err error)
	User(ctx context.Context, token string) (store.User, bool, error)
	End(ctx context.Context, token string) error
	Ended(ctx context.Context) error
	Sign(kind, text string) string
	Signed(kind, signed string) bool
}

// API is the shop's HTTP server without its listener.
type API struct {
	Config
	limits  *limits
	lists   *lists
	reports *reports
	pages   *pages
	hashing gate
}

// New returns the handler of all routes.
func New(cfg Config) (http.Handler, error) {
	a := &API{Config: cfg, hashing: make(gate, max(1, runtime.GOMAXPROCS(0)/2))}
	links := &pagination.Links{TrustedProxies: cfg.Settings.TrustedProxies}
	ring, err := keyset.NewKeyRing(keyset.CursorKey{ID: 1, Secret: cfg.CursorSecret})
	if err != nil {
		return nil, err
	}
	cursors, err := keyset.NewCursors(ring, nil)
	if err != nil {
		return nil, err
	}
	if a.limits, err = newLimits(cfg); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if a.lists, err = newLists(links, cursors); err != nil {
		return nil, fmt.Errorf("lists: %w", err)
	}
	if a.reports, err = newReports(links, cursors); err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	if a.pages, err = newPages(cfg.Settings.Locale); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	return a.around(a.routes()), nil
}

func (a *API) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(path string, m methods) { mux.Handle(path+"{$}", m) }
	// Requests without a session are refused before any limit. Otherwise a stranger could use up the
	// limit of the school's address, and no till could show the log-in form.
	limited := func(limit middleware, h http.HandlerFunc) http.Handler { return a.signedIn(limit(h).ServeHTTP) }
	get := func(path string, h http.HandlerFunc) { open(path, methods{"GET": limited(a.limits.reads, h)}) }
	manager := func(h http.HandlerFunc) http.Handler { return limited(a.limits.reads, a.managers(h).ServeHTTP) }
	for path, page := range pageOf {
		open(path, methods{"GET": a.pages.handler(page)})
	}
	open("/assets/{file}/", methods{"GET": http.HandlerFunc(asset)})

	open("/api/v1/login/", methods{"POST": a.limits.login(http.HandlerFunc(a.login))})
	open("/api/v1/logout/", methods{"POST": a.signedIn(a.logout)})
	open("/api/v1/limits/", methods{"GET": a.limits.status})
	get("/api/v1/me/", a.whoami)
	get("/api/v1/categories/", a.categories)
	get("/api/v1/products/", a.products)
	open("/api/v1/products/{id}/", methods{"PATCH": manager(a.changeProduct)})
	open("/api/v1/products/{id}/stock/", methods{"POST": manager(a.changeStock)})
	get("/api/v1/customers/", a.customers)
	get("/api/v1/cards/{number}/", a.card)
	get("/api/v1/dashboard/", a.dashboard)
	open("/api/v1/days/{date}/", methods{"GET": manager(a.day)})
	open(salesReportPath, methods{"GET": limited(a.limits.reads, a.limits.downloads(a.managers(a.salesReport)).ServeHTTP)})
	open("/api/v1/topups/", methods{
		"GET":  limited(a.limits.reads, a.topUps),
		"POST": limited(a.limits.topUp, a.topUp),
	})
	open("/api/v1/topups/{id}/void/", methods{"POST": manager(a.voidTopUp)})
	open("/api/v1/sales/", methods{
		"GET":  limited(a.limits.reads, a.sales),
		"POST": limited(a.limits.sale, a.sell),
	})
	open("/api/v1/keys/cancel/", methods{"POST": limited(a.limits.cancels, a.limits.reads(http.HandlerFunc(a.cancel)).ServeHTTP)})
	get("/api/v1/sales/{id}/", a.sale)
	open("/api/v1/sales/{id}/void/", methods{"POST": manager(a.voidSale)})
	open("/api/v1/users/", methods{"GET": manager(a.users), "POST": manager(a.createUser)})
	open("/api/v1/users/{name}/", methods{"PATCH": manager(a.changeUser)})
	open("/api/v1/users/{name}/sessions/", methods{"GET": manager(a.sessions), "DELETE": manager(a.endSessions)})
	open("/api/v1/audit/", methods{"GET": manager(a.audit)})
	open("/metrics/", methods{"GET": a.operators(a.Metrics.Handler())})
	limits := a.operators(http.StripPrefix("/ops/limits", operate.Handler(func(*http.Request) bool { return true }, a.limits.all...)))
	open("/ops/limits/", methods{"GET": limits})
	open("/ops/limits/block/", methods{"POST": limits})
	open("/ops/limits/unlock/", methods{"POST": limits})
	for _, path := range []string{"/health/", "/ready/", "/alive/", "/status/"} {
		mux.Handle(path, methods{"GET": a.Health.Handler()})
	}
	if a.Alerts != nil {
		links := a.Alerts.Handler()
		open(AlertsPath, methods{"GET": links, "POST": links}) // a link carries its own authorization
	}
	if a.Uptime != nil {
		a.Uptime.Mount(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "not found")
	})
	return mux
}

func (a *API) around(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, "a page of another site may not send this")
	}))
	next = secure(guard.Handler(canonical(a.identify(named(next)))))
	if a.Settings.Debug {
		next = querycount.Middleware(&querycount.MiddlewareOptions{Logger: a.Logger})(next)
	}
	return a.observe(next)
}
