package alert

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// rules are the parts of Options that decisions depend on.
type rules struct {
	instance      string
	once          bool     // a command that ends after one look
	known         []string // names of the registry's checks
	minStatus     health.Status
	groupWait     time.Duration
	groupInterval time.Duration
	reminders     []time.Duration
	// slack lets a reminder go out early, for a command that looks once an hour
	// and never exactly.
	slack      time.Duration
	believe    time.Duration // how long others believe what this replica said
	noRecovery bool
	maxPerHour int
	windows    []Window
}

// kind says what a message is for.
type kind string

const (
	problem  kind = "problem"
	update   kind = "update"
	reminder kind = "reminder"
	recovery kind = "recovery"
)

// plan is a message to be sent now.
type plan struct {
	kind     kind
	incident incident // as before the message
	bad      []subject
	over     []told // recovered since the last message, or in a recovery all of them
	gone     []string
	blocked  []subject // consequences of bad ones
	silent   []subject // bad, and held back
	worse    bool      // something joined or got worse
	muted    time.Time // set if this message is the last before the cap, until then
	nextAt   time.Time // of the next reminder
}

// decide is the pure core: it looks at what the replicas see and at what people
// know, and returns the message that is due, if any, and when to look again at
// the latest. It changes only the bookkeeping of d; the caller reports with
// delivered or failed how the message fared.
//
// A message about changes waits for groupWait; four times as long if the changes
// are all for the better, or while checks are unsettled, bad but not yet confirmed
// so: checks with long intervals notice one cause at different moments.
func (d *document) decide(now time.Time, r *rules, unsettled bool) (*plan, time.Time) {
	d.prune(now)
	all := d.subjects(now, r)
	var p plan
	for _, s := range all {
		switch {
		case s.quiet && s.face == clear:
			p.silent = append(p.silent, s)
		case s.face != clear:
			p.bad = append(p.bad, s)
		case len(s.blocked) > 0:
			p.blocked = append(p.blocked, s)
		}
	}
	inc := d.Incident
	if inc == nil {
		if len(p.bad) == 0 {
			return nil, time.Time{}
		}
		inc = &incident{ID: newID(now), Opened: now}
		for _, s := range p.bad {
			if !s.since.IsZero() && s.since.Before(inc.Opened) {
				inc.Opened = s.since
			}
		}
		d.Incident = inc
	}
	p.incident = *inc
	changed := p.compare(inc, d.Instances)
	if len(p.bad) == 0 && (r.noRecovery || !changed) {
		// Nobody wants to hear that it is over, or nobody was told that it began.
		d.close()
		return nil, time.Time{}
	}
	due, wake := d.due(now, r, &p, changed, unsettled)
	if !due {
		return nil, wake
	}
	if free, ok := d.room(r); !ok {
		return nil, free
	} else if !free.IsZero() {
		p.muted = free
	}
	after := d.afterwards(now, r, &p)
	p.nextAt = after.reminderAt(r)
	return &p, time.Time{}
}

// compare fills in what is new against what people know, and reports whether
// anything is.
func (p *plan) compare(inc *incident, instances map[string]*instance) (changed bool) {
	now := map[string]face{}
	for _, s := range p.bad {
		now[s.key] = s.face
		known := inc.Told[s.key].Face
		changed = changed || known != s.face
		p.worse = p.worse || s.face.weight() > known.weight()
	}
	for key, t := range inc.Told {
		if now[key] != clear || t.Face == clear {
			continue
		}
		changed = true
		p.over = append(p.over, t)
		if host := hostOf(key, t.Name); host != "" && instances[host] == nil {
			p.gone = append(p.gone, t.Name+" on "+host)
		}
	}
	slices.SortFunc(p.over, func(a, b told) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(p.gone)
	return changed
}

// hostOf returns the replica in the key of a subject that is not shared.
func hostOf(key, name string) string {
	host, _ := strings.CutPrefix(key, name+"@")
	if host == key {
		return ""
	}
	return host
}

// due decides whether a message goes out at now, sets its kind, and otherwise
// says when to look again.
func (d *document) due(now time.Time, r *rules, p *plan, changed, unsettled bool) (bool, time.Time) {
	inc := d.Incident
	var at time.Time
	switch {
	case changed:
		if inc.Pending.IsZero() || inc.Pending.After(now) {
			inc.Pending = now
		}
		at = inc.Pending.Add(r.groupWait)
		if unsettled || !p.worse { // good news can wait for more of them
			at = at.Add(3 * r.groupWait)
		}
		if between := inc.LastSent.Add(r.groupInterval); inc.Delivered > 0 && between.After(at) {
			at = between
		}
		switch {
		case len(p.bad) == 0:
			p.kind = recovery
			for _, t := range inc.Told {
				if t.Face == clear { // recovered and told before
					p.over = append(p.over, t)
				}
			}
			slices.SortFunc(p.over, func(a, b told) int { return cmp.Compare(a.Name, b.Name) })
		case inc.Delivered == 0:
			p.kind = problem
		default:
			p.kind = update
		}
	default:
		inc.Pending = time.Time{}
		p.kind = reminder
		at = inc.reminderAt(r)
		if at.IsZero() || !slices.ContainsFunc(p.bad, func(s subject) bool { return !s.quiet && s.face != flapping }) {
			return false, time.Time{}
		}
		at = at.Add(-r.slack)
	}
	if inc.Attempts > 0 && inc.RetryAt.After(at) {
		at = inc.RetryAt
	}
	return !now.Before(at), at
}

// maxReminded keeps the arithmetic of reminders far from an overflow.
const maxReminded = 10_000

// reminderAt returns when the next reminder is due; zero if never.
func (inc *incident) reminderAt(r *rules) time.Time {
	if len(r.reminders) == 0 || inc.Base.IsZero() {
		return time.Time{}
	}
	last := len(r.reminders) - 1
	if inc.Reminded > maxReminded {
		return time.Time{}
	}
	if inc.Reminded <= last {
		return inc.Base.Add(r.reminders[inc.Reminded])
	}
	return inc.Base.Add(r.reminders[last] * time.Duration(inc.Reminded-last+1))
}

// room applies the cap. A time with ok means that this message is the last one
// until then; a time without ok, that there is no room until then.
func (d *document) room(r *rules) (until time.Time, ok bool) {
	if len(d.Sent) >= r.maxPerHour {
		return d.Sent[len(d.Sent)-r.maxPerHour].Add(capWindow), false
	}
	if len(d.Sent) == r.maxPerHour-1 {
		if len(d.Sent) > 0 {
			return d.Sent[0].Add(capWindow), true
		}
	}
	return time.Time{}, true
}

// delivered records that people know what p says.
func (d *document) delivered(now time.Time, r *rules, p *plan) {
	d.Sent = append(d.Sent, now)
	if p.kind == recovery {
		d.close()
		return
	}
	after := d.afterwards(now, r, p)
	d.Incident = &after
}

// afterwards returns the incident as it will be once p has been delivered.
func (d *document) afterwards(now time.Time, r *rules, p *plan) incident {
	inc := *d.Incident
	inc.Told = maps.Clone(inc.Told)
	if inc.Told == nil {
		inc.Told = map[string]told{}
	}
	for key, t := range inc.Told {
		t.Face = clear
		inc.Told[key] = t
	}
	for _, s := range p.bad {
		since := s.since
		if t, ok := inc.Told[s.key]; ok && !t.Since.IsZero() && t.Since.Before(since) {
			since = t.Since
		}
		inc.Told[s.key] = told{Name: s.name, Face: s.face, Since: since}
	}
	inc.Delivered++
	inc.LastSent, inc.Pending, inc.Attempts, inc.RetryAt = now, time.Time{}, 0, time.Time{}
	if p.worse || inc.Base.IsZero() {
		inc.Base, inc.Reminded = now, 0
	}
	for tries := 0; ; tries++ {
		at := inc.reminderAt(r)
		if at.IsZero() || at.Add(-r.slack).After(now) {
			return inc
		}
		inc.Reminded++ // also those that a standstill has swallowed
		if tries == 1000 {
			inc.Base, inc.Reminded = now, 0 // years of them: a clock was wrong
			return inc
		}
	}
}

// failed records a delivery that did not succeed; pause is until the next one.
func (d *document) failed(now time.Time, pause time.Duration) {
	d.Incident.Attempts++
	d.Incident.RetryAt = now.Add(pause)
}

func (d *document) close() {
	if d.Incident != nil {
		d.Closed = append(d.Closed, d.Incident.ID)
		d.Incident = nil
	}
}

// newID is readable, sorts by time, and two replicas do not make the same.
func newID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + rand.Text()[:8]
}
