// Package otelbackup reports backups to OpenTelemetry: a span and a duration for each stage of a run, and the copies
// that each target lacks.
package otelbackup

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/contrib/otel/internal/signal"
)

// New returns hooks for backup.Options.Trace of one job. A nil tp records no spans and a nil mp no metrics. Spans are
// named "backup.stage" and carry the id of the backup. Metrics are mainstay.backup.stage.duration by stage and
// error.type, and mainstay.backup.target.runs by target and outcome.
func New(job string, tp trace.TracerProvider, mp metric.MeterProvider) (*backup.Trace, error) {
	const name, stage = attribute.Key("mainstay.backup.job"), attribute.Key("mainstay.backup.stage")
	tracer, meter := signal.Tracer(tp, "otelbackup"), signal.NewMeter(mp, "otelbackup")
	stages := meter.Histogram("mainstay.backup.stage.duration", "Time of a stage of a backup.", signal.Jobs, name, stage, "error.type")
	targets := meter.Counter("mainstay.backup.target.runs", "{run}", "Runs by target and outcome: ok or failed.", name, "mainstay.backup.target", "mainstay.backup.outcome")
	return &backup.Trace{
		Stage: func(ctx context.Context, e backup.StageEvent) {
			stages.Record(ctx, e.Took, signal.Values{job, e.Stage, signal.Outcome(e.Err)})
			signal.Span(ctx, tracer, "backup.stage", e.Took, e.Err, name.String(job), stage.String(e.Stage), attribute.String("mainstay.backup.id", e.ID))
		},
		Target: func(ctx context.Context, o backup.TargetOutcome) {
			outcome := "ok"
			if !o.OK {
				outcome = "failed"
			}
			targets.Add(ctx, 1, signal.Values{job, o.Name, outcome})
		},
	}, meter.Err()
}
