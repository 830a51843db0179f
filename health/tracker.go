package health

import "time"

const (
	flapWindow  = time.Hour        // raw changes are counted over this time
	flapChanges = 6                // this number of them means flapping
	flapCalm    = 30 * time.Minute // this time without a change ends flapping
)

// tracker turns single results into a confirmed state. It is pure: the time is an
// argument.
//
// The state gets worse to the level that all of the last failAfter results reached. It
// gets better to the level that all of the last recoverAfter results did not exceed. A
// first Pass is confirmed at once.
type tracker struct {
	failAfter, recoverAfter int
	// The agreeing results must also span this time. Otherwise one short outage would
	// be confirmed for a check that runs every few seconds.
	failFor, recoverFor time.Duration

	raw       Status
	rawSince  time.Time
	confirmed Status
	since     time.Time

	atLeastWarn, atLeastFail streak // results this bad or worse
	atMostPass, atMostWarn   streak // results this good or better

	changed  []time.Time // raw changes within flapWindow, oldest first
	flapping bool
}

// streak counts results in a row that share a property.
type streak struct {
	n    int
	from time.Time // the first of them
}

func (s *streak) count(now time.Time, holds bool) {
	switch {
	case !holds:
		s.n = 0
		return
	case s.n == 0:
		s.from = now
	}
	s.n++
}

// lasts reports whether the streak has enough results over enough time.
func (s *streak) lasts(now time.Time, results int, span time.Duration) bool {
	return s.n >= results && now.Sub(s.from) >= span
}

// transition says which of the tracked states changed with one result.
type transition struct {
	raw, confirmed         bool
	fromRaw, fromConfirmed Status
	flapStart, flapStop    bool
	slow                   bool // the first slow run after quick ones
}

func (t transition) any() bool { return t.raw || t.confirmed || t.flapStart || t.flapStop }

// record takes a result. A result that RunOnce requested counts regardless of the time
// that the agreeing results span.
func (t *tracker) record(now time.Time, s Status, asked bool) transition {
	tr := transition{fromRaw: t.raw, fromConfirmed: t.confirmed}
	if s != t.raw {
		tr.raw = true
		if t.raw != Unknown {
			t.noteChange(now)
		}
		t.raw, t.rawSince = s, now
	}
	t.atLeastWarn.count(now, s >= Warn)
	t.atLeastFail.count(now, s >= Fail)
	t.atMostPass.count(now, s <= Pass)
	t.atMostWarn.count(now, s <= Warn)

	if next := t.next(now, asked); next != t.confirmed {
		tr.confirmed = true
		t.confirmed, t.since = next, now
	}
	tr.flapStart, tr.flapStop = t.flap(now)
	return tr
}

func (t *tracker) next(now time.Time, asked bool) Status {
	failFor, recoverFor := t.failFor, t.recoverFor
	if asked {
		failFor, recoverFor = 0, 0
	}
	switch {
	case t.atLeastFail.lasts(now, t.failAfter, failFor):
		return Fail
	case t.confirmed == Unknown && t.atMostPass.n > 0:
		return Pass
	case t.confirmed < Warn && t.atLeastWarn.lasts(now, t.failAfter, failFor):
		return Warn
	case t.confirmed > Pass && t.atMostPass.lasts(now, t.recoverAfter, recoverFor):
		return Pass
	case t.confirmed > Warn && t.atMostWarn.lasts(now, t.recoverAfter, recoverFor):
		return Warn
	}
	return t.confirmed
}

func (t *tracker) noteChange(now time.Time) {
	t.changed = append(t.changed, now)
	if over := len(t.changed) - flapChanges; over > 0 { // more of them add no information
		t.changed = append(t.changed[:0], t.changed[over:]...)
	}
}

// flap updates the flag. It is set after many changes in an hour, and cleared only
// after half an hour without a change.
func (t *tracker) flap(now time.Time) (start, stop bool) {
	if len(t.changed) == 0 {
		return false, false
	}
	last := t.changed[len(t.changed)-1]
	switch {
	case !t.flapping && len(t.changed) >= flapChanges && now.Sub(t.changed[0]) <= flapWindow:
		t.flapping = true
		return true, false
	case t.flapping && now.Sub(last) >= flapCalm:
		t.flapping = false
		t.changed = t.changed[:0]
		return false, true
	}
	return false, false
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
	s.prompt.record(o.at, o.status, o.asked)
	tr := s.tracker.record(o.at, o.status, o.asked)
	slow := o.kind == KindReported && o.took > s.Timeout/2
	tr.slow = slow && !s.slow
	s.slow = slow
	return tr
}
