package hostcheck

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// CPUOptions tune [CPU]. The zero value and nil work.
type CPUOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// WarnPercent and FailPercent limit the average of the last minute, as a
	// share of the quota or of all cores. Default: 85 and 95.
	WarnPercent, FailPercent float64
	// WarnThrottled limits the share of periods, in percent, in which the
	// quota was used up. Default: 25.
	WarnThrottled float64
	// WarnLoad and FailLoad limit the load average of 5 minutes per core. They
	// do not count under a quota, where the load is that of other people.
	// Default: 1.5 and 3.
	WarnLoad, FailLoad float64
	// WarnPressure limits the share of the last minute, in percent, in which
	// some task waited for a processor (PSI). Default: 50.
	WarnPressure float64
	// Probe measures. Default: Host().
	Probe Probe
}

const (
	cpuWindow = time.Minute
	cpuMin    = 10 * time.Second // a shorter average is shown and not judged
	cpuFirst  = 500 * time.Millisecond
)

// CPU returns a check of the processors: the average of the last minute
// against the quota of the container, of its parents, or all cores, throttling,
// load and pressure. The very first run measures for half a second, which is
// shown and not judged.
func CPU(name string, opts *CPUOptions) health.Check {
	var o CPUOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Timeout, 2*time.Second)
	setDefault(&o.WarnPercent, 85)
	setDefault(&o.FailPercent, 95)
	setDefault(&o.WarnThrottled, 25)
	setDefault(&o.WarnLoad, 1.5)
	setDefault(&o.FailLoad, 3)
	setDefault(&o.WarnPressure, 50)
	if o.Probe == nil {
		o.Probe = Host()
	}
	return health.Check{
		Name: name, Type: "system", Timeout: o.Timeout,
		Checker: &cpuCheck{opts: o},
	}
}

type cpuCheck struct {
	opts CPUOptions

	mu      sync.Mutex
	samples []CPUUsage // of the last window, oldest first
}

func (c *cpuCheck) Validate() error {
	return validPercents(c.opts.WarnPercent, c.opts.FailPercent)
}

func (c *cpuCheck) Check(ctx context.Context) health.Result {
	u, err := c.opts.Probe.CPU(ctx)
	if err != nil {
		return unmeasured(err)
	}
	if first := c.add(u); first {
		timer := time.NewTimer(cpuFirst)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return health.Failed("cannot be measured", ctx.Err())
		}
		if u, err = c.opts.Probe.CPU(ctx); err != nil {
			return unmeasured(err)
		}
		c.add(u)
	}
	c.mu.Lock()
	from := c.samples[0]
	c.mu.Unlock()
	return c.judge(from, u)
}

// add keeps a sample, and reports whether it is the only one. Readings that go
// backwards (another group, a counter begun anew) start over.
func (c *cpuCheck) add(u CPUUsage) (only bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.samples); n > 0 {
		last := c.samples[n-1]
		if u.Busy < last.Busy || !u.At.After(last.At) || u.Limited != last.Limited {
			c.samples = c.samples[:0]
		}
	}
	c.samples = append(c.samples, u)
	// One sample from before the window stays, so that the window is covered.
	for len(c.samples) > 2 && u.At.Sub(c.samples[1].At) >= cpuWindow {
		c.samples = append(c.samples[:0], c.samples[1:]...)
	}
	return len(c.samples) == 1
}

func (c *cpuCheck) judge(from, to CPUUsage) health.Result {
	span := to.At.Sub(from.At)
	if span <= 0 || to.Cores <= 0 {
		return health.Failed("cannot be measured: the clock or the number of cores makes no sense", nil)
	}
	used := 100 * float64(to.Busy-from.Busy) / float64(span) / to.Cores
	of := "cores"
	if to.Limited {
		of = "cores of the container's quota"
	}
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("%.1f %% of %.3g %s", used, to.Cores, of),
	}
	judged := health.Limits{Warn: c.opts.WarnPercent, Fail: c.opts.FailPercent, Clear: clearBy}
	if span < cpuMin {
		judged = health.Limits{}
		res.Summary += ", measured over a moment only"
	}
	res.Observed = append(res.Observed, health.Measurement{Name: "utilization", Value: used, Unit: "percent", Limits: judged})

	if periods := to.Periods - from.Periods; to.Limited && periods > 0 && to.Periods >= from.Periods && to.Throttled >= from.Throttled {
		share := 100 * float64(to.Throttled-from.Throttled) / float64(periods)
		res.Observed = append(res.Observed, health.Measurement{
			Name: "throttled", Value: share, Unit: "percent",
			Limits: health.Limits{Warn: c.opts.WarnThrottled, Clear: clearBy},
		})
		if share >= c.opts.WarnThrottled {
			res.Summary += fmt.Sprintf(", throttled in %.0f %% of the periods", share)
		}
	}
	if to.Load5 >= 0 && !to.Limited {
		load := to.Load5 / to.Cores
		res.Observed = append(res.Observed, health.Measurement{
			Name: "load5PerCore", Value: load, Unit: "tasks",
			Limits: health.Limits{Warn: c.opts.WarnLoad, Fail: c.opts.FailLoad, Clear: 0.1},
		})
		if load >= c.opts.WarnLoad {
			res.Summary += fmt.Sprintf(", load %.1f per core", load)
		}
	}
	if to.Pressure >= 0 {
		res.Observed = append(res.Observed, health.Measurement{
			Name: "pressure", Value: to.Pressure, Unit: "percent",
			Limits: health.Limits{Warn: c.opts.WarnPressure, Clear: clearBy},
		})
		if to.Pressure >= c.opts.WarnPressure {
			res.Summary += fmt.Sprintf(", tasks wait for a processor %.0f %% of the time", to.Pressure)
		}
	}
	return res
}
