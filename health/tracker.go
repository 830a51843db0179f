package health

import "time"

const (
	flapWindow  = time.Hour        // raw changes are counted over this time
	flapChanges = 6                // so many of them are flapping
	flapCalm    = 30 * time.Minute // without a change ends it
)

// tracker turns single results into a confirmed state. It is pure: time comes
// in as an argument.
//
// The state gets worse to the level that the last failAfter results all
// reached at least, and better to the level that the last recoverAfter results
// all stayed under or at. A first Pass is believed at once.
type tracker struct {
	failAfter, recoverAfter int

	raw       Status
	rawSince  time.Time
	confirmed Status
	since     time.Time

	atLeastWarn, atLeastFail int // length of the run of results this bad or worse
	atMostPass, atMostWarn   int // length of the run of results this good or better

	changed  []time.Time // raw changes within flapWindow, oldest first
	flapping bool
}

// transition says which of the tracked states changed with one result.
type transition struct {
	raw, confirmed         bool
	fromRaw, fromConfirmed Status
	flapStart, flapStop    bool
	slow                   bool // the first slow run after quick ones
}

func (t transition) any() bool { return t.raw || t.confirmed || t.flapStart || t.flapStop }

func (t *tracker) record(now time.Time, s Status) transition {
	tr := transition{fromRaw: t.raw, fromConfirmed: t.confirmed}
	if s != t.raw {
		tr.raw = true
		if t.raw != Unknown {
			t.noteChange(now)
		}
		t.raw, t.rawSince = s, now
	}
	count := func(n *int, holds bool) {
		if holds {
			*n++
		} else {
			*n = 0
		}
	}
	count(&t.atLeastWarn, s >= Warn)
	count(&t.atLeastFail, s >= Fail)
	count(&t.atMostPass, s <= Pass)
	count(&t.atMostWarn, s <= Warn)

	if next := t.next(); next != t.confirmed {
		tr.confirmed = true
		t.confirmed, t.since = next, now
	}
	tr.flapStart, tr.flapStop = t.flap(now)
	return tr
}

func (t *tracker) next() Status {
	switch {
	case t.atLeastFail >= t.failAfter:
		return Fail
	case t.confirmed == Unknown && t.atMostPass > 0:
		return Pass
	case t.confirmed < Warn && t.atLeastWarn >= t.failAfter:
		return Warn
	case t.confirmed > Pass && t.atMostPass >= t.recoverAfter:
		return Pass
	case t.confirmed > Warn && t.atMostWarn >= t.recoverAfter:
		return Warn
	}
	return t.confirmed
}

func (t *tracker) noteChange(now time.Time) {
	t.changed = append(t.changed, now)
	if over := len(t.changed) - flapChanges; over > 0 { // more of them say nothing new
		t.changed = append(t.changed[:0], t.changed[over:]...)
	}
}

// flap updates the flag. It enters on many changes in an hour and leaves only
// after half an hour of calm: hysteresis in minutes.
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
