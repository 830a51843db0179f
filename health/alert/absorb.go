package alert

import (
	"cmp"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// absorb merges the changes that an instance made while the store was unreachable. Until
// since, both documents were the same. A key of a later attempt is unknown in the other
// document. The receiver has it, so it is kept until it is ended.
func (d *document) absorb(local *document, name string, since, now time.Time) {
	for _, c := range local.Closed {
		open := false
		for key, al := range d.Alerts {
			if al.ID != c.ID {
				continue
			}
			if al.forget(since); al.owed() {
				open = true
			} else {
				delete(d.Alerts, key)
			}
		}
		if !open && !d.hasClosed(c.ID) {
			d.Closed = append(d.Closed, c)
		}
	}
	for key, mine := range local.Alerts {
		if d.hasClosed(mine.ID) {
			if mine.forget(since); !mine.owed() {
				continue
			}
		}
		theirs := d.Alerts[key]
		if theirs == nil {
			if d.Alerts == nil {
				d.Alerts = map[string]*state{}
			}
			theirs = &state{}
			*theirs, theirs.Told = *mine, nil
			theirs.Reporters = slices.DeleteFunc(slices.Clone(mine.Reporters), func(reporter string) bool {
				return reporter != name && d.Instances[reporter] == nil // removed meanwhile
			})
			d.Alerts[key] = theirs
			d.Closed = slices.DeleteFunc(d.Closed, func(c health.Alert) bool { return c.ID == mine.ID })
		}
		theirs.absorb(mine, since, now)
	}
	d.resumeInstance(name, local.Instances[name])
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
		// An older one that d does not have was ended.
		if s.Set.After(since) && !slices.ContainsFunc(d.Silences, func(o Silence) bool { return o.same(s) }) {
			d.Silences = append(d.Silences, s)
		}
	}
}

// absorb merges another copy of an alert, or another alert about the same subject.
func (al *state) absorb(mine *state, since, now time.Time) {
	for receiver, t := range mine.Told {
		later := t.Tried.After(since) || mine.ID != al.ID
		if later && len(t.Keys) > 0 {
			t.Tried = now // unknown to each instance that has not read d since
		}
		old := al.Told[receiver]
		if old == nil {
			al.tell(receiver, t)
			continue
		}
		kept, lost, independent := old, t, later
		if t.At.After(old.At) {
			kept, lost, independent = t, old, old.Tried.After(since) || mine.ID != al.ID
		}
		if independent {
			for _, k := range lost.Keys {
				kept.add(k, now)
			}
		}
		kept.Thread = cmp.Or(kept.Thread, lost.Thread)
		al.tell(receiver, kept)
	}
	risen := mine.ID == al.ID && mine.Episode > al.Episode // it needs an acknowledgement of its own
	if risen {
		al.Episode, al.Audible, al.Heard = mine.Episode, mine.Audible, mine.Heard
	}
	if older := mine.ID == al.ID && mine.Episode < al.Episode; risen || !older && mine.AckAt.After(al.AckAt) {
		al.AckBy, al.AckAt = mine.AckBy, mine.AckAt
	}
}

func (d *document) hasClosed(id string) bool {
	return slices.ContainsFunc(d.Closed, func(c health.Alert) bool { return c.ID == id })
}

// forget removes the keys of the attempts until a time. The other document has ended them.
func (al *state) forget(until time.Time) {
	for _, t := range al.Told {
		if !t.Tried.After(until) {
			t.Keys, t.Face = nil, clear
		}
	}
}
