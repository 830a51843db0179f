package health

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// CheckState is the state of a check at one moment.
type CheckState struct {
	// Name, Type and Runbook repeat those of Check.
	Name, Type, Runbook string
	// Critical and Shared repeat those of Check. Ready means that the check is in the group
	// "ready": Check.Ready is set, or the check is critical and not shared.
	Critical, Shared, Ready bool
	// Groups and DependsOn repeat those of Check. Groups does not contain "ready".
	Groups, DependsOn []string

	// Status is the raw state: the last result, or the failure that Kind names.
	Status Status
	// Kind says how Status came about: a result, a timeout, a panic, a stuck run or a
	// stale result.
	Kind Kind
	// Since is when Status got its current value.
	Since time.Time
	// Confirmed is the state that FailAfter or RecoverAfter results agree on. It is
	// Unknown until they agree.
	Confirmed Status
	// ConfirmedSince is when Confirmed got its current value.
	ConfirmedSince time.Time
	// Prompt is the state that two results in a row agree on, however close together.
	// /ready/ follows it.
	Prompt Status
	// Flapping means that the raw state has changed six times within an hour, and since
	// then has not been stable for half an hour.
	Flapping bool
	// Blocked names the dependencies that are confirmed bad. If there are any, the
	// problem of this check is a consequence.
	Blocked []string

	// Output explains the state to authorised callers. Secrets have been removed from
	// it.
	Output string
	// Observed are the measurements of the last result, each with its Status.
	Observed []Measurement

	// LastRun is when the last result was recorded. It is zero if there is none.
	LastRun time.Time
	// Took is the duration of that run.
	Took time.Duration
	// LastSuccess is when the check last passed. It is zero if it never passed since
	// the start.
	LastSuccess time.Time
	// Failures counts the results in a row that were not a pass.
	Failures int
	// StuckSince is the start of the run that has not returned. It is zero if there is
	// none.
	StuckSince time.Time
}

// Phase is the phase in the life of the service.
type Phase string

// The phases, as /ready/ and the status page name them.
const (
	Starting Phase = "starting" // a check of the group "ready" has no usable result yet, or Started has not been called
	Serving  Phase = "serving"
	Draining Phase = "draining" // Drain was called
)

// Snapshot is the whole registry at one moment. It is a copy and never changes. Its
// slices are shared between callers and must not be modified.
type Snapshot struct {
	// Time is when the snapshot was taken.
	Time time.Time
	// Status is the status of /health/: the worst of the critical checks, and at least
	// Warn if any other check is bad. A check that has not run is a Fail if it is
	// critical. Otherwise it does not count.
	Status Status
	// Confirmed is computed in the same way from the confirmed states.
	Confirmed Status
	// Phase is Starting, Serving or Draining.
	Phase Phase
	// Ready is the status of /ready/: Pass, Warn or Fail.
	Ready Status
	// Checks are in the order in which they were added.
	Checks []CheckState

	// Service, Release and Description are those of Options.
	Service, Release, Description string
}

// Check returns the state of one check.
func (s *Snapshot) Check(name string) (CheckState, bool) {
	i := slices.IndexFunc(s.Checks, func(c CheckState) bool { return c.Name == name })
	if i < 0 {
		return CheckState{}, false
	}
	return s.Checks[i], true
}

// Group returns a copy narrowed to the checks with this name in Check.Groups, or to
// those of the group "ready", which always exists.
func (s *Snapshot) Group(name string) (*Snapshot, bool) {
	narrowed := s.only(func(c CheckState) bool {
		return name == readyGroup && c.Ready || slices.Contains(c.Groups, name)
	})
	return narrowed, len(narrowed.Checks) > 0 || name == readyGroup
}

// Without returns a copy without the named checks. Its states are computed again.
func (s *Snapshot) Without(names ...string) *Snapshot {
	return s.only(func(c CheckState) bool { return !slices.Contains(names, c.Name) })
}

// Only returns a copy of the named checks. Its states are computed again.
func (s *Snapshot) Only(names ...string) *Snapshot {
	return s.only(func(c CheckState) bool { return slices.Contains(names, c.Name) })
}

func (s *Snapshot) only(keep func(CheckState) bool) *Snapshot {
	narrowed := *s
	narrowed.Checks = nil
	for _, c := range s.Checks {
		if keep(c) {
			narrowed.Checks = append(narrowed.Checks, c)
		}
	}
	narrowed.judge()
	return &narrowed
}

// judge computes the states of the service from the checks and the phase.
func (s *Snapshot) judge() {
	var t tally
	s.Confirmed = Pass
	for i := range s.Checks {
		c := &s.Checks[i]
		t.add(c.share(), 1)
		s.Confirmed = max(s.Confirmed, c.weight(c.Confirmed))
	}
	s.Status, s.Ready, s.Phase = t.verdict(s.Phase)
}

// weight is the effect of a state of this check on the service.
func (c *CheckState) weight(s Status) Status { return weigh(c.Critical, s) }

func weigh(critical bool, s Status) Status {
	switch {
	case critical && s == Unknown:
		return Fail
	case !critical && s == Fail:
		return Warn
	}
	return s
}

// Snapshot returns the registry as it is now. It runs no check.
func (r *Registry) Snapshot() *Snapshot {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot(now)
}

// Fresh is Snapshot for a registry that may be without Run. It first runs the checks
// that are due, as a request to an endpoint does. When ctx ends, it returns early with
// the states at that moment.
func (r *Registry) Fresh(ctx context.Context) *Snapshot {
	if !r.running.Load() {
		r.freshen(ctx)
	}
	return r.Snapshot()
}

// snapshot is Snapshot with r.mu held.
func (r *Registry) snapshot(now time.Time) *Snapshot { return r.snapshotOf(r.slots, now) }

func (r *Registry) snapshotOf(slots []*slot, now time.Time) *Snapshot {
	s := &Snapshot{
		Time: now, Phase: r.phase(), Checks: make([]CheckState, len(slots)),
		Service: r.opts.Service, Release: r.opts.Release, Description: r.opts.Description,
	}
	for i, slot := range slots {
		s.Checks[i] = slot.state(now)
		s.Checks[i].Blocked = r.blocked(slot, now)
	}
	s.judge()
	return s
}

// phase is the phase in the life of the service, without regard to the checks.
func (r *Registry) phase() Phase {
	switch {
	case r.draining:
		return Draining
	case !r.started:
		return Starting
	}
	return Serving
}

// blocked names the dependencies of a slot that are confirmed bad.
func (r *Registry) blocked(s *slot, now time.Time) []string {
	var bad []string
	for _, parent := range s.DependsOn {
		if r.byName[parent].state(now).Confirmed == Fail {
			bad = append(bad, parent)
		}
	}
	return bad
}

// share is the contribution of one check to the states of the service.
type share struct {
	status Status // weighted: the effect on /health/
	ready  Status // the effect on /ready/: Pass, Warn, Fail, or Unknown while it is starting
}

// share returns the contribution of a check.
func (c *CheckState) share() share {
	return shareOf(c.Critical, c.Ready, c.Status, c.Prompt)
}

func shareOf(critical, inReady bool, status, prompt Status) share {
	s := share{status: weigh(critical, status), ready: Pass}
	if !inReady {
		return s
	}
	switch {
	case prompt == Fail:
		s.ready = Fail
	case prompt == Unknown && (status == Unknown || status == Fail):
		s.ready = Unknown
	case status >= Warn:
		s.ready = Warn
	}
	return s
}

// tally counts the shares of all checks. One result then changes the states of the
// service without reading the other checks.
type tally struct {
	status, ready [Fail + 1]int
}

func (t *tally) add(s share, n int) {
	t.status[s.status] += n
	t.ready[s.ready] += n
}

// verdict returns the states of /health/ and /ready/, and the phase, which also depends
// on checks that are still starting.
func (t *tally) verdict(phase Phase) (health, ready Status, p Phase) {
	health, ready = Pass, Pass
	for s := Warn; s <= Fail; s++ {
		if t.status[s] > 0 {
			health = s
		}
		if t.ready[s] > 0 {
			ready = s
		}
	}
	if t.ready[Unknown] > 0 && phase == Serving {
		phase = Starting
	}
	if phase != Serving {
		ready = Fail
	}
	return health, ready, phase
}

// count brings the tally and the bounds of the view up to date with one slot.
// Callers hold r.mu.
func (r *Registry) count(s *slot, now time.Time) {
	r.tally.add(s.share, -1)
	status, prompt := s.last.status, s.prompt.confirmed
	if s.stale(now) {
		status, prompt = Fail, Fail
	} else if s.last.kind != KindPending {
		r.staleFrom = earlier(r.staleFrom, s.staleAt())
	}
	r.dueFrom = earlier(r.dueFrom, s.dueAt())
	s.share = shareOf(s.Critical, s.inReady, status, prompt)
	r.tally.add(s.share, 1)
}

// recount reads every slot, after time has passed or checks were added or removed.
// Between two recounts staleFrom and dueFrom are lower bounds, because a new result
// only makes a slot stale and due later. Callers hold r.mu.
func (r *Registry) recount(now time.Time) {
	r.tally = tally{}
	r.staleFrom, r.dueFrom = now.Add(24*time.Hour), now.Add(24*time.Hour)
	for _, s := range r.slots {
		r.tally.add(s.share, 1)
		r.count(s, now)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// narrow applies ?group= and ?exclude=. The note names exclusions that matched no
// check. They must not break a probe, and must not stay unnoticed either.
func narrow(s *Snapshot, query url.Values) (narrowed *Snapshot, note string, ok bool) {
	if query.Has("group") {
		if s, ok = s.Group(query.Get("group")); !ok {
			return nil, "", false
		}
	}
	var names, unknown []string
	for _, value := range query["exclude"] {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, name)
			if _, known := s.Check(name); !known && len(unknown) < 8 {
				unknown = append(unknown, cutTo(oneLine(name), maxName))
			}
		}
	}
	if len(unknown) > 0 {
		note = "nothing to exclude: " + strings.Join(unknown, ", ")
	}
	return s.Without(names...), note, true
}
