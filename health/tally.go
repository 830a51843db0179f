package health

import "time"

// share is the contribution of one check to the states of the service.
type share struct {
	status Status // weighted: the effect on /health/
	ready  Status // the effect on /ready/: Pass, Warn, Fail, or Unknown while it is starting
}

// share returns the contribution of a check.
func (c *CheckState) share() share {
	return shareOf(c.Critical, c.Ready, c.Status, c.Prompt)
}

func shareOf(critical, inReady bool, status, prompt Status) share {
	s := share{status: weigh(critical, status), ready: Pass}
	if !inReady {
		return s
	}
	switch {
	case prompt == Fail:
		s.ready = Fail
	case prompt == Unknown && (status == Unknown || status == Fail):
		s.ready = Unknown
	case status >= Warn:
		s.ready = Warn
	}
	return s
}

// tally counts the shares of all checks. One result then changes the states of the
// service without reading the other checks.
type tally struct {
	status, ready [Fail + 1]int
}

func (t *tally) add(s share, n int) {
	t.status[s.status] += n
	t.ready[s.ready] += n
}

// verdict returns the states of /health/ and /ready/, and the phase, which also depends
// on checks that are still starting.
func (t *tally) verdict(phase Phase) (health, ready Status, p Phase) {
	health, ready = Pass, Pass
	for s := Warn; s <= Fail; s++ {
		if t.status[s] > 0 {
			health = s
		}
		if t.ready[s] > 0 {
			ready = s
		}
	}
	if t.ready[Unknown] > 0 && phase == Serving {
		phase = Starting
	}
	if phase != Serving {
		ready = Fail
	}
	return health, ready, phase
}

// count brings the tally and the bounds of the view up to date with one slot.
// Callers hold r.mu.
func (r *Registry) count(s *slot, now time.Time) {
	r.tally.add(s.share, -1)
	status, prompt := s.last.status, s.prompt.confirmed
	if s.stale(now) {
		status, prompt = Fail, Fail
	} else if s.last.kind != KindPending {
		r.staleFrom = earlier(r.staleFrom, s.staleAt())
	}
	r.dueFrom = earlier(r.dueFrom, s.dueAt())
	s.share = shareOf(s.Critical, s.inReady, status, prompt)
	r.tally.add(s.share, 1)
}

// recount reads every slot, after time has passed or checks were added or removed.
// Between two recounts staleFrom and dueFrom are lower bounds, because a new result
// only makes a slot stale and due later. Callers hold r.mu.
func (r *Registry) recount(now time.Time) {
	r.tally = tally{}
	r.staleFrom, r.dueFrom = now.Add(24*time.Hour), now.Add(24*time.Hour)
	for _, s := range r.slots {
		r.tally.add(s.share, 1)
		r.count(s, now)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
