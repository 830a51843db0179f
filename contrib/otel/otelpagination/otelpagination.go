// Package otelpagination reports pages to OpenTelemetry: a span and a duration for each page.
package otelpagination

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mainstay-go/mainstay/contrib/otel/internal/signal"
	"github.com/mainstay-go/mainstay/pagination"
)

// New returns hooks for the Trace of a paginator or a keyset. The name of the list is an attribute. A nil tp records no
// spans and a nil mp no metrics. Spans are named "pagination.page" and carry the size, the offset and the number of
// rows. The metric is mainstay.pagination.page.duration by list, style and error.type.
func New(list string, tp trace.TracerProvider, mp metric.MeterProvider) (*pagination.Trace, error) {
	const name, style = attribute.Key("mainstay.pagination.list"), attribute.Key("mainstay.pagination.style")
	tracer, meter := signal.Tracer(tp, "otelpagination"), signal.NewMeter(mp, "otelpagination")
	pages := meter.Histogram("mainstay.pagination.page.duration", "Time of a page, with its count.", signal.Durations, name, style, "error.type")
	return &pagination.Trace{Page: func(ctx context.Context, e pagination.PageEvent) {
		pages.Record(ctx, e.Took, signal.Values{list, e.Style, signal.Outcome(e.Err)})
		signal.Span(ctx, tracer, "pagination.page", e.Took, e.Err, name.String(list), style.String(e.Style),
			attribute.Int("mainstay.pagination.size", e.Size), attribute.Int64("mainstay.pagination.offset", e.Offset),
			attribute.Int("mainstay.pagination.rows", e.Rows))
	}}, meter.Err()
}
