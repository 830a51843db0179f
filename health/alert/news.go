package alert

import (
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// news is a change of an alert that a receiver does not have yet.
type news struct {
	key    string
	al     *state
	told   *told
	event  notify.Event
	urgent bool
	due    time.Time
}

// newsOf compares an alert with the state that a receiver has. Without news, it returns
// the time of the next comparison.
func (d *document) newsOf(k string, now time.Time, r *rules, to *receiver) (news, time.Time) {
	al := d.Alerts[k]
	t := al.Told[to.Name]
	known := t != nil && t.Face != clear
	n := news{key: k, al: al, told: t}
	quiet := d.quiet(r, al, now)
	switch {
	case !al.Ended.IsZero():
		if t == nil || len(t.Keys) == 0 {
			return news{}, time.Time{}
		}
		if to.NoRecovery {
			t.Keys, t.Face = nil, clear
			return news{}, time.Time{}
		}
		n.event = notify.Ended
	case !known:
		matches, at := to.matches(d, al, r, now)
		if !matches {
			if t != nil {
				t.Pending, t.Urgent = time.Time{}, time.Time{}
			}
			return news{}, at
		}
		if d.covered(al, r, to, now, 0) {
			return news{}, time.Time{}
		}
		n.event, n.urgent = notify.Opened, al.Critical
	case al.Critical && (!t.Critical || al.Episode != t.Episode):
		n.event, n.urgent = notify.Worse, true
	case al.Face != t.Face && al.Face.weight() > t.Face.weight():
		n.event, n.urgent = notify.Worse, al.Critical && al.Face == lost && !al.Stopped
		if al.Face == flapping || al.Face == lost {
			n.event = notify.Changed
		}
	case al.Face != t.Face && al.Face.weight() < t.Face.weight() && t.Face != fail && t.Face != warn:
		n.event = notify.Changed // an instance is back, but its check is still bad
	case al.Face != t.Face || t.Critical && !al.Critical, t.episodes(al.ID) > 1:
		n.event = notify.Better // also if a worse state may have arrived
	default:
		n.event, n.due = notify.Ongoing, t.reminderAt(to.Reminders)
		if al.AckAt.IsZero() && !n.due.IsZero() {
			if n.due = n.due.Add(-r.slack); !now.Before(n.due) {
				n.event = notify.Reminder
			}
		} else {
			n.due = time.Time{}
		}
	}
	if n.event == notify.Ongoing || n.event == notify.Reminder {
		t.Pending, t.Urgent = time.Time{}, time.Time{}
		if n.event == notify.Reminder && quiet {
			n.event, n.due = notify.Ongoing, time.Time{}
		}
		return n, time.Time{}
	}
	if quiet {
		if !known {
			if t != nil {
				t.Pending, t.Urgent = time.Time{}, time.Time{}
			}
			return news{}, time.Time{}
		}
		t.Pending, t.Urgent = time.Time{}, time.Time{}
		n.event = notify.Ongoing
		return n, time.Time{}
	}
	if t == nil {
		t = &told{}
		al.tell(to.Name, t)
		n.told = t
	}
	if t.Pending.IsZero() {
		t.Pending = now
	}
	if n.urgent && t.Urgent.IsZero() {
		t.Urgent = now
	} else if !n.urgent {
		t.Urgent = time.Time{}
	}
	n.due = d.due(n, r, to)
	return n, time.Time{}
}

// covered reports whether a message about a cause stands for an alert: the receiver has, or
// is about to get, a message about an alert that is at least as severe, and no silence or
// window holds that one back. A cause may be covered itself.
func (d *document) covered(al *state, r *rules, to *receiver, now time.Time, depth int) bool {
	t := al.Told[to.Name]
	if len(al.Causes) == 0 || t != nil && len(t.Keys) > 0 || depth > 10 {
		return false
	}
	stands, coming := false, false
	for _, name := range al.Causes {
		cause := d.causeOf(al, name)
		switch {
		case cause == nil || !cause.Ended.IsZero(): // not confirmed yet, or over
			coming = true
		case d.quiet(r, cause, now), al.Critical && !cause.Critical:
		case cause.Told[to.Name] != nil && cause.Told[to.Name].Face != clear, d.covered(cause, r, to, now, depth+1):
			stands = true
		default:
			matches, at := to.matches(d, cause, r, now)
			coming = coming || matches || !at.IsZero()
		}
	}
	if stands {
		if t == nil {
			t = &told{}
			al.tell(to.Name, t)
		}
		if now.Sub(t.Held) >= heartbeat { // each difference causes a write
			t.Held = now
		}
		return true
	}
	return coming && (now.Sub(al.Opened) < blockedGrace || t != nil && now.Sub(t.Held) < blockedGrace)
}

// causeOf returns the alert about a check that an alert depends on, or nil.
func (d *document) causeOf(al *state, name string) *state {
	for _, host := range append([]string{al.Instance}, al.Reporters...) {
		if cause := d.Alerts[key(name, host, false)]; cause != nil {
			return cause
		}
	}
	return d.Alerts[key(name, "", true)]
}

// due returns when news may be sent. A change for the worse waits for groupWait, so
// that alerts with one cause share a message. Other news waits four times as long, and
// for groupInterval after the last message of the thread. A rise to critical is not
// delayed further.
func (d *document) due(n news, r *rules, to *receiver) time.Time {
	if n.urgent {
		return n.told.Urgent.Add(r.groupWait)
	}
	wait := r.groupWait
	if r.unsettled || n.event == notify.Better || n.event == notify.Ended {
		wait *= 4
	}
	at := n.told.Pending.Add(wait)
	if n.told.Rest {
		return at
	}
	state := d.receiver(to.Name)
	var last time.Time
	if t := state.Threads[n.told.Thread]; t != nil {
		last = t.Last
	} else {
		for _, t := range state.Threads {
			if t.Last.After(last) {
				last = t.Last
			}
		}
	}
	if next := last.Add(r.groupInterval); !last.IsZero() && next.After(at) {
		return next
	}
	return at
}

// priority orders messages that are due at the same time.
func (n *news) priority() int {
	switch {
	case n.urgent:
		return 3
	case n.event == notify.Opened || n.event == notify.Worse:
		return 2
	case n.event == notify.Reminder:
		return 0
	}
	return 1
}

// rank orders the items of a message.
func (n news) rank() int {
	rank := n.al.Face.weight()
	if n.al.Critical {
		rank += 10
	}
	switch n.event {
	case notify.Ended:
		return rank - 40
	case notify.Better, notify.Ongoing:
		return rank - 20
	}
	return rank
}
