package otel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/files"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/otel/otelbackup"
	"github.com/mainstay-go/mainstay/contrib/otel/otelcache"
	"github.com/mainstay-go/mainstay/contrib/otel/otelhealth"
	"github.com/mainstay-go/mainstay/contrib/otel/otelpagination"
	"github.com/mainstay-go/mainstay/contrib/otel/otelratelimit"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// recorded is an SDK that keeps everything in memory.
type recorded struct {
	spans   *tracetest.SpanRecorder
	tracing *trace.TracerProvider
	reader  *metric.ManualReader
	meters  *metric.MeterProvider
}

func record() *recorded {
	r := &recorded{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	r.tracing = trace.NewTracerProvider(trace.WithSpanProcessor(r.spans))
	r.meters = metric.NewMeterProvider(metric.WithReader(r.reader))
	return r
}

// points returns the value of each data point, under "name{label=value,...}": a count for a histogram.
func (r *recorded) points(t *testing.T) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &all))
	found := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					found[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					found[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = int64(p.Count) //nolint:gosec // a small count
				}
			}
		}
	}
	return found
}

func TestCache(t *testing.T) {
	r := record()
	hooks, err := otelcache.New(r.tracing, r.meters)
	require.NoError(t, err)
	products, err := cache.New(nil, "products", time.Minute, &cache.Options[string]{Trace: hooks})
	require.NoError(t, err)
	ctx, parent := r.tracing.Tracer("test").Start(t.Context(), "request")
	for range 3 {
		_, err = products.GetOrLoad(ctx, "secret-key", func(context.Context) (string, error) { return "v", nil })
		require.NoError(t, err)
	}
	_, err = products.GetOrLoad(ctx, "other", func(context.Context) (string, error) { return "", errors.New("password=hunter2") })
	require.Error(t, err)
	parent.End()

	points := r.points(t)
	assert.EqualValues(t, 2, points["mainstay.cache.reads{mainstay.cache.name=products,mainstay.cache.result=hit,mainstay.cache.tier=local}"])
	assert.EqualValues(t, 2, points["mainstay.cache.reads{mainstay.cache.name=products,mainstay.cache.result=miss}"])
	assert.EqualValues(t, 1, points["mainstay.cache.load.duration{mainstay.cache.name=products}"])
	assert.EqualValues(t, 1, points["mainstay.cache.load.duration{error.type=*errors.errorString,mainstay.cache.name=products}"])
	loads := r.named("cache.load")
	require.Len(t, loads, 2)
	for _, s := range loads {
		assert.Equal(t, parent.SpanContext().SpanID(), s.Parent().SpanID(), "a load belongs to its request")
		for _, a := range s.Attributes() {
			assert.NotContains(t, a.Value.String(), "secret-key")
			assert.NotContains(t, a.Value.String(), "hunter2")
		}
	}
	assert.Equal(t, codes.Error, loads[1].Status().Code)
	assert.Empty(t, loads[1].Status().Description, "the text of an error may hold a secret")
}

func TestRateLimit(t *testing.T) {
	r := record()
	hooks, err := otelratelimit.New(r.meters)
	require.NoError(t, err)
	limiter, err := ratelimit.NewMemory(ratelimit.Policy{Name: "api", Limit: 2, Window: time.Hour}, &ratelimit.Options{Trace: hooks})
	require.NoError(t, err)
	for range 3 {
		_, err = limiter.Allow(t.Context(), "203.0.113.7")
		require.NoError(t, err)
	}
	points := r.points(t)
	assert.EqualValues(t, 2, points["mainstay.ratelimit.decisions{mainstay.ratelimit.outcome=allowed,mainstay.ratelimit.policy=api}"])
	assert.EqualValues(t, 1, points["mainstay.ratelimit.decisions{mainstay.ratelimit.outcome=denied,mainstay.ratelimit.policy=api}"])
	for name := range points {
		assert.NotContains(t, name, "203.0.113.7")
	}
}

func TestHealth(t *testing.T) {
	r := record()
	hooks, err := otelhealth.New(r.tracing, r.meters)
	require.NoError(t, err)
	checks, err := health.New([]health.Check{{
		Name: "database", Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
			return health.Failed("no answer", errors.New("password=hunter2"))
		}),
	}}, &health.Options{Trace: hooks})
	require.NoError(t, err)
	_, err = checks.RunOnce(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.points(t)["mainstay.health.check.duration{mainstay.health.check=database,mainstay.health.status=fail}"])
	spans := r.named("health.check")
	require.Len(t, spans, 1)
	assert.Equal(t, codes.Error, spans[0].Status().Code)
}

func TestAlert(t *testing.T) {
	r := record()
	hooks, err := otelhealth.NewAlert(r.tracing, r.meters)
	require.NoError(t, err)
	hooks.Delivery(t.Context(), alert.DeliveryEvent{Receiver: "pager", Took: time.Second, Err: errors.New("https://hooks.example/secret")})
	assert.EqualValues(t, 1, r.points(t)["mainstay.alert.delivery.duration{error.type=*errors.errorString,mainstay.alert.receiver=pager}"])
	spans := r.named("alert.delivery")
	require.Len(t, spans, 1)
	assert.Equal(t, time.Second, spans[0].EndTime().Sub(spans[0].StartTime()))
	assert.Empty(t, spans[0].Status().Description, "the text of an error may hold a secret")
}

func TestRedis(t *testing.T) {
	r := record()
	hooks, err := otelratelimit.NewRedis(r.meters)
	require.NoError(t, err)
	hooks.Failed(t.Context(), redislimit.FailedEvent{Err: io.EOF})
	hooks.Down(t.Context(), redislimit.FailedEvent{Err: io.EOF})
	hooks.Up(t.Context(), redislimit.UpEvent{})
	points := r.points(t)
	assert.EqualValues(t, 1, points["mainstay.ratelimit.redis.errors{error.type=*errors.errorString}"])
	for _, state := range []string{"down", "up"} {
		assert.EqualValues(t, 1, points["mainstay.ratelimit.redis.breaker{mainstay.ratelimit.redis.state="+state+"}"])
	}
}

func TestBackup(t *testing.T) {
	r := record()
	hooks, err := otelbackup.New("uploads", r.tracing, r.meters)
	require.NoError(t, err)
	source, err := files.New(t.TempDir(), nil)
	require.NoError(t, err)
	folder, err := backup.NewFolder(t.TempDir())
	require.NoError(t, err)
	job, err := backup.New("uploads", source, folder, &backup.Options{Trace: hooks})
	require.NoError(t, err)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.points(t)["mainstay.backup.stage.duration{mainstay.backup.job=uploads,mainstay.backup.stage=dump}"])
	var found bool
	for _, s := range r.named("backup.stage") {
		for _, a := range s.Attributes() {
			found = found || a.Value.String() == report.Manifest.ID
		}
	}
	assert.True(t, found, "no span carries the id of the backup")
}

func TestPagination(t *testing.T) {
	r := record()
	hooks, err := otelpagination.New("products", r.tracing, r.meters)
	require.NoError(t, err)
	pages, err := pagination.NewPageNumber(pagination.Large, &pagination.PageNumberOptions{Trace: hooks})
	require.NoError(t, err)
	list := pagination.Source[int]{
		ListFunc:  func(context.Context, int, int64) ([]int, error) { return []int{1, 2, 3}, nil },
		CountFunc: func(context.Context) (int64, error) { return 3, nil },
	}
	_, err = pagination.Paginate(httptest.NewRequest(http.MethodGet, "/?page=1", nil), pages, list)
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.points(t)["mainstay.pagination.page.duration{mainstay.pagination.list=products,mainstay.pagination.style=page}"])
	require.Len(t, r.named("pagination.page"), 1)
}

// Nil providers record nothing and cost no allocation.
func TestOff(t *testing.T) {
	hooks, err := otelcache.New(nil, nil)
	require.NoError(t, err)
	event := cache.HitEvent{Cache: "products", Tier: cache.TierLocal}
	assert.Zero(t, testing.AllocsPerRun(100, func() { hooks.Hit(t.Context(), event) }))
	hooks.Loaded(t.Context(), cache.LoadedEvent{Cache: "products", Err: io.EOF})
	limits, err := otelratelimit.New(nil)
	require.NoError(t, err)
	limits.Decided(t.Context(), ratelimit.DecidedEvent{})
}

// named returns the ended spans with a name.
func (r *recorded) named(name string) (found []trace.ReadOnlySpan) {
	for _, s := range r.spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// BenchmarkHit is the cost of the hooks on the hottest path: a hit of the local tier.
func BenchmarkHit(b *testing.B) {
	r := record()
	counted, err := otelcache.New(nil, r.meters)
	require.NoError(b, err)
	for name, hooks := range map[string]*cache.Trace{"hooks=none": nil, "hooks=metrics": counted} {
		b.Run(name, func(b *testing.B) {
			products, err := cache.New(nil, "products", time.Minute, &cache.Options[int]{Trace: hooks})
			require.NoError(b, err)
			require.NoError(b, products.Set(b.Context(), "1", 1))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := products.Get(b.Context(), "1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
