package health

import (
	"context"
	"slices"
	"time"
)

// CheckState is a check at one moment.
type CheckState struct {
	Name, Type, Runbook     string
	Critical, Shared, Ready bool
	Groups, DependsOn       []string

	// Status is the raw state: the last result, or what became of it (Kind).
	Status Status
	Kind   Kind
	// Since is when Status became what it is.
	Since time.Time
	// Confirmed is the state that FailAfter or RecoverAfter results agree on;
	// Unknown until they do.
	Confirmed      Status
	ConfirmedSince time.Time
	// Prompt is the state that two results in a row agree on, however close
	// together; /ready/ follows it.
	Prompt Status
	// Flapping: the raw state has changed six times within an hour and has not
	// been calm for half an hour since.
	Flapping bool
	// Blocked names the dependencies that are confirmed bad; while there are
	// any, this check's own trouble is a consequence.
	Blocked []string

	// Output explains the state to people who may see details. Secrets have
	// been taken out of it.
	Output   string
	Observed []Measurement

	// LastRun is when the last result was recorded; zero if there is none.
	LastRun time.Time
	// Took is how long that run needed.
	Took time.Duration
	// LastSuccess is when the check passed last; zero if never since the start.
	LastSuccess time.Time
	// Failures counts the results in a row that were not a pass.
	Failures int
	// StuckSince is the start of the run that has not returned; else zero.
	StuckSince time.Time
}

// Phase is where the service is in its life.
type Phase string

// The phases, as /ready/ and the status page name them.
const (
	Starting Phase = "starting" // a check of the group "ready" has no usable result yet, or Started is awaited
	Serving  Phase = "serving"
	Draining Phase = "draining" // Drain was called
)

// Snapshot is the whole registry at one moment. It is a copy: nothing in it
// changes any more. Its slices are shared between callers and must not be
// written to.
type Snapshot struct {
	Time time.Time
	// Status is the answer of /health/: the worst of the critical checks, and
	// Warn at least when any other check is bad. A check that has not run is a
	// Fail if critical, and nothing if not.
	Status Status
	// Confirmed is the same over the confirmed states.
	Confirmed Status
	Phase     Phase
	// Ready is the answer of /ready/: Pass, Warn or Fail.
	Ready Status
	// Checks are in the order in which they were added.
	Checks []CheckState

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

// Group returns a copy narrowed to the checks with this name in Check.Groups, or
// to those of "ready", which always exists.
func (s *Snapshot) Group(name string) (*Snapshot, bool) {
	narrowed := s.only(func(c CheckState) bool {
		return name == readyGroup && c.Ready || slices.Contains(c.Groups, name)
	})
	return narrowed, len(narrowed.Checks) > 0 || name == readyGroup
}

// Without returns a copy without the named checks, its states computed anew.
func (s *Snapshot) Without(names ...string) *Snapshot {
	return s.only(func(c CheckState) bool { return !slices.Contains(names, c.Name) })
}

// Only returns a copy of the named checks, its states computed anew.
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

// judge computes the states of the whole from the checks and the phase.
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

// weight is what a state of this check means for the whole.
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

// Fresh is Snapshot for a registry that may be without Run: checks that are due
// are run first, as for a request to an endpoint. It returns early, with what
// there is, when ctx ends.
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

// phase is where the service is in its life, checks aside.
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
