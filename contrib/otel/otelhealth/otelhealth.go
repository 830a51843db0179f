// Package otelhealth reports checks and alerts to OpenTelemetry: a span and a duration for each run of a check and for
// each delivery of a message.
package otelhealth

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mainstay-go/mainstay/contrib/otel/internal/signal"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
)

const (
	check    = attribute.Key("mainstay.health.check")
	status   = attribute.Key("mainstay.health.status")
	receiver = attribute.Key("mainstay.alert.receiver")
)

var errFailed = errors.New("the check failed")

// New returns hooks for health.Options.Trace. A nil tp records no spans and a nil mp no metrics. Spans are named
// "health.check". The metric is mainstay.health.check.duration by check and status. The output of a check is not
// recorded.
func New(tp trace.TracerProvider, mp metric.MeterProvider) (*health.Trace, error) {
	tracer, meter := signal.Tracer(tp, "otelhealth"), signal.NewMeter(mp, "otelhealth")
	runs := meter.Histogram("mainstay.health.check.duration", "Time of a run of a check.", signal.Durations, check, status)
	return &health.Trace{RunDone: func(ctx context.Context, e health.RunEvent) {
		runs.Record(ctx, e.Took, signal.Values{e.Check, e.Status.String()})
		var err error
		if e.Status == health.Fail {
			err = errFailed
		}
		signal.Span(ctx, tracer, "health.check", e.Took, err, check.String(e.Check), status.String(e.Status.String()))
	}}, meter.Err()
}

// NewAlert returns hooks for alert.Options.Trace. Spans are named "alert.delivery". The metric is
// mainstay.alert.delivery.duration by receiver and error.type.
func NewAlert(tp trace.TracerProvider, mp metric.MeterProvider) (*alert.Trace, error) {
	tracer, meter := signal.Tracer(tp, "otelhealth"), signal.NewMeter(mp, "otelhealth")
	deliveries := meter.Histogram("mainstay.alert.delivery.duration", "Time of a delivery to a receiver.", signal.Durations, receiver, "error.type")
	return &alert.Trace{Delivery: func(ctx context.Context, e alert.DeliveryEvent) {
		deliveries.Record(ctx, e.Took, signal.Values{e.Receiver, signal.Outcome(e.Err)})
		signal.Span(ctx, tracer, "alert.delivery", e.Took, e.Err, receiver.String(e.Receiver))
	}}, meter.Err()
}
