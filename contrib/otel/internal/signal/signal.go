// Package signal records what the hooks of the library report: spans with the times of the event, and metrics whose
// attribute sets are built once.
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

// Durations are the buckets in seconds that the semantic conventions of OpenTelemetry advise for requests.
var Durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Jobs are buckets in seconds for work that takes minutes or hours.
var Jobs = []float64{0.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600}

// Tracer returns the tracer of a package, or nil for a nil provider.
func Tracer(tp trace.TracerProvider, scope string) trace.Tracer {
	if tp == nil {
		return nil
	}
	return tp.Tracer("github.com/mainstay-go/mainstay/contrib/otel/" + scope)
}

// Span records a span that has ended now and began took ago. The parent is the span of ctx. A nil tracer records nothing.
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

// ErrorType returns the attribute error.type: the class of an error, never its text, which may name hosts or keys.
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

// Meter makes the instruments of one package. Its first error is kept for Err. A meter of a nil provider makes
// instruments that record nothing.
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

// Err is the first error of an instrument.
func (m *Meter) Err() error { return m.err }

// Counter makes a counter. The unit is an annotation such as "{hit}".
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

// Histogram makes a histogram of durations in seconds.
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

// Counter counts events by the values of its labels. A nil Counter counts nothing.
type Counter struct {
	c    metric.Int64Counter
	sets sets[metric.AddOption]
}

// Add adds n under the values of the labels, in their order. An empty value leaves its label out.
func (c *Counter) Add(ctx context.Context, n int64, values Values) {
	if c != nil {
		c.c.Add(ctx, n, c.sets.of(values)...)
	}
}

// Histogram records durations by the values of its labels. A nil Histogram records nothing.
type Histogram struct {
	h    metric.Float64Histogram
	sets sets[metric.RecordOption]
}

// Record records a duration under the values of the labels, in their order.
func (h *Histogram) Record(ctx context.Context, d time.Duration, values Values) {
	if h != nil {
		h.h.Record(ctx, d.Seconds(), h.sets.of(values)...)
	}
}

// Values are the values of at most three labels.
type Values [3]string

// sets keeps the options of each combination of values, because a new attribute set costs more than a measurement.
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

// Outcome is the class of an error for a label, and empty without one.
func Outcome(err error) string {
	if err == nil {
		return ""
	}
	return ErrorType(err).Value.AsString()
}
