// Package signal records the events of the library's hooks. It records spans with the times
// of the event, and metrics whose attribute sets are built once.
package signal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Durations are the buckets in seconds that the semantic conventions of OpenTelemetry
// recommend for requests.
var Durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Jobs are buckets in seconds for work that takes minutes or hours.
var Jobs = []float64{0.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600}

// Tracer returns the tracer of a package. It returns nil if the provider is nil.
func Tracer(tp trace.TracerProvider, scope string) trace.Tracer {
	if tp == nil {
		return nil
	}
	return tp.Tracer("github.com/mainstay-go/mainstay/contrib/otel/" + scope)
}

// Span records a span that ends now and started took ago. Its parent is the span of ctx. A
// nil tracer records no span.
func Span(ctx context.Context, t trace.Tracer, name string, took time.Duration, err error, attrs ...attribute.KeyValue) {
	if t == nil {
		return
	}
	end := time.Now()
	_, span := t.Start(ctx, name, trace.WithTimestamp(end.Add(-took)), trace.WithAttributes(attrs...))
	if err != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(ErrorType(err))
	}
	span.End(trace.WithTimestamp(end))
}

// ErrorType returns the attribute error.type: the class of an error, never its text, which
// may contain hosts or keys.
func ErrorType(err error) attribute.KeyValue {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return attribute.String("error.type", "timeout")
	case errors.Is(err, context.Canceled):
		return attribute.String("error.type", "canceled")
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return attribute.String("error.type", fmt.Sprintf("%T", err))
		}
		err = inner
	}
}

// Meter creates the instruments of one package. Err returns its first error. If the
// provider is nil, the instruments record no values.
type Meter struct {
	meter metric.Meter
	err   error
}

// NewMeter returns the meter of a package.
func NewMeter(mp metric.MeterProvider, scope string) *Meter {
	if mp == nil {
		return &Meter{}
	}
	return &Meter{meter: mp.Meter("github.com/mainstay-go/mainstay/contrib/otel/" + scope)}
}

// Err returns the first error of an instrument.
func (m *Meter) Err() error { return m.err }

// Counter creates a counter. The unit is an annotation such as "{hit}".
func (m *Meter) Counter(name, unit, description string, labels ...attribute.Key) *Counter {
	if m.meter == nil {
		return nil
	}
	c, err := m.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	m.err = errors.Join(m.err, err)
	return &Counter{c: c, sets: sets[metric.AddOption]{labels: labels, option: func(s attribute.Set) metric.AddOption {
		return metric.WithAttributeSet(s)
	}}}
}

// Histogram creates a histogram of durations in seconds.
func (m *Meter) Histogram(name, description string, buckets []float64, labels ...attribute.Key) *Histogram {
	if m.meter == nil {
		return nil
	}
	h, err := m.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...))
	m.err = errors.Join(m.err, err)
	return &Histogram{h: h, sets: sets[metric.RecordOption]{labels: labels, option: func(s attribute.Set) metric.RecordOption {
		return metric.WithAttributeSet(s)
	}}}
}

// Counter counts events by the values of its labels. A nil Counter is valid and counts no
// events.
type Counter struct {
	c    metric.Int64Counter
	sets sets[metric.AddOption]
}

// Add adds n for the values of the labels, in their order. A label with an empty value is
// left out.
func (c *Counter) Add(ctx context.Context, n int64, values Values) {
	if c != nil {
		c.c.Add(ctx, n, c.sets.of(values)...)
	}
}

// Histogram records durations by the values of its labels. A nil Histogram is valid and
// records no durations.
type Histogram struct {
	h    metric.Float64Histogram
	sets sets[metric.RecordOption]
}

// Record records a duration for the values of the labels, in their order.
func (h *Histogram) Record(ctx context.Context, d time.Duration, values Values) {
	if h != nil {
		h.h.Record(ctx, d.Seconds(), h.sets.of(values)...)
	}
}

// Values are the values of up to three labels.
type Values [3]string

// sets caches the options of each combination of values, because a new attribute set is
// more expensive than a measurement.
type sets[O any] struct {
	labels []attribute.Key
	option func(attribute.Set) O
	known  sync.Map // Values -> []O
}

func (s *sets[O]) of(values Values) []O {
	if known, ok := s.known.Load(values); ok {
		return known.([]O)
	}
	var attrs []attribute.KeyValue
	for i, label := range s.labels {
		if values[i] != "" {
			attrs = append(attrs, label.String(values[i]))
		}
	}
	options := []O{s.option(attribute.NewSet(attrs...))}
	s.known.Store(values, options)
	return options
}

// Outcome returns the class of an error for a label. It is empty if there is no error.
func Outcome(err error) string {
	if err == nil {
		return ""
	}
	return ErrorType(err).Value.AsString()
}
