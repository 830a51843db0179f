// Package metrics exports the counters of the library's packages and of requests to
// Prometheus.
package metrics

import (
	"database/sql"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// Metrics is a separate registry, not the default registry of Prometheus.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	near     *prometheus.CounterVec
}

// New returns a registry with the metrics of the process.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pos_http_request_duration_seconds", Help: "Time of requests by route, method and status.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}, []string{"route", "method", "status"}),
		near: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pos_limit_near_total", Help: "Responses that crossed the last tenth of a rate limit, by route.",
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.near, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds the counters of health, database and caches.
func (m *Metrics) Watch(h *health.Registry, db *sql.DB, caches *shopcache.Caches) {
	m.registry.MustRegister(prommetrics.Health(h), collectors.NewDBStatsCollector(db, "pos"), prommetrics.Named("cache", "cache", caches.All()...))
}

// Redis adds the counters of the cache and of the limits in Redis.
func (m *Metrics) Redis(shared *rediscache.Store, limits *redislimit.Store) {
	m.registry.MustRegister(
		prommetrics.Stats("cache_redis", nil, func() any { return shared.Stats() }),
		prommetrics.Stats("ratelimit_redis", nil, func() any { return limits.Stats() }),
	)
}

// Backup adds the counters of this process' backups and of their schedule.
func (m *Metrics) Backup(job *backup.Job, nightly *schedule.Scheduler) {
	m.registry.MustRegister(
		prommetrics.Stats("backup", nil, func() any { return job.Stats() }),
		prommetrics.Stats("backup_schedule", nil, func() any { return nightly.Stats() }),
	)
}

// Notifications adds the counters of the messages that a channel sent.
func (m *Metrics) Notifications(channel string, counts func() (sent, failed uint64)) {
	m.registry.MustRegister(prommetrics.Notifications(channel, counts))
}

// Limiter adds the counters of a limiter.
func (m *Metrics) Limiter(policy string, stats func() any) {
	m.registry.MustRegister(prommetrics.Stats("ratelimit", prometheus.Labels{"policy": policy}, stats))
}

// Request counts one request. The route is a pattern and never a path. Clients choose paths,
// and each path would be a permanent series.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

// NearLimit counts a response that came near a rate limit.
func (m *Metrics) NearLimit(route string) { m.near.WithLabelValues(route).Inc() }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
