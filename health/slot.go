package health

import "time"

// slot is one check and everything known about it. The registry's mutex guards
// all of it but the embedded Check, which never changes.
type slot struct {
	Check
	inReady bool

	tracker  tracker
	grades   grades
	history  history
	run      *run // in flight, also long after its timeout; nil = none
	last     outcome
	lastPass time.Time
	failures int  // results in a row that were not a pass
	slow     bool // the last result took more than half of Timeout
	stats    CheckStats
}

// run is one call of a Checker.
type run struct {
	started  time.Time
	done     chan struct{}
	timedOut bool
}

// outcome is what a run came to.
type outcome struct {
	kind     Kind
	status   Status
	output   string // scrubbed and cut
	observed []Measurement
	at       time.Time
	took     time.Duration
}

func newSlot(c Check) *slot {
	return &slot{
		Check:   c,
		tracker: tracker{failAfter: c.FailAfter, recoverAfter: c.RecoverAfter},
		grades:  grades{},
	}
}

// staleAfter is the age at which a result stops counting.
func (s *slot) staleAfter() time.Duration { return 3*s.Interval + s.Timeout }

// due reports whether an on-demand reader should have the check run.
func (s *slot) due(now time.Time) bool { return !now.Before(s.dueAt()) }

func (s *slot) dueAt() time.Time {
	if s.last.kind == KindPending {
		return time.Time{}
	}
	return s.last.at.Add(s.Interval)
}

// state evaluates the slot at a moment: what was said then may be stale now.
func (s *slot) state(now time.Time) CheckState {
	st := CheckState{
		Name: s.Name, Type: s.Type, Runbook: s.Runbook,
		Critical: s.Critical, Shared: s.Shared, Ready: s.inReady, DependsOn: s.DependsOn,
		Status: s.last.status, Kind: s.last.kind, Confirmed: s.tracker.confirmed,
		Since: s.tracker.rawSince, ConfirmedSince: s.tracker.since, Flapping: s.tracker.flapping,
		Output: s.last.output, Observed: s.last.observed,
		LastRun: s.last.at, Took: s.last.took, LastSuccess: s.lastPass, Failures: s.failures,
	}
	if s.run != nil && s.run.timedOut {
		st.StuckSince = s.run.started
	}
	if s.last.kind != KindPending && now.Sub(s.last.at) > s.staleAfter() {
		st.Status, st.Confirmed, st.Kind = Fail, Fail, KindStale
		st.Output = "no result for " + roughly(now.Sub(s.last.at)) + "; the last one was " + s.last.status.String()
		if s.last.status != Fail {
			st.Since = s.last.at
		}
		if s.tracker.confirmed != Fail {
			st.ConfirmedSince = s.last.at.Add(s.staleAfter())
		}
	}
	return st
}

// settle records the outcome of a run, or of a tick that found it stuck.
func (s *slot) settle(o outcome) transition {
	s.last = o
	if o.status == Pass {
		s.lastPass, s.failures = o.at, 0
	} else {
		s.failures++
	}
	s.history.record(o.at, o.status)
	s.stats.count(o)
	tr := s.tracker.record(o.at, o.status)
	slow := o.kind == KindReported && o.took > s.Timeout/2
	tr.slow = slow && !s.slow
	s.slow = slow
	return tr
}
