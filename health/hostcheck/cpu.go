package hostcheck

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// CPUOptions tune [CPU]. The zero value and nil work.
type CPUOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// Window is how long a high value must last. Builds, dumps and batch jobs that end
	// sooner cause no warning. Default: 20 min.
	Window time.Duration
	// WarnPercent and FailPercent limit the average of the window, as a share of
	// the quota or of all cores. Default: 90 and 97.
	WarnPercent, FailPercent float64
	// WarnThrottled limits the share of periods, in percent, in which the quota was
	// exhausted. It counts only while at least half of the quota is in use, because
	// short bursts of many threads are throttled without harm. Default: 65.
	WarnThrottled float64
	// WarnLoad and FailLoad limit the load average of 5 minutes per core, through the
	// whole window. They do not count under a quota, because the load then includes
	// other services. Default: 2 and 4.
	WarnLoad, FailLoad float64
	// WarnPressure limits the share of time, in percent, in which a task of the own
	// control group waited for a processor (PSI), through the whole window. Default:
	// 60.
	WarnPressure float64
	// Probe does the measurements. Default: Host().
	Probe Probe
}

const (
	cpuMin   = 10 * time.Second // a shorter average is not meaningful
	cpuFirst = 500 * time.Millisecond
)

// CPU returns a check of the processors. It compares the average of the last 20 minutes
// with the quota of the container, of its parents, or all cores. It also checks
// throttling, load and pressure. A command that runs at intervals measures the time
// since its last run, if its registry is restored (health.Registry.Recall). The first
// run measures for half a second. That value is shown but not graded.
func CPU(name string, opts *CPUOptions) health.Check {
	var o CPUOptions
	if opts != nil {
		o = *opts
	}
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.Window = cmp.Or(o.Window, 20*time.Minute)
	o.WarnPercent = cmp.Or(o.WarnPercent, 90)
	o.FailPercent = cmp.Or(o.FailPercent, 97)
	o.WarnThrottled = cmp.Or(o.WarnThrottled, 65)
	o.WarnLoad = cmp.Or(o.WarnLoad, 2)
	o.FailLoad = cmp.Or(o.FailLoad, 4)
	o.WarnPressure = cmp.Or(o.WarnPressure, 60)
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
	remembered[cpuState]
}

// cpuState is the state between two runs.
type cpuState struct {
	Samples  []CPUUsage `json:"samples,omitempty"` // of the window, oldest first
	Load     sustained  `json:"load"`
	Pressure sustained  `json:"pressure"`
}

func (c *cpuCheck) Validate() error {
	if c.opts.Window < 0 {
		return fmt.Errorf("the window %v must not be negative", c.opts.Window)
	}
	if o := c.opts; !(o.WarnThrottled > 0 && o.WarnPressure > 0 && o.WarnLoad > 0 && o.WarnLoad <= o.FailLoad) {
		return fmt.Errorf("WarnThrottled %v, WarnPressure %v, WarnLoad %v and FailLoad %v must be positive, and FailLoad not smaller than WarnLoad", o.WarnThrottled, o.WarnPressure, o.WarnLoad, o.FailLoad)
	}
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
	defer c.mu.Unlock()
	return c.judge(u)
}

// add keeps a sample, and reports whether it is the only one. If readings go backwards
// (another group, a restarted machine), it starts again.
func (c *cpuCheck) add(u CPUUsage) (only bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.Samples
	if n := len(s); n > 0 {
		last := s[n-1]
		if u.Busy < last.Busy || !u.At.After(last.At) || u.Limited != last.Limited {
			s = nil
			c.state = cpuState{}
		}
	}
	if n := len(s); n > 2 && u.At.Sub(s[n-2].At) < sampleStep {
		s[n-1] = u
	} else {
		s = append(s, u)
	}
	// One sample from before the window is kept, so that the window is covered.
	for len(s) > 2 && u.At.Sub(s[1].At) >= c.opts.Window {
		s = s[1:]
	}
	c.state.Samples = s
	return len(s) == 1
}

func (c *cpuCheck) judge(to CPUUsage) health.Result {
	samples := c.state.Samples
	from, before := samples[0], samples[max(0, len(samples)-2)]
	span := to.At.Sub(from.At)
	if span <= 0 || to.Cores <= 0 {
		return health.Failed("cannot be measured: the clock or the number of cores makes no sense", nil)
	}
	share := func(a CPUUsage) float64 {
		return 100 * float64(to.Busy-a.Busy) / float64(to.At.Sub(a.At)) / to.Cores
	}
	average := share(from)
	covered := span >= c.opts.Window*9/10
	of := "cores"
	if to.Limited {
		of = "cores of the container's quota"
	}
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("%.1f %% of %.3g %s", share(before), to.Cores, of),
	}
	judged := health.Measurement{Name: "utilization", Value: average, Unit: "percent"}
	switch {
	case covered:
		judged.Limits = health.Limits{Warn: c.opts.WarnPercent, Fail: c.opts.FailPercent, Clear: clearBy}
		res.Summary += fmt.Sprintf(", %.1f %% over %s", average, durationText(span))
	case span < cpuMin:
		res.Summary += ", measured over a moment only"
	}
	res.Observed = append(res.Observed, judged)
	c.judgeQuota(&res, from, to, average, covered)
	c.judgeWaiting(&res, to)
	return res
}

// judgeQuota adds how often the quota was exhausted.
func (c *cpuCheck) judgeQuota(res *health.Result, from, to CPUUsage, average float64, covered bool) {
	if !to.Limited || to.Periods <= from.Periods || to.Throttled < from.Throttled {
		return
	}
	share := 100 * float64(to.Throttled-from.Throttled) / float64(to.Periods-from.Periods)
	m := health.Measurement{Name: "throttled", Value: share, Unit: "percent"}
	if covered && average >= 50 {
		m.Limits = health.Limits{Warn: c.opts.WarnThrottled, Clear: clearBy}
		if share >= c.opts.WarnThrottled {
			res.Summary += fmt.Sprintf(", throttled in %.0f %% of the periods", share)
		}
	}
	res.Observed = append(res.Observed, m)
}

// judgeWaiting adds load and pressure, each with its smallest value in the window.
func (c *cpuCheck) judgeWaiting(res *health.Result, to CPUUsage) {
	if to.Load5 >= 0 && !to.Limited {
		load, covered := c.state.Load.add(to.At, to.Load5/to.Cores, c.opts.Window)
		m := health.Measurement{Name: "load5PerCore", Value: load, Unit: "tasks"}
		if covered {
			m.Limits = health.Limits{Warn: c.opts.WarnLoad, Fail: c.opts.FailLoad, Clear: 0.1}
			if load >= c.opts.WarnLoad {
				res.Summary += fmt.Sprintf(", load %.1f per core", to.Load5/to.Cores)
			}
		}
		res.Observed = append(res.Observed, m)
	}
	if to.Pressure >= 0 {
		pressure, covered := c.state.Pressure.add(to.At, to.Pressure, c.opts.Window)
		m := health.Measurement{Name: "pressure", Value: pressure, Unit: "percent"}
		if covered {
			m.Limits = health.Limits{Warn: c.opts.WarnPressure, Clear: clearBy}
			if pressure >= c.opts.WarnPressure {
				res.Summary += fmt.Sprintf(", tasks wait for a processor %.0f %% of the time", to.Pressure)
			}
		}
		res.Observed = append(res.Observed, m)
	}
}
