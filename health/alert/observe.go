package alert

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

const (
	// believeRun is the time without a heartbeat after which an instance is lost.
	believeRun = 3 * time.Minute
	// heartbeat is how often Run writes the heartbeat of its instance.
	heartbeat = time.Minute
	// The results of a command count for 2.5 times the pause between its last two
	// runs, within these bounds.
	believeOnceLeast = 150 * time.Minute
	believeOnceMost  = 26 * time.Hour

	flapWindow  = time.Hour
	flapChanges = 6
	flapCalm    = 30 * time.Minute
	// blockedGrace is how long a consequence may outlast its cause before it opens an
	// alert.
	blockedGrace = 5 * time.Minute
	// This number of crashes within crashWindow is a crash loop. A start is judged after
	// overlap, because a process that lives has written its heartbeat by then.
	crashes     = 3
	crashWindow = time.Hour
	overlap     = time.Minute
)

// instance is the stored state of one instance of the service. A server (Run) and
// a command (Once) on the same host observe the same instance. A check of the
// process itself, such as open files, can differ between the two, so each has
// its own observations, and the worse one counts.
type instance struct {
	Run  *observer `json:"run,omitempty"`
	Once *observer `json:"once,omitempty"`
	// Stopped is when Run ended as intended. Lost is when another instance found that
	// the heartbeats had stopped.
	Stopped time.Time `json:"stopped,omitzero"`
	Lost    time.Time `json:"lost,omitzero"`
	// Unclean are the last starts after a run that had not stopped.
	Unclean []uncleanStart `json:"unclean,omitempty"`
}

// uncleanStart is a start of a process while the process before it had recorded no stop. If
// that one lives or stops cleanly, the two overlapped, as in many deployments, and the entry
// is removed.
type uncleanStart struct {
	At   time.Time `json:"at"`
	Boot string    `json:"boot,omitempty"` // of the process before
}

// acquit removes the entries about a process that is alive or has stopped cleanly.
func (in *instance) acquit(boot string) {
	in.Unclean = slices.DeleteFunc(in.Unclean, func(u uncleanStart) bool { return u.Boot == boot })
}

// crashed returns the unclean starts whose old process has been silent since.
func (in *instance) crashed(now time.Time) []uncleanStart {
	return slices.DeleteFunc(slices.Clone(in.Unclean), func(u uncleanStart) bool { return now.Sub(u.At) < overlap })
}

// observer is one process that runs checks.
type observer struct {
	// Boot and Beat change with each heartbeat. Another instance then sees that this
	// one is alive without comparing clocks.
	Boot   string                  `json:"boot,omitempty"`
	Beat   uint64                  `json:"beat,omitempty"`
	Seen   time.Time               `json:"seen"`
	Pause  time.Duration           `json:"pause,omitempty"` // before the last run of a command
	Checks map[string]*observation `json:"checks,omitempty"`
}

// observation is the confirmed state of one check according to one observer.
type observation struct {
	Status   health.Status `json:"status"`
	Since    time.Time     `json:"since,omitzero"`  // the first bad result
	Failed   time.Time     `json:"failed,omitzero"` // the first failure, which may follow warnings
	Good     time.Time     `json:"good,omitzero"`   // the first good result after bad ones, or the first warning after failures
	Critical bool          `json:"critical,omitempty"`
	Shared   bool          `json:"shared,omitempty"`
	Flapping bool          `json:"flapping,omitempty"`
	// Changes are the changes of the confirmed state within the last hour. The registry
	// counts raw changes, and loses them when its process ends.
	Changes []time.Time `json:"changes,omitempty"`
	// Blocked names dependencies that are bad. BlockedAt is the last time with such
	// dependencies.
	Blocked   []string  `json:"blocked,omitempty"`
	BlockedAt time.Time `json:"blockedAt,omitzero"`
	// Causes are the last ones in Blocked, while BlockedAt is set.
	Causes  []string       `json:"causes,omitempty"`
	Output  string         `json:"output,omitempty"`
	Values  []notify.Value `json:"values,omitempty"`
	Runbook string         `json:"runbook,omitempty"`
}

func (in *instance) observers() []*observer {
	var all []*observer
	for _, o := range []*observer{in.Run, in.Once} {
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}

func (in *instance) seen() (t time.Time) {
	for _, o := range in.observers() {
		if o.Seen.After(t) {
			t = o.Seen
		}
	}
	return t
}

// live returns the observers whose results count now.
func (in *instance) live(now time.Time) []*observer {
	var all []*observer
	if in.Run != nil && in.Lost.IsZero() && in.Stopped.IsZero() {
		all = append(all, in.Run)
	}
	if in.Once != nil && now.Sub(in.Once.Seen) < in.Once.believed() {
		all = append(all, in.Once)
	}
	return all
}

func (o *observer) believed() time.Duration {
	if o.Pause == 0 {
		return believeOnceMost
	}
	return min(max(o.Pause*5/2, believeOnceLeast), believeOnceMost)
}

// key names the subject of a check on an instance.
func key(name, host string, shared bool) string {
	if shared {
		return name
	}
	return name + "@" + host
}

// observe records the results of this process. A snapshot may be narrowed. The checks
// that it leaves out keep their state until the registry no longer has them.
func (d *document) observe(now time.Time, r *rules, snap *health.Snapshot) {
	in := d.Instances[r.instance]
	if in == nil {
		in = &instance{}
		if d.Instances == nil {
			d.Instances = map[string]*instance{}
		}
		d.Instances[r.instance] = in
	}
	slot := &in.Run
	if r.once {
		slot = &in.Once
	}
	if *slot == nil {
		*slot = &observer{}
	}
	o := *slot
	in.acquit(r.boot)
	beat := now.Sub(o.Seen) >= heartbeat*3/4 || now.Before(o.Seen)
	switch {
	case r.once:
		if !o.Seen.IsZero() && beat {
			o.Pause = max(now.Sub(o.Seen), 0)
		}
		o.Seen = now
	case beat || o.Boot != r.boot || !in.Lost.IsZero() || !in.Stopped.IsZero():
		o.Seen, o.Boot, in.Lost, in.Stopped = now, r.boot, time.Time{}, time.Time{}
		o.Beat++
		beat = true
	}
	if o.Checks == nil {
		o.Checks = map[string]*observation{}
	}
	maps.DeleteFunc(o.Checks, func(name string, _ *observation) bool { return !slices.Contains(r.known, name) })
	for i := range snap.Checks {
		c := snap.Checks[i]
		c.Blocked = causes(&c, snap)
		open := d.Alerts[key(c.Name, r.instance, c.Shared)]
		n := o.Checks[c.Name].next(now, &c, r.history[c.Name], beat)
		if open == nil && n.forgettable() {
			delete(o.Checks, c.Name)
		} else {
			o.Checks[c.Name] = n
		}
	}
}

// causes names the dependencies of a check that are bad, confirmed or not yet. If two
// checks fail together, the consequence may be confirmed first.
func causes(c *health.CheckState, snap *health.Snapshot) []string {
	bad := slices.Clone(c.Blocked)
	for _, name := range c.DependsOn {
		if p, ok := snap.Check(name); ok && p.Status == health.Fail && !slices.Contains(bad, name) {
			bad = append(bad, name)
		}
	}
	return bad
}

// history is when the results of a check turned, and the last bad result, as the listener
// received them.
type history struct {
	bad, good time.Time
	output    string
	values    []notify.Value
}

// next returns the observation after o, which may be nil.
func (o *observation) next(now time.Time, c *health.CheckState, h history, beat bool) *observation {
	n := &observation{
		Status: c.Confirmed, Critical: c.Critical, Shared: c.Shared, Flapping: c.Flapping,
		Blocked: c.Blocked, Runbook: c.Runbook,
	}
	switch { // the last bad result, because a passing one is no cause
	case c.Status >= health.Warn && c.Confirmed >= health.Warn:
		n.Output, n.Values = c.Output, values(c.Observed)
	case c.Confirmed < health.Warn && !c.Flapping:
	case h.output != "" || len(h.values) > 0:
		n.Output, n.Values = h.output, h.values
	case o != nil:
		n.Output, n.Values = o.Output, o.Values
	}
	if len(n.Blocked) > 0 {
		n.BlockedAt, n.Causes = now, n.Blocked
		if o != nil && len(o.Blocked) > 0 && !beat {
			n.BlockedAt = o.BlockedAt
		}
	} else if o != nil && n.Status >= health.Warn && now.Sub(o.BlockedAt) < blockedGrace {
		n.BlockedAt, n.Causes = o.BlockedAt, o.Causes
	}
	began := firstOf(h.bad, c.Since, c.ConfirmedSince)
	if o == nil {
		if n.Status >= health.Warn {
			n.Changes, n.Since = []time.Time{now}, orNow(began, now)
		}
	} else {
		n.Changes = slices.DeleteFunc(slices.Clone(o.Changes), func(t time.Time) bool { return now.Sub(t) > flapWindow })
		n.Since, n.Failed, n.Good = o.Since, o.Failed, o.Good
		if n.Status == health.Unknown { // a restart is not a change
			n.Status, n.Output, n.Values = o.Status, o.Output, o.Values
		}
		was, is := o.Status >= health.Warn, n.Status >= health.Warn
		switch {
		case is && !was:
			n.Since, n.Failed, n.Good = orNow(began, now), time.Time{}, time.Time{}
		case is && n.Status < o.Status: // the end of an alert if MinStatus is Fail
			n.Good = orNow(firstOf(c.ConfirmedSince), now)
		case was && !is:
			n.Good = orNow(firstOf(h.good, c.Since, c.ConfirmedSince), now)
			if n.Good.Before(n.Since) {
				n.Good = now
			}
		}
		if n.Status != o.Status {
			n.Changes = append(n.Changes, now)
		} else if is && !beat && sameButNumbers(o.Output, n.Output) {
			n.Output, n.Values = o.Output, o.Values // each difference causes a write
		}
	}
	if n.Status == health.Fail && (o == nil || o.Status != health.Fail) {
		failed := c.ConfirmedSince
		if c.Status == health.Fail { // not only confirmed
			failed = firstOf(c.Since, failed)
		}
		n.Failed = orNow(firstOf(failed), now)
	}
	if k := len(n.Changes); k > 0 {
		calm := now.Sub(n.Changes[k-1]) >= flapCalm
		n.Flapping = n.Flapping || !calm && (k >= flapChanges || o != nil && o.Flapping)
		n.Changes = n.Changes[max(0, k-flapChanges):]
	}
	return n
}

// firstOf returns the first time that is set.
func firstOf(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t.Round(0).UTC()
		}
	}
	return time.Time{}
}

// orNow returns t if it is in the past, and otherwise now.
func orNow(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) {
		return now
	}
	return t
}

// began returns the time from which an alert counts. With MinStatus Fail, warnings before the
// failure do not belong to the alert.
func (o *observation) began(minStatus health.Status) time.Time {
	if minStatus == health.Fail && !o.Failed.IsZero() {
		return o.Failed
	}
	return o.Since
}

// forgettable reports whether the observation of a check can be removed.
func (o *observation) forgettable() bool {
	return o.Status < health.Warn && !o.Flapping && len(o.Changes) == 0
}

func (o *observation) face(minStatus health.Status) face {
	switch {
	case o.Flapping:
		return flapping
	case o.Status == health.Fail:
		return fail
	case o.Status == health.Warn && minStatus <= health.Warn:
		return warn
	}
	return clear
}

// sameButNumbers reports whether two texts differ in digits only.
func sameButNumbers(a, b string) bool {
	digits := func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}
	return strings.Map(digits, a) == strings.Map(digits, b)
}

// values returns the measurements that are beyond a threshold.
func values(observed []health.Measurement) []notify.Value {
	var out []notify.Value
	for _, m := range observed {
		if m.Status < health.Warn || m.Value-m.Value != 0 { // JSON has no NaN
			continue
		}
		out = append(out, notify.Value{
			Name: m.Name, Component: m.Component, Value: m.Value, Unit: m.Unit, Warn: m.Limits.Warn, Fail: m.Limits.Fail,
		})
		if len(out) == 5 {
			break
		}
	}
	return out
}

// watch finds out which instances are alive. It compares heartbeats with those that
// this process read before, and uses only the clock of this process.
type watch struct {
	last  time.Time // of the last run
	marks map[string]mark
}

type mark struct {
	boot string
	beat uint64
	gone bool
	at   time.Time
}

// judge finds instances that have been silent for too long. A process that could not
// read the store for a while has missed heartbeats itself. It first watches for the
// full time again.
func (w *watch) judge(d *document, now time.Time, r *rules) {
	if r.once || r.alone {
		return
	}
	if w.marks == nil || now.Sub(w.last) > believeRun/2 || now.Before(w.last) {
		w.marks = map[string]mark{}
	}
	w.last = now
	for name, in := range d.Instances {
		if name == r.instance || in.Run == nil {
			continue
		}
		is := mark{boot: in.Run.Boot, beat: in.Run.Beat, gone: !in.Stopped.IsZero(), at: now}
		was, ok := w.marks[name]
		if !ok || was.boot != is.boot || was.beat != is.beat || was.gone != is.gone {
			w.marks[name] = is
			continue
		}
		if in.Lost.IsZero() && in.Stopped.IsZero() && now.Sub(was.at) >= believeRun {
			in.Lost = now
		}
	}
	maps.DeleteFunc(w.marks, func(name string, _ mark) bool { return d.Instances[name] == nil })
}

// silentFor reports whether an instance has been gone for longer than a restart takes.
func (w *watch) silentFor(name string, now time.Time) bool {
	m, ok := w.marks[name]
	return ok && now.Sub(m.at) >= believeRun
}
