package alert

import (
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// absorb merges the changes that this instance made while the store was unreachable.
func (d *document) absorb(local *document) {
	for _, c := range local.Closed {
		if !slices.ContainsFunc(d.Closed, func(o health.Alert) bool { return o.ID == c.ID }) {
			d.Closed = append(d.Closed, c)
		}
		for key, al := range d.Alerts {
			if al.ID == c.ID {
				delete(d.Alerts, key)
			}
		}
	}
	for key, mine := range local.Alerts {
		if slices.ContainsFunc(d.Closed, func(o health.Alert) bool { return o.ID == mine.ID }) {
			continue
		}
		theirs := d.Alerts[key]
		if theirs == nil {
			if d.Alerts == nil {
				d.Alerts = map[string]*state{}
			}
			d.Alerts[key] = mine
			continue
		}
		for name, t := range mine.Told {
			other := theirs.Told[name]
			if other == nil {
				theirs.tell(name, t)
				continue
			}
			if t.At.After(other.At) {
				theirs.tell(name, t)
				t, other = other, t
			}
			if t.Tried.After(other.At) { // its outcome may be unknown
				for _, k := range t.Keys {
					other.add(k, slices.MaxFunc([]time.Time{other.Tried, t.Tried}, time.Time.Compare))
				}
			}
		}
		if mine.AckAt.After(theirs.AckAt) {
			theirs.AckBy, theirs.AckAt = mine.AckBy, mine.AckAt
		}
	}
	for name, r := range local.Receivers {
		into := d.receiver(name)
		for _, t := range r.Sent {
			if !slices.ContainsFunc(into.Sent, t.Equal) {
				into.Sent = append(into.Sent, t)
			}
		}
		slices.SortFunc(into.Sent, time.Time.Compare)
		for id, t := range r.Threads {
			if into.Threads[id] == nil {
				into.Threads[id] = t
			}
		}
		switch {
		case r.Sender == into.Sender:
			into.Attempts, into.FailedAt, into.Wait, into.Sending = r.Attempts, r.FailedAt, r.Wait, r.Sending
		case r.FailedAt.After(into.FailedAt):
			into.Attempts, into.FailedAt, into.Wait = r.Attempts, r.FailedAt, r.Wait
		}
	}
	for _, s := range local.Silences {
		if !slices.ContainsFunc(d.Silences, func(o Silence) bool { return o.same(s) }) {
			d.Silences = append(d.Silences, s)
		}
	}
}
