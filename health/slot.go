package health

import (
	"context"
	"reflect"
	"time"
	"unsafe"
)

// slot is one check and its state. The registry's mutex guards all of it except the
// embedded Check, which never changes, and grades, which belong to the run in flight.
type slot struct {
	Check
	inReady bool
	removed bool
	stop    context.CancelFunc // ends the loop of Run; nil if there is none

	tracker  tracker
	prompt   tracker // follows two results in a row, for /ready/
	share    share   // the share of this slot in the tally
	grades   grades
	history  history
	run      *run // in flight, possibly long after its timeout; nil if there is none
	last     outcome
	lastPass time.Time
	failures int  // results in a row that were not a pass
	slow     bool // the last result took more than half of Timeout
	stats    CheckStats
}

// run is one call of a Checker.
type run struct {
	owner    *slot // changes if a check with the same Checker replaces a removed one
	started  time.Time
	done     chan struct{}
	timedOut bool
	asked    bool // by RunOnce
}

// outcome is the outcome of a run.
type outcome struct {
	kind     Kind
	status   Status
	output   string // scrubbed and truncated
	observed []Measurement
	at       time.Time
	took     time.Duration
	asked    bool // by RunOnce
}

// promptResults is how many results in a row change /ready/. One lost packet then
// drains no instance, and a dependency that is down changes it within one interval.
const promptResults = 2

func newSlot(c Check) *slot {
	span := func(results int) time.Duration { // intervals vary by 10 %, so a little less
		return time.Duration(results-1) * c.pace * 8 / 10
	}
	return &slot{
		Check:   c,
		inReady: c.Critical && !c.Shared || c.Ready,
		tracker: tracker{
			failAfter: c.FailAfter, recoverAfter: c.RecoverAfter,
			failFor: span(c.FailAfter), recoverFor: span(c.RecoverAfter),
		},
		prompt: tracker{failAfter: min(promptResults, c.FailAfter), recoverAfter: min(promptResults, c.RecoverAfter)},
		grades: grades{},
	}
}

// identity distinguishes Checkers. It is nil for one that cannot be compared.
func identity(c Checker) any {
	switch value := reflect.ValueOf(c); {
	case value.Kind() == reflect.Func:
		if f, ok := c.(CheckerFunc); ok { // two closures of one function have the same code, and different variables
			return *(*unsafe.Pointer)(unsafe.Pointer(&f)) //nolint:gosec // compared only
		}
		return nil
	case value.Comparable():
		return c
	}
	return nil
}

// leave keeps the run in flight of a removed check.
func (s *slot) leave(left map[any]*run) {
	if id := identity(s.Checker); id != nil && s.run != nil {
		left[id] = s.run
	}
}

// adopt continues the run of a removed check with the same Checker.
func (s *slot) adopt(left map[any]*run) {
	id := identity(s.Checker)
	if r := left[id]; id != nil && r != nil {
		delete(left, id)
		r.owner.run = nil
		r.owner, s.run = s, r
	}
}

// staleAfter is the age at which a result stops counting.
func (s *slot) staleAfter() time.Duration { return 3*max(s.Interval, s.pace) + s.Timeout }

func (s *slot) staleAt() time.Time { return s.last.at.Add(s.staleAfter()) }

func (s *slot) stale(now time.Time) bool {
	return s.last.kind != KindPending && now.Sub(s.last.at) > s.staleAfter()
}

// pause is the time from a result to the next run. It is shorter while a change is not
// confirmed.
func (s *slot) pause() time.Duration {
	if s.tracker.raw != s.tracker.confirmed {
		return min(s.Interval, retryInterval)
	}
	return s.Interval
}

// due reports whether an on-demand reader should run the check.
func (s *slot) due(now time.Time) bool { return !now.Before(s.dueAt()) }

func (s *slot) dueAt() time.Time {
	if s.last.kind == KindPending {
		return time.Time{}
	}
	return s.last.at.Add(s.pause())
}

// state evaluates the slot at a moment, because a result may have become stale.
func (s *slot) state(now time.Time) CheckState {
	st := CheckState{
		Name: s.Name, Type: s.Type, Runbook: s.Runbook,
		Critical: s.Critical, Shared: s.Shared, Ready: s.inReady, Groups: s.Groups, DependsOn: s.DependsOn,
		Status: s.last.status, Kind: s.last.kind, Confirmed: s.tracker.confirmed,
		Prompt: s.prompt.confirmed,
		Since:  s.tracker.rawSince, ConfirmedSince: s.tracker.since, Flapping: s.tracker.flapping,
		Output: s.last.output, Observed: s.last.observed,
		LastRun: s.last.at, Took: s.last.took, LastSuccess: s.lastPass, Failures: s.failures,
	}
	if s.run != nil && s.run.timedOut {
		st.StuckSince = s.run.started
	}
	if s.stale(now) {
		st.Status, st.Confirmed, st.Prompt, st.Kind = Fail, Fail, Fail, KindStale
		st.Output = "no result for " + roughly(now.Sub(s.last.at)) + "; the last one was " + s.last.status.String()
		if s.last.status != Fail {
			st.Since = s.last.at
		}
		if s.tracker.confirmed != Fail {
			st.ConfirmedSince = s.staleAt()
		}
	}
	return st
}
