package prommetrics_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/health"
)

func TestHealth(t *testing.T) {
	reg, err := health.New([]health.Check{
		health.Func("fine", time.Second, func(context.Context) error { return nil }),
		health.Func("down", time.Second, func(context.Context) error { return errors.New("x") }),
		health.Func("later", time.Second, func(context.Context) error { return nil }),
	}, &health.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := reg.RunOnce(t.Context(), "fine", "down"); err != nil {
			t.Fatal(err)
		}
	}
	collector := prommetrics.Health(reg)
	want := `
# HELP health_check_status Last result: 0 pass, 1 warn, 2 fail, -1 not run yet.
# TYPE health_check_status gauge
health_check_status{check="down"} 2
health_check_status{check="fine"} 0
health_check_status{check="later"} -1
# HELP health_check_results_total Results by kind.
# TYPE health_check_results_total counter
health_check_results_total{check="down",result="fail"} 3
health_check_results_total{check="down",result="pass"} 0
health_check_results_total{check="down",result="warn"} 0
health_check_results_total{check="fine",result="fail"} 0
health_check_results_total{check="fine",result="pass"} 3
health_check_results_total{check="fine",result="warn"} 0
health_check_results_total{check="later",result="fail"} 0
health_check_results_total{check="later",result="pass"} 0
health_check_results_total{check="later",result="warn"} 0
# HELP health_ready Whether this instance should get traffic.
# TYPE health_ready gauge
health_ready 0
# HELP health_status State of the whole: 0 pass, 1 warn, 2 fail.
# TYPE health_status gauge
health_status 2
# HELP health_state_changes_total Changes that listeners received.
# TYPE health_state_changes_total counter
health_state_changes_total 4
`
	err = testutil.CollectAndCompare(collector, strings.NewReader(want),
		"health_check_status", "health_check_results_total", "health_ready", "health_status", "health_state_changes_total")
	if err != nil {
		t.Fatal(err)
	}
	durations := 0
	for _, family := range gather(t, collector) {
		if family.GetName() != "health_check_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			h := m.GetHistogram()
			last := h.GetBucket()[len(h.GetBucket())-1]
			if len(h.GetBucket()) != len(health.DurationBounds) || last.GetCumulativeCount() != h.GetSampleCount() {
				t.Errorf("got %v", h) // every run took less than the largest bound
			}
			durations += int(h.GetSampleCount())
		}
	}
	if durations != 6 {
		t.Errorf("%d durations", durations)
	}
	if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	pedantic := prometheus.NewPedanticRegistry()
	pedantic.MustRegister(collector)
	if _, err := pedantic.Gather(); err != nil {
		t.Fatal(err)
	}
}

// What checks measure can be graphed, with its thresholds.
func TestHealthValues(t *testing.T) {
	reg, err := health.New([]health.Check{{
		Name: "disk", Timeout: time.Second,
		Checker: health.CheckerFunc(func(context.Context) health.Result {
			free := health.Measurement{Name: "free", Component: "/var", Value: 7.5, Unit: "bytes"}
			return health.Result{Status: health.Pass, Observed: []health.Measurement{
				{Name: "utilization", Component: "/var", Value: 83.2, Unit: "percent", Limits: health.Limits{Warn: 80, Fail: 90}},
				free, free, // a duplicate breaks no scrape
			}}
		}),
	}}, &health.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = testutil.CollectAndCompare(prommetrics.Health(reg), strings.NewReader(`
# HELP health_check_value Last measured value.
# TYPE health_check_value gauge
health_check_value{check="disk",component="/var",name="free",unit="bytes"} 7.5
health_check_value{check="disk",component="/var",name="utilization",unit="percent"} 83.2
# HELP health_check_value_limit Threshold of a measured value.
# TYPE health_check_value_limit gauge
health_check_value_limit{check="disk",component="/var",level="fail",name="utilization"} 90
health_check_value_limit{check="disk",component="/var",level="warn",name="utilization"} 80
`), "health_check_value", "health_check_value_limit")
	if err != nil {
		t.Fatal(err)
	}
}

func gather(t *testing.T, c prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestNotifications(t *testing.T) {
	want := `
# HELP health_notifications_total Deliveries of messages by result.
# TYPE health_notifications_total counter
health_notifications_total{channel="mail",result="failed"} 2
health_notifications_total{channel="mail",result="sent"} 1
health_notifications_total{channel="slack",result="failed"} 0
health_notifications_total{channel="slack",result="sent"} 7
`
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(
		prommetrics.Notifications("mail", func() (uint64, uint64) { return 1, 2 }),
		prommetrics.Notifications("slack", func() (uint64, uint64) { return 7, 0 }),
	)
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Fatal(err)
	}
}
