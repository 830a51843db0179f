package hostcheck

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// MemoryOptions tune [Memory]. The zero value and nil work.
type MemoryOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// WarnPercent and FailPercent limit the working set. Default: 85 and 95.
	WarnPercent, FailPercent float64
	// WarnPressure limits the share of the last minute, in percent, in which
	// some task waited for memory (PSI). Default: 10.
	WarnPressure float64
	// Probe measures. Default: Host().
	Probe Probe
}

// Memory returns a check of the memory: of the container if it has a limit,
// also one of a parent group, else of the host. It warns too when the limit was
// hit since the run before, and when tasks wait for memory.
func Memory(name string, opts *MemoryOptions) health.Check {
	var o MemoryOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Timeout, 2*time.Second)
	setDefault(&o.WarnPercent, 85)
	setDefault(&o.FailPercent, 95)
	setDefault(&o.WarnPressure, 10)
	if o.Probe == nil {
		o.Probe = Host()
	}
	return health.Check{
		Name: name, Type: "system", Timeout: o.Timeout,
		Checker: &memoryCheck{opts: o},
	}
}

type memoryCheck struct {
	opts MemoryOptions

	mu   sync.Mutex
	ran  bool
	hits uint64
}

func (m *memoryCheck) Validate() error {
	return validPercents(m.opts.WarnPercent, m.opts.FailPercent)
}

func (m *memoryCheck) Check(ctx context.Context) health.Result {
	u, err := m.opts.Probe.Memory(ctx)
	if err != nil {
		return unmeasured(err)
	}
	if u.Total == 0 {
		return health.Failed("reports a size of 0", nil)
	}
	used := 100 * float64(u.Used) / float64(u.Total)
	of := "the machine"
	if u.Limited {
		of = "the container's limit"
	}
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("%.1f %% of %s used (%s of %s)", used, of, bytesText(u.Used), bytesText(u.Total)),
		Observed: []health.Measurement{{
			Name: "utilization", Value: used, Unit: "percent",
			Limits: health.Limits{Warn: m.opts.WarnPercent, Fail: m.opts.FailPercent, Clear: clearBy},
		}},
	}
	if u.Pressure >= 0 {
		res.Observed = append(res.Observed, health.Measurement{
			Name: "pressure", Value: u.Pressure, Unit: "percent",
			Limits: health.Limits{Warn: m.opts.WarnPressure, Clear: clearBy},
		})
		if u.Pressure >= m.opts.WarnPressure {
			res.Summary += fmt.Sprintf(", tasks wait for memory %.0f %% of the time", u.Pressure)
		}
	}
	if hits := m.newHits(u.LimitHits); hits > 0 {
		res.Status = health.Warn
		res.Summary += fmt.Sprintf(", the limit was hit %d times since the last look", hits)
	}
	return res
}

// newHits returns how often the limit was hit since the run before.
func (m *memoryCheck) newHits(now uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, ran := m.hits, m.ran
	m.hits, m.ran = now, true
	if !ran || now < before { // another container's counter
		return 0
	}
	return now - before
}
