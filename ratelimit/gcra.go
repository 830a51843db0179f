package ratelimit

import "time"

// gcra is the generic cell rate algorithm (ATM Forum TM 4.0, I.371) with a burst of
// the whole limit: a key is one instant, at which its bucket would be full again.
type gcra struct {
	window time.Duration
}

type gcraState struct {
	full    int64 // nanoseconds, the "theoretical arrival time"
	blocked bool
}

// per is what one unit takes to flow in, rounded up so that no window gets a unit more.
func (a gcra) per(limit int) int64 {
	if limit < 1 {
		return int64(a.window)
	}
	return (int64(a.window) + int64(limit) - 1) / int64(limit)
}

func (a gcra) decide(e *gcraState, now int64, limit, cost int) (o outcome) {
	per := a.per(limit)
	debt := max(e.full-now, 0)
	o.limit = limit
	o.used = int(min((debt+per-1)/per, int64(limit)))
	o.reset = time.Duration(debt)
	if debt > 0 {
		o.next = time.Duration((debt-1)%per + 1)
	}
	if cost > limit {
		o.retry, e.blocked = Never, true
		return o
	}
	over := debt + int64(cost)*per - int64(limit)*per
	o.allowed = over <= 0
	o.retry = time.Duration(max(over, 0))
	e.blocked = !o.allowed
	return o
}

func (a gcra) book(e *gcraState, now int64, cost int, o outcome) outcome {
	per := a.per(o.limit)
	e.full = max(e.full, now) + int64(cost)*per
	o.token = e.full
	debt := e.full - now
	o.used = int((debt + per - 1) / per)
	o.reset = time.Duration(debt)
	o.next = time.Duration((debt-1)%per + 1)
	e.blocked = o.used >= o.limit
	return o
}

// cancel takes off what book put on, less what has flowed in since: token is the
// instant up to which the use reached.
func (a gcra) cancel(e *gcraState, now int64, limit, cost int, token int64) {
	if back := min(int64(cost)*a.per(limit), token-now); back > 0 {
		e.full -= back
		e.blocked = false
	}
}

func (a gcra) stale(e *gcraState, now int64) bool { return e.full <= now }

func (a gcra) used(e *gcraState) (int, bool) {
	return int(min(e.full/int64(time.Millisecond), 1<<30)), e.blocked
}
