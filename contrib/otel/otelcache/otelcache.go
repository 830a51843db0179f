// Package otelcache reports a cache to OpenTelemetry: a span for each load, and counters of hits, misses, stale values
// and errors.
package otelcache

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/otel/internal/signal"
)

// New returns hooks for cache.Options.Trace. Several caches can share one set of hooks,
// because the name of the cache is an attribute. A nil tp records no spans and a nil mp no
// metrics.
//
// Spans are named "cache.load". Metrics are mainstay.cache.reads, .load.duration, .fenced,
// .store.errors and .audits. Metrics and spans contain no keys, because a key may identify
// a person. They contain the type of an error, never its text.
func New(tp trace.TracerProvider, mp metric.MeterProvider) (*cache.Trace, error) {
	const name, result, kind = attribute.Key("mainstay.cache.name"), attribute.Key("mainstay.cache.result"), attribute.Key("error.type")
	tracer, meter := signal.Tracer(tp, "otelcache"), signal.NewMeter(mp, "otelcache")
	reads := meter.Counter("mainstay.cache.reads", "{read}", "Reads by result: hit, miss or stale.", name, result, "mainstay.cache.tier")
	loads := meter.Histogram("mainstay.cache.load.duration", "Time of a load.", signal.Durations, name, kind)
	fenced := meter.Counter("mainstay.cache.fenced", "{load}", "Loaded values that were not stored, because an invalidation came between.", name)
	failed := meter.Counter("mainstay.cache.store.errors", "{error}", "Calls of the store that failed.", name, kind)
	audits := meter.Counter("mainstay.cache.audits", "{audit}", "Hits that were compared with the source.", name, result)
	return &cache.Trace{
		Hit: func(ctx context.Context, e cache.HitEvent) {
			reads.Add(ctx, 1, signal.Values{e.Cache, "hit", string(e.Tier)})
		},
		Miss: func(ctx context.Context, e cache.MissEvent) {
			reads.Add(ctx, 1, signal.Values{e.Cache, "miss"})
		},
		Stale: func(ctx context.Context, e cache.StaleEvent) {
			reads.Add(ctx, 1, signal.Values{e.Cache, "stale"})
		},
		Loaded: func(ctx context.Context, e cache.LoadedEvent) {
			loads.Record(ctx, e.Took, signal.Values{e.Cache, signal.Outcome(e.Err)})
			signal.Span(ctx, tracer, "cache.load", e.Took, e.Err, name.String(e.Cache))
		},
		Fenced: func(ctx context.Context, e cache.MissEvent) {
			fenced.Add(ctx, 1, signal.Values{e.Cache})
		},
		BadPayload: func(ctx context.Context, e cache.StoreErrorEvent) {
			failed.Add(ctx, 1, signal.Values{e.Cache, "bad_payload"})
		},
		StoreError: func(ctx context.Context, e cache.StoreErrorEvent) {
			failed.Add(ctx, 1, signal.Values{e.Cache, signal.Outcome(e.Err)})
		},
		Audit: func(ctx context.Context, e cache.AuditEvent) {
			found := "fresh"
			if e.Stale {
				found = "stale"
			}
			audits.Add(ctx, 1, signal.Values{e.Cache, found})
		},
	}, meter.Err()
}
