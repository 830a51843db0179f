package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// GaugeOptions tune [Gauge] and [Goroutines]. Nil works for Goroutines.
type GaugeOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// Limits grade the number. Gauge needs at least one.
	Limits Limits
	// Measure names the number as in Measurement.Name. Default: "depth".
	Measure string
	// Unit is the unit of the number. Default: "items".
	Unit string
}

// Gauge returns a check of a number, such as the depth of a queue, the lag of a
// replica or the age of the oldest job. It is not critical.
func Gauge(name string, read func(ctx context.Context) (float64, error), opts *GaugeOptions) Check {
	var o GaugeOptions
	if opts != nil {
		o = *opts
	}
	o.Measure = cmp.Or(o.Measure, "depth")
	o.Unit = cmp.Or(o.Unit, "items")
	return Check{
		Name: name, Type: "component", Timeout: cmp.Or(o.Timeout, 2*time.Second),
		Checker: &gaugeCheck{read: read, opts: o},
	}
}

// Goroutines returns a check of the number of goroutines. It warns about a leak days
// before the leak ends the process. Default limits: warn 10,000, fail 100,000. It is
// not critical.
func Goroutines(name string, opts *GaugeOptions) Check {
	var o GaugeOptions
	if opts != nil {
		o = *opts
	}
	if o.Limits.None() {
		o.Limits = Limits{Warn: 10_000, Fail: 100_000, Clear: 500}
	}
	o.Measure = cmp.Or(o.Measure, "count")
	o.Unit = cmp.Or(o.Unit, "goroutines")
	c := Gauge(name, func(context.Context) (float64, error) { return float64(runtime.NumGoroutine()), nil }, &o)
	c.Type = "system"
	return c
}

type gaugeCheck struct {
	read func(ctx context.Context) (float64, error)
	opts GaugeOptions
}

func (g *gaugeCheck) Validate() error {
	switch l := g.opts.Limits; {
	case g.read == nil:
		return errors.New("the function that reads the number is nil")
	case l.None():
		return errors.New("Limits has no threshold, so it could never be bad")
	case !(l.Clear >= 0):
		return errors.New("Limits.Clear must not be negative")
	case l.Warn-l.Warn != 0 || l.Fail-l.Fail != 0: // NaN or an infinity
		return fmt.Errorf("Limits: no number reaches %v and %v", l.Warn, l.Fail)
	case l.Warn != 0 && l.Fail != 0 && (l.Below && l.Fail > l.Warn || !l.Below && l.Fail < l.Warn):
		return fmt.Errorf("Limits: it would fail at %v before it warns at %v", l.Fail, l.Warn)
	}
	return nil
}

func (g *gaugeCheck) Check(ctx context.Context) Result {
	value, err := g.read(ctx)
	if err != nil {
		return Failed("cannot be read", err)
	}
	return Result{
		Summary:  plainNumber(value) + " " + g.opts.Unit,
		Observed: []Measurement{{Name: g.opts.Measure, Value: value, Unit: g.opts.Unit, Limits: g.opts.Limits}},
	}
}

// plainNumber formats whole numbers without decimals: "12000", "0.35".
func plainNumber(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d", int64(v))
	}
	return fmt.Sprintf("%.3g", v)
}
