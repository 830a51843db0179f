package ratelimit

import "time"

// gcra is the generic cell rate algorithm (ATM Forum TM 4.0, I.371) with a burst of
// the whole limit: a key is one instant, at which its bucket would be full again.
type gcra struct {
	window time.Duration
}

type gcraState struct {
	mark
	full int64 // nanoseconds, the "theoretical arrival time"
}

// per is the time in which one unit flows in, rounded up so that no window gets a unit more.
func (a gcra) per(limit int) int64 {
	if limit < 1 {
		return int64(a.window)
	}
	return (int64(a.window) + int64(limit) - 1) / int64(limit)
}

// flow is the time in which units flow in. It counts at most the largest debt, because the
// product must not overflow.
func (a gcra) flow(limit, units int) int64 {
	return min(int64(units), maxDebt*int64(max(limit, 1))) * a.per(limit)
}

func (a gcra) take(e *gcraState, now int64, q ask, book bool) (o outcome) {
	per, flow := a.per(q.limit), a.flow(q.limit, q.cost)
	debt := max(e.full-now, 0)
	over := debt + flow - int64(q.limit)*per
	o.limit, o.allowed = q.limit, q.cost <= q.limit && over <= 0
	switch {
	case o.allowed, q.debt && q.limit > 0, q.record:
		o.allowed = true
	case q.cost > q.limit:
		o.retry = Never
	default:
		o.retry = time.Duration(over)
		switch {
		case q.within > 0 && (over-1)/per >= int64(q.queue):
			o.full = true
		case q.within > 0 && over <= q.within:
			o.allowed, o.delay, o.retry = true, o.retry, 0
		case q.within == 0:
			if flying := e.inFlight(now); flying > 0 && over <= int64(flying)*per {
				o.flying, o.retry = flying, min(o.retry, flightRetry)
			}
		}
	}
	if book && o.allowed {
		e.full = now + min(debt+flow, maxDebt*int64(a.window))
		debt = e.full - now
		o.token = token{at: e.full, gen: e.gen}
		if q.hold {
			e.hold(&o.token, now, q.cost)
		}
	}
	if debt > 0 {
		full, part := (debt-1)/per, (debt-1)%per // units that are still to flow in
		o.used = int(min(full+1, int64(q.limit)))
		o.next = time.Duration(part + 1)
		if over := full + 1 - int64(q.limit); over > 0 { // debt comes first
			o.next += time.Duration(over * per)
		}
		o.reset = time.Duration(debt)
		if o.flying > 0 {
			o.next = min(o.next, o.retry)
		}
	}
	e.block(!o.allowed || o.used >= q.limit)
	return o
}

// settle gives back the unused part of a booking, less the units that have flowed in since: the token
// is the instant up to which the use reached.
func (a gcra) settle(e *gcraState, now int64, limit, cost, actual int, t token) {
	if t.gen == e.gen {
		e.land(t, now, cost)
		if back := min(a.flow(limit, cost-actual), t.at-now); back > 0 {
			e.full -= back
			e.blocked = false
		}
	}
	if actual > cost {
		e.full = now + min(max(e.full-now, 0)+a.flow(limit, actual-cost), maxDebt*int64(a.window))
		e.block(e.full-now > int64(limit-1)*a.per(limit))
	}
}

func (a gcra) bar(e *gcraState, _, until int64, limit int) {
	e.full = max(e.full, until+int64(max(limit, 1)-1)*a.per(limit))
}

func (a gcra) stale(e *gcraState, now int64) bool { return e.full <= now }

func (a gcra) used(e *gcraState) int { return int(min(e.full/int64(time.Millisecond), 1<<30)) }

func (a gcra) mark(e *gcraState) *mark { return &e.mark }
