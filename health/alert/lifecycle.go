package alert

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

const (
	lostPrefix     = "lost@"
	restartsPrefix = "restarts@"
	// keepLost is how long the alert about a lost instance stays open, if the instance
	// was well when it was lost. By then an instance with a new name has replaced it.
	keepLost = 24 * time.Hour
)

// subject is a check or an instance that can fail, as all observers together see it.
type subject struct {
	key, name, host string // host is empty for a shared check
	face            face
	critical        bool
	since           time.Time
	good            time.Time // the latest of the first good results of observers that saw the problem
	witness         bool      // an observer that saw the problem now sees that it is over
	live            bool      // a live observer reports the check
	reporters       []string
	blocked         bool // every observer that sees the problem sees its cause too
	causes          []string
	count           int
	seen            *observation // the worst one
}

// subjects merges the observations. Only live observers count.
func (d *document) subjects(now time.Time, r *rules) map[string]*subject {
	found := map[string]*subject{}
	for _, host := range slices.Sorted(maps.Keys(d.Instances)) {
		if r.alone && host != r.instance {
			continue
		}
		for _, o := range d.Instances[host].live(now) {
			for name, c := range o.Checks {
				k := key(name, host, c.Shared)
				s := found[k]
				if s == nil {
					s = &subject{key: k, name: name}
					if !c.Shared {
						s.host = host
					}
					found[k] = s
				}
				s.merge(host, c, r.minStatus)
			}
		}
	}
	return found
}

func (s *subject) merge(host string, c *observation, minStatus health.Status) {
	f := c.face(minStatus)
	if f == clear {
		if c.Status == health.Unknown {
			return
		}
		s.live = true
		if !c.Good.IsZero() {
			s.witness = true
			if c.Good.After(s.good) {
				s.good = c.Good
			}
		}
		return
	}
	s.live = true
	if !slices.Contains(s.reporters, host) {
		s.reporters = append(s.reporters, host)
	}
	s.critical = s.critical || c.Critical && f != warn
	s.blocked = !c.BlockedAt.IsZero() && (s.blocked || s.face == clear)
	for _, name := range c.Causes {
		if !slices.Contains(s.causes, name) {
			s.causes = append(s.causes, name)
		}
	}
	if f.weight() > s.face.weight() {
		s.face, s.seen = f, c
	}
	if began := c.began(minStatus); s.since.IsZero() || !began.IsZero() && began.Before(s.since) {
		s.since = began
	}
}

// advance opens, updates and ends alerts according to the observations.
func (d *document) advance(now time.Time, r *rules, w *watch) {
	found := d.subjects(now, r)
	for _, k := range slices.Sorted(maps.Keys(found)) {
		s := found[k]
		if s.face == clear {
			continue
		}
		al := d.Alerts[k]
		if al == nil || !al.Ended.IsZero() && !al.owed() {
			al = d.open(k, s, now)
		}
		if s.host == "" {
			for _, name := range d.unobserved(al, r) {
				if !slices.Contains(s.reporters, name) {
					s.reporters = append(s.reporters, name)
				}
			}
		}
		al.update(s, now)
	}
	for k, al := range d.Alerts {
		s := found[k]
		if al.Face == restarts || al.Name == "" || s != nil && s.face != clear || !al.Ended.IsZero() {
			continue
		}
		d.silence(al, s, now, r, w)
	}
	if !r.alone {
		d.instances(now, r, w)
	}
}

// silence decides about an open alert that no live observer reports as bad.
func (d *document) silence(al *state, s *subject, now time.Time, r *rules, w *watch) {
	if others := d.unobserved(al, r); al.Instance == "" && len(others) > 0 {
		if s != nil && s.live {
			al.Reporters = others
		}
		return
	}
	if s != nil && s.live {
		switch {
		case s.witness && s.good.After(al.Since):
			al.end(recovered, s.good, now)
		case al.Instance != "":
			al.end(recovered, now, now)
		default:
			al.end(unreported, now, now)
		}
		return
	}
	if r.alone && al.Instance != r.instance {
		return // the other instances cannot be observed now
	}
	if al.Instance == "" { // a shared check that no instance reports
		if !d.anyGone(al.Reporters) || al.Instance == r.instance {
			al.end(unreported, now, now)
		}
		return
	}
	in := d.Instances[al.Instance]
	switch {
	case in == nil:
		al.end(unreported, now, now)
	case !in.Lost.IsZero():
		if al.Face != lost {
			al.Face, al.Gone, al.Stopped = lost, in.seen(), false
		}
	case !in.Stopped.IsZero():
		if al.Face != lost && al.Instance != r.instance && w.silentFor(al.Instance, now) {
			al.Face, al.Gone, al.Stopped = lost, in.Stopped, true
		}
		if al.Face == lost && now.Sub(al.Gone) >= keepLost {
			al.end(stopped, al.Gone, now)
		}
	case len(in.live(now)) == 0: // a command that is not run any more
		if al.Face != lost {
			al.Face, al.Gone, al.Stopped = lost, in.seen(), false
		}
	default: // the check was removed
		al.end(unreported, now, now)
	}
}

// unobserved returns the instances that saw the problem of a shared alert and cannot be
// observed now, because the store is unreachable.
func (d *document) unobserved(al *state, r *rules) []string {
	return slices.DeleteFunc(slices.Clone(al.Reporters), func(name string) bool {
		return name == r.instance || !r.alone && d.Instances[name] != nil
	})
}

// unknown reports whether only instances that cannot be observed now know the state of an alert.
func (d *document) unknown(al *state, r *rules) bool {
	if al.Instance != "" {
		return r.alone && al.Instance != r.instance
	}
	return al.Ended.IsZero() && !slices.Contains(al.Reporters, r.instance) && len(d.unobserved(al, r)) > 0
}

// drop removes an instance.
func (d *document) drop(name string) {
	delete(d.Instances, name)
	for _, al := range d.Alerts {
		al.Reporters = slices.DeleteFunc(slices.Clone(al.Reporters), func(reporter string) bool { return reporter == name })
	}
}

// anyGone reports whether one of the instances was lost or shut down.
func (d *document) anyGone(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		in := d.Instances[name]
		return in != nil && (!in.Lost.IsZero() || !in.Stopped.IsZero())
	})
}

// instances opens and ends the alerts about instances themselves.
func (d *document) instances(now time.Time, r *rules, w *watch) {
	for _, name := range slices.Sorted(maps.Keys(d.Instances)) {
		in := d.Instances[name]
		d.crashLoop(name, in, now, r)
		k := lostPrefix + name
		al := d.Alerts[k]
		failing := d.hasOpen(name)
		switch {
		case in.Lost.IsZero():
			if al != nil && al.Ended.IsZero() {
				al.end(recovered, now, now)
			}
			if !in.Stopped.IsZero() && in.Once == nil && name != r.instance && !failing && w.silentFor(name, now) {
				d.drop(name)
			}
		case r.lost && (al == nil || in.Lost.After(al.Noticed) && !al.Ended.IsZero()) && !d.tellsLoss(name, now, r):
			s := &subject{key: k, host: name, face: lost, since: in.seen(), critical: d.reported(name), reporters: nil}
			if al == nil || !al.owed() {
				al = d.open(k, s, now)
			}
			al.update(s, now)
		case !failing && (al == nil || al.Ended.IsZero() && now.Sub(in.Lost) >= keepLost && !al.Critical):
			if al != nil {
				al.end(unreported, now, now)
			}
			d.drop(name)
		}
	}
}

// crashLoop maintains the alert about unclean stops of an instance.
func (d *document) crashLoop(name string, in *instance, now time.Time, r *rules) {
	in.Unclean = slices.DeleteFunc(in.Unclean, func(u uncleanStart) bool { return now.Sub(u.At) >= crashWindow })
	k := restartsPrefix + name
	al := d.Alerts[k]
	found := in.crashed(now)
	n := len(found)
	switch {
	case al != nil && al.Ended.IsZero() && n == 0:
		al.end(recovered, now, now)
	case n >= crashes || n > 0 && r.tellUnclean || n > 0 && al != nil && al.Ended.IsZero():
		s := &subject{key: k, host: name, face: restarts, since: found[0].At, critical: n >= crashes, count: n}
		if al == nil || !al.Ended.IsZero() && !al.owed() {
			al = d.open(k, s, now)
		}
		al.update(s, now)
	}
}

// hasOpen reports whether a check of the instance has an open alert.
func (d *document) hasOpen(host string) bool {
	for _, al := range d.Alerts {
		if al.Instance == host && al.Name != "" && al.Ended.IsZero() && !al.hidden() {
			return true
		}
	}
	return false
}

// tellsLoss reports whether the alerts about the checks of an instance tell every receiver
// that it is lost. A silence, a window or the routes of a receiver may prevent that.
func (d *document) tellsLoss(host string, now time.Time, r *rules) bool {
	loss := &state{Face: lost, Instance: host, Critical: d.reported(host)}
	if !d.hasOpen(host) || d.quiet(r, loss, now) {
		return d.hasOpen(host)
	}
	return !slices.ContainsFunc(r.receivers, func(to *receiver) bool {
		if gets, _ := to.matches(d, loss, r, now); !gets {
			return false
		}
		for _, al := range d.Alerts {
			if al.Instance != host || al.Name == "" || !al.Ended.IsZero() {
				continue
			}
			t := al.Told[to.Name]
			if t != nil && t.Face == lost {
				return false
			}
			if gets, _ := to.matches(d, al, r, now); (gets && !al.hidden() || t != nil && t.Face != clear) && !d.quiet(r, al, now) {
				return false
			}
		}
		return true
	})
}

// reported reports whether the instance reports a critical alert of a shared check.
func (d *document) reported(host string) bool {
	for _, al := range d.Alerts {
		if al.Instance == "" && al.Critical && slices.Contains(al.Reporters, host) {
			return true
		}
	}
	return false
}

// open adds an alert about a subject.
func (d *document) open(k string, s *subject, now time.Time) *state {
	if old := d.Alerts[k]; old != nil {
		d.archive(old)
	}
	al := &state{ID: newID(now), Name: s.name, Instance: s.host, Opened: now, Since: orNow(s.since, now)}
	if d.Alerts == nil {
		d.Alerts = map[string]*state{}
	}
	d.Alerts[k] = al
	return al
}

// update records the current state of a subject with a problem.
func (al *state) update(s *subject, now time.Time) {
	if !al.Ended.IsZero() { // a receiver does not have the end yet: the alert continues
		for _, t := range al.Told {
			if t.Ending { // the receiver may have the end, so it gets a new beginning
				t.Face, t.Ending = clear, false
			}
		}
		al.Ended, al.Noticed, al.Ending, al.Since = time.Time{}, time.Time{}, "", orNow(s.since, now)
		al.rise()
	}
	if s.critical && !al.Critical {
		al.rise()
	}
	al.Face, al.Critical, al.Gone, al.Stopped = s.face, s.critical, time.Time{}, false
	al.Reporters, al.Count, al.Causes = s.reporters, s.count, nil
	if s.blocked {
		al.Causes = s.causes
	}
	if s.seen != nil {
		al.Output, al.Values, al.Runbook = s.seen.Output, s.seen.Values, s.seen.Runbook
	}
}

// rise begins an episode, which needs a key and an acknowledgement of its own.
func (al *state) rise() {
	al.Episode++
	al.AckBy, al.AckAt, al.Audible, al.Heard = "", time.Time{}, time.Time{}, 0
}

func (al *state) end(how string, at, now time.Time) {
	al.Ended, al.Ending, al.Noticed = at, how, now
	if at.Before(al.Since) {
		al.Ended = now
	}
}

// hidden reports whether the alert is the consequence of another one and no receiver got
// a message about it. It is not shown.
func (al *state) hidden() bool { return len(al.Causes) > 0 && !al.everTold() }

// subject is the key of the alert in the document.
func (al *state) subject() string {
	switch {
	case al.Name != "":
		return key(al.Name, al.Instance, al.Instance == "")
	case al.Face == restarts:
		return restartsPrefix + al.Instance
	}
	return lostPrefix + al.Instance
}

// owed reports whether a receiver may believe that the alert is open. Its end is due.
func (al *state) owed() bool {
	for _, t := range al.Told {
		if len(t.Keys) > 0 {
			return true
		}
	}
	return false
}

// everTold reports whether a message about the alert was, or may have been, delivered.
func (al *state) everTold() bool {
	for _, t := range al.Told {
		if t.Messages > 0 || len(t.Keys) > 0 {
			return true
		}
	}
	return false
}

// settle closes the alerts whose end every receiver has. It also closes, and returns,
// those whose end could be sent for so long that it is given up.
func (d *document) settle(now time.Time) (givenUp []*state) {
	for _, k := range slices.Sorted(maps.Keys(d.Alerts)) {
		al := d.Alerts[k]
		if al.Ended.IsZero() {
			continue
		}
		if al.owed() {
			if al.Audible.IsZero() || now.Sub(al.Audible) < orphaned || now.Sub(al.Noticed) < orphaned {
				continue
			}
			givenUp = append(givenUp, al)
		}
		d.archive(al)
		delete(d.Alerts, k)
	}
	return givenUp
}

func (d *document) archive(al *state) {
	if !al.Ended.IsZero() && !al.hidden() && !slices.ContainsFunc(d.Closed, func(c health.Alert) bool { return c.ID == al.ID }) {
		d.Closed = append(d.Closed, al.export())
	}
}

// newID returns a readable ID that sorts by time. It is unique across instances.
func newID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:8])
}
