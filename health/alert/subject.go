package alert

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// subject is one thing that can be in trouble: a check that all replicas share,
// or a check on one of them.
type subject struct {
	key, name string
	hosts     []string // who sees the trouble
	critical  bool
	face      face
	quiet     bool // silenced or in maintenance: face is what people were last told
	blocked   []string
	since     time.Time
	output    string
	values    []string
	runbook   string
}

// subjects merges what the replicas see, bad or not, sorted with the worst
// first.
func (d *document) subjects(now time.Time, r *rules) []subject {
	found := map[string]*subject{}
	for _, host := range slices.Sorted(maps.Keys(d.Instances)) {
		for name, o := range d.Instances[host].Checks {
			key := name
			if !o.Shared {
				key += "@" + host
			}
			s := found[key]
			if s == nil {
				s = &subject{key: key, name: name}
				found[key] = s
			}
			s.merge(host, o, r.minStatus)
		}
	}
	if d.Incident != nil { // what people were told of stays visible while it is silenced
		for key, t := range d.Incident.Told {
			if found[key] == nil && t.Face != clear {
				found[key] = &subject{key: key, name: t.Name}
			}
		}
	}
	out := make([]subject, 0, len(found))
	for _, s := range found {
		var known told
		if d.Incident != nil {
			known = d.Incident.Told[s.key]
		}
		if len(s.blocked) > 0 && known.Face == clear {
			s.face = clear // a consequence; once told, it is told to its end
		}
		if r.quiet(d, s.name, now) {
			if s.face == clear && known.Face == clear {
				continue
			}
			s.quiet = true
			s.face, s.since = known.Face, cmpTime(known.Since, s.since)
		}
		if s.face != clear || s.quiet || len(s.blocked) > 0 {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b subject) int {
		return cmp.Or(b.rank()-a.rank(), cmp.Compare(a.name, b.name), cmp.Compare(a.key, b.key))
	})
	return out
}

func cmpTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

// merge adds what one replica sees.
func (s *subject) merge(host string, o *observation, minStatus health.Status) {
	f := clear
	switch {
	case o.Flapping:
		f = flapping
	case o.Status == health.Fail:
		f = fail
	case o.Status == health.Warn && minStatus <= health.Warn:
		f = warn
	}
	s.critical = s.critical || o.Critical
	if f == clear {
		return
	}
	s.hosts = append(s.hosts, host)
	if f.weight() > s.face.weight() {
		s.face, s.output, s.values, s.runbook, s.blocked = f, o.Output, o.Values, o.Runbook, o.Blocked
	}
	if s.since.IsZero() || o.Since.Before(s.since) {
		s.since = o.Since
	}
}

// weight orders faces by trouble. Flapping covers the others: while it lasts
// they mean little.
func (f face) weight() int { return slices.Index([]face{clear, warn, fail, flapping}, f) }

func (s *subject) rank() int {
	rank := slices.Index([]face{clear, flapping, warn, fail}, s.face) * 2
	if s.critical {
		rank++
	}
	return rank
}
