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

func (a gcra) take(e *gcraState, now int64, limit, cost int, book bool) (o outcome) {
	per := a.per(limit)
	debt := max(e.full-now, 0)
	over := debt + int64(cost)*per - int64(limit)*per
	o.limit, o.allowed = limit, cost <= limit && over <= 0
	switch {
	case cost > limit:
		o.retry = Never
	case !o.allowed:
		o.retry = time.Duration(over)
	case book:
		debt += int64(cost) * per
		e.full = now + debt
		o.token = e.full
	}
	if debt > 0 {
		full, part := (debt-1)/per, (debt-1)%per // units that are still to flow in
		o.used = int(min(full+1, int64(limit)))
		o.next = time.Duration(part + 1)
		o.reset = time.Duration(debt)
	}
	e.blocked = !o.allowed || o.used >= limit
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
