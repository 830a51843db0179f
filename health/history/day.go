package history

import (
	"time"

	"github.com/mainstay-go/mainstay/health"
)

const (
	fine   = 5 * time.Minute
	coarse = time.Hour
	// maxChecks limits a day. Further checks are not counted.
	maxChecks = 2000
)

// bounds are the upper bounds of the latency counts, in milliseconds.
var bounds = [...]float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}

// day holds the results of one instance on one day (UTC).
type day struct {
	Date     string             `json:"date"`
	Instance string             `json:"instance"`
	Checks   map[string]*series `json:"checks"`
}

// series are the results of one check in intervals of Step.
type series struct {
	Step  int           `json:"step"` // seconds
	Cells map[int]*cell `json:"cells"`
	last  health.Status // the previous result, for the time spent failing
	at    time.Time
}

// cell is one interval.
type cell struct {
	Passed int `json:"p,omitempty"`
	Warned int `json:"w,omitempty"`
	Failed int `json:"f,omitempty"`
	// Down is the time spent failing, and Seen the time that results cover, in
	// milliseconds.
	Down int64 `json:"d,omitempty"`
	Seen int64 `json:"s,omitempty"`
	// Latency counts results by duration: of at most bounds[i], and longer ones last.
	Latency [len(bounds) + 1]int `json:"l"`
}

func (d *day) valid() bool {
	if _, err := time.Parse(time.DateOnly, d.Date); err != nil || d.Instance == "" || len(d.Checks) > maxChecks {
		return false
	}
	for _, s := range d.Checks {
		if s == nil || s.Step != int(fine/time.Second) && s.Step != int(coarse/time.Second) {
			return false
		}
		for i, c := range s.Cells {
			if c == nil || i < 0 || i >= 86400/s.Step {
				return false
			}
		}
	}
	return true
}

func (d *day) record(e health.RunEvent) {
	s := d.Checks[e.Check]
	if s == nil {
		if len(d.Checks) >= maxChecks {
			return
		}
		s = &series{Step: int(fine / time.Second), Cells: map[int]*cell{}}
		d.Checks[e.Check] = s
	}
	t := e.Time.UTC()
	i := (t.Hour()*3600 + t.Minute()*60 + t.Second()) / s.Step
	c := s.Cells[i]
	if c == nil {
		c = &cell{}
		s.Cells[i] = c
	}
	switch e.Status {
	case health.Pass:
		c.Passed++
	case health.Warn:
		c.Warned++
	default:
		c.Failed++
	}
	// A result covers the time since the previous one, up to a limit.
	if gap := e.Time.Sub(s.at); !s.at.IsZero() && gap > 0 && gap < 2*time.Hour {
		c.Seen += gap.Milliseconds()
		if s.last == health.Fail {
			c.Down += gap.Milliseconds()
		}
	}
	s.last, s.at = e.Status, e.Time
	c.Latency[bucketOf(float64(e.Took)/float64(time.Millisecond))]++
}

func bucketOf(ms float64) int {
	for i, b := range bounds {
		if ms <= b {
			return i
		}
	}
	return len(bounds)
}

func (c *cell) add(o *cell) {
	c.Passed += o.Passed
	c.Warned += o.Warned
	c.Failed += o.Failed
	c.Down += o.Down
	c.Seen += o.Seen
	for i := range c.Latency {
		c.Latency[i] += o.Latency[i]
	}
}

// merge adds the results of an earlier process.
func (d *day) merge(o *day) {
	for name, other := range o.Checks {
		s := d.Checks[name]
		if s == nil {
			d.Checks[name] = other
			continue
		}
		for i, c := range other.Cells {
			j := i * other.Step / s.Step
			if s.Cells[j] == nil {
				s.Cells[j] = &cell{}
			}
			s.Cells[j].add(c)
		}
	}
}

// compact combines the intervals of the day into hours, and reports whether it did.
func (d *day) compact() bool {
	changed := false
	for _, s := range d.Checks {
		if s.Step == int(coarse/time.Second) {
			continue
		}
		changed = true
		cells := map[int]*cell{}
		for i, c := range s.Cells {
			j := i * s.Step / int(coarse/time.Second)
			if cells[j] == nil {
				cells[j] = &cell{}
			}
			cells[j].add(c)
		}
		s.Step, s.Cells = int(coarse/time.Second), cells
	}
	return changed
}

// now is the present state of one instance.
type now struct {
	Instance string           `json:"instance"`
	Time     time.Time        `json:"time"`
	Status   health.Status    `json:"status"`
	Phase    health.Phase     `json:"phase"`
	Checks   map[string]state `json:"checks"`
	// heard is when this process noticed the state, by its own clock. The clock of the
	// instance may be wrong.
	heard time.Time
}

type state struct {
	Status   health.Status `json:"status"`
	Since    time.Time     `json:"since,omitzero"`
	Output   string        `json:"output,omitempty"`
	Critical bool          `json:"critical,omitempty"`
}

func newNow(instance string, s *health.Snapshot) now {
	n := now{Instance: instance, Time: s.Time, Status: s.Status, Phase: s.Phase, Checks: map[string]state{}}
	for _, c := range s.Checks {
		n.Checks[c.Name] = state{Status: c.Status, Since: c.Since, Output: c.Output, Critical: c.Critical}
	}
	return n
}

// total sums the cells of a check between two times, over all instances.
func (h *History) total(check string, from, to time.Time) (sum cell) {
	h.each(check, from, to, func(_ time.Time, c *cell) { sum.add(c) })
	return sum
}

func (h *History) each(check string, from, to time.Time, f func(at time.Time, c *cell)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, d := range h.days {
		s := d.Checks[check]
		start, err := time.Parse(time.DateOnly, k.date)
		if s == nil || err != nil || !start.Before(to) || !start.Add(24*time.Hour).After(from) {
			continue
		}
		for i, c := range s.Cells {
			if at := start.Add(time.Duration(i*s.Step) * time.Second); !at.Add(time.Duration(s.Step)*time.Second).Before(from) && at.Before(to) {
				f(at, c)
			}
		}
	}
}

// uptime is the share of the covered time in which a check did not fail, in percent. ok
// is false without results.
func (c *cell) uptime() (percent float64, ok bool) {
	switch {
	case c.Seen > 0:
		return 100 * (1 - float64(c.Down)/float64(c.Seen)), true
	case c.Passed+c.Warned+c.Failed > 0:
		return 100 * float64(c.Passed+c.Warned) / float64(c.Passed+c.Warned+c.Failed), true
	}
	return 0, false
}

// latency estimates a quantile of the durations, in milliseconds.
func (c *cell) latency(quantile float64) (ms float64, ok bool) {
	n := 0
	for _, count := range c.Latency {
		n += count
	}
	if n == 0 {
		return 0, false
	}
	rank := quantile * float64(n)
	for i, count := range c.Latency {
		if rank > float64(count) || count == 0 {
			rank -= float64(count)
			continue
		}
		low, high := 0.0, bounds[len(bounds)-1]*2
		if i > 0 {
			low = bounds[i-1]
		}
		if i < len(bounds) {
			high = bounds[i]
		}
		return low + (high-low)*rank/float64(count), true
	}
	return bounds[len(bounds)-1] * 2, true
}
