// Package otelratelimit reports limits to OpenTelemetry: decisions by policy and outcome, and the outages of Redis.
package otelratelimit

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/mainstay-go/mainstay/contrib/otel/internal/signal"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

const (
	policy  = attribute.Key("mainstay.ratelimit.policy")
	outcome = attribute.Key("mainstay.ratelimit.outcome")
)

// New returns hooks for ratelimit.Options.Trace. Several limiters can share one set of
// hooks. Metrics are mainstay.ratelimit.decisions and .near_limit. The outcome is allowed,
// denied, shadow_denied or degraded. Metrics contain no keys, because clients choose them.
func New(mp metric.MeterProvider) (*ratelimit.Trace, error) {
	meter := signal.NewMeter(mp, "otelratelimit")
	decisions := meter.Counter("mainstay.ratelimit.decisions", "{decision}", "Decisions by policy and outcome.", policy, outcome)
	near := meter.Counter("mainstay.ratelimit.near_limit", "{decision}", "Decisions that took a key across the near-limit share.", policy)
	return &ratelimit.Trace{
		Decided: func(ctx context.Context, e ratelimit.DecidedEvent) {
			decisions.Add(ctx, 1, signal.Values{e.Result.Policy, outcomeOf(&e.Result)})
		},
		NearLimit: func(ctx context.Context, e ratelimit.DecidedEvent) {
			near.Add(ctx, 1, signal.Values{e.Result.Policy})
		},
	}, meter.Err()
}

func outcomeOf(r *ratelimit.Result) string {
	switch {
	case r.Degraded:
		return "degraded"
	case r.Shadowed:
		return "shadow_denied"
	case r.Allowed:
		return "allowed"
	default:
		return "denied"
	}
}

// NewRedis returns hooks for redislimit.Options.Trace. Metrics are mainstay.ratelimit.redis.errors by error.type, and
// mainstay.ratelimit.redis.breaker by state: down and up count how often a breaker opened and closed.
func NewRedis(mp metric.MeterProvider) (*redislimit.Trace, error) {
	meter := signal.NewMeter(mp, "otelratelimit")
	failed := meter.Counter("mainstay.ratelimit.redis.errors", "{error}", "Calls of Redis that failed.", "error.type")
	breaker := meter.Counter("mainstay.ratelimit.redis.breaker", "{change}", "Changes of the circuit breaker.", "mainstay.ratelimit.redis.state")
	return &redislimit.Trace{
		Down: func(ctx context.Context, _ redislimit.FailedEvent) { breaker.Add(ctx, 1, signal.Values{"down"}) },
		Up:   func(ctx context.Context, _ redislimit.UpEvent) { breaker.Add(ctx, 1, signal.Values{"up"}) },
		Failed: func(ctx context.Context, e redislimit.FailedEvent) {
			failed.Add(ctx, 1, signal.Values{signal.Outcome(e.Err)})
		},
	}, meter.Err()
}
