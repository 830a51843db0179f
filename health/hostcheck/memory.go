package hostcheck

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// MemoryOptions tune [Memory]. The zero value and nil work.
type MemoryOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// Window is how long the memory must be in use. Default: 10 min.
	Window time.Duration
	// WarnPercent and FailPercent limit the memory that cannot be reclaimed, by its
	// smallest value in the window. Default: 85 and 95.
	WarnPercent, FailPercent float64
	// WarnPressure limits the share of time, in percent, in which a task of the own
	// control group waited for memory (PSI), through the whole window. It counts only
	// while 70 % of the memory cannot be reclaimed, because reading large files through
	// a full page cache is harmless. Default: 20.
	WarnPressure float64
	// KillHold is how long a process that the kernel killed because of memory shortage
	// is shown. Default: 30 min.
	KillHold time.Duration
	// Probe does the measurements. Default: Host().
	Probe Probe
}

const pressureFrom = 70 // percent of the memory in use from which pressure counts

// Memory returns a check of the memory: of the container if it or a parent group has a
// limit, otherwise of the host. Page cache does not count as used. The check warns at
// once when the kernel has killed a process of the group.
func Memory(name string, opts *MemoryOptions) health.Check {
	var o MemoryOptions
	if opts != nil {
		o = *opts
	}
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.Window = cmp.Or(o.Window, 10*time.Minute)
	o.WarnPercent = cmp.Or(o.WarnPercent, 85)
	o.FailPercent = cmp.Or(o.FailPercent, 95)
	o.WarnPressure = cmp.Or(o.WarnPressure, 20)
	o.KillHold = cmp.Or(o.KillHold, 30*time.Minute)
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
	remembered[memoryState]
}

// memoryState is the state between two runs.
type memoryState struct {
	Used     sustained `json:"used"`
	Pressure sustained `json:"pressure"`
	Seen     bool      `json:"seen"`
	Kills    uint64    `json:"kills"`
	KilledAt time.Time `json:"killedAt,omitzero"`
	Killed   uint64    `json:"killed"`
}

func (m *memoryCheck) Validate() error {
	if m.opts.Window < 0 || m.opts.KillHold < 0 {
		return fmt.Errorf("the window %v and the kill hold %v must not be negative", m.opts.Window, m.opts.KillHold)
	}
	if !(m.opts.WarnPressure > 0) {
		return fmt.Errorf("WarnPressure %v must be positive", m.opts.WarnPressure)
	}
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
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.judge(u, time.Now())
}

func (m *memoryCheck) judge(u MemoryUsage, now time.Time) health.Result {
	used := 100 * float64(u.Used) / float64(u.Total)
	of := "the machine"
	if u.Limited {
		of = "the container's limit"
	}
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("%.1f %% of %s used (%s of %s)", used, of, bytesText(u.Used), bytesText(u.Total)),
	}
	least, covered := m.state.Used.add(now, used, m.opts.Window)
	value := health.Measurement{Name: "utilization", Value: least, Unit: "percent"}
	if covered {
		value.Limits = health.Limits{Warn: m.opts.WarnPercent, Fail: m.opts.FailPercent, Clear: clearBy}
	}
	res.Observed = append(res.Observed, value)
	if u.Pressure >= 0 {
		pressure, covered := m.state.Pressure.add(now, u.Pressure, m.opts.Window)
		value := health.Measurement{Name: "pressure", Value: pressure, Unit: "percent"}
		if covered && least >= pressureFrom {
			value.Limits = health.Limits{Warn: m.opts.WarnPressure, Clear: clearBy}
			if pressure >= m.opts.WarnPressure {
				res.Summary += fmt.Sprintf(", tasks wait for memory %.0f %% of the time", u.Pressure)
			}
		}
		res.Observed = append(res.Observed, value)
	}
	m.countKills(u.Kills, now)
	if m.state.Killed > 0 {
		res.Status = health.Warn
		res.Summary += fmt.Sprintf(", the kernel killed %d processes for want of memory, the last one %s ago", m.state.Killed, durationText(now.Sub(m.state.KilledAt)))
	}
	return res
}

// countKills counts the kills that are recent enough to be shown.
func (m *memoryCheck) countKills(kills uint64, now time.Time) {
	s := &m.state
	if s.Seen && kills > s.Kills { // a smaller number belongs to another container
		s.Killed += kills - s.Kills
		s.KilledAt = now
	}
	s.Seen, s.Kills = true, kills
	if s.Killed > 0 && (now.Sub(s.KilledAt) >= m.opts.KillHold || now.Before(s.KilledAt)) {
		s.Killed = 0
	}
}
