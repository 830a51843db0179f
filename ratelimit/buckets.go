package ratelimit

import "time"

// bucketCells is how many buckets are kept: those of a whole window and the current
// one, which is what makes the count conservative. Whatever lies in a bucket counts
// until the youngest use that could be in it has left the window.
const bucketCells = 64

type buckets struct {
	width int64 // nanoseconds; bucketCells-1 of them cover a window
}

func newBuckets(window time.Duration) buckets {
	return buckets{width: (int64(window) + bucketCells - 2) / (bucketCells - 1)}
}

type bucketLog struct {
	cells   *[bucketCells]uint32
	current int64 // number of the newest bucket
	total   uint32
	blocked bool
}

// leaves is the time until bucket b no longer counts.
func (a buckets) leaves(b, now int64) time.Duration {
	return time.Duration((b+bucketCells)*a.width - now)
}

func (a buckets) advance(e *bucketLog, now int64) {
	current := now / a.width
	if e.total > 0 {
		for b := e.current + 1; b <= current && b < e.current+1+bucketCells; b++ {
			cell := &e.cells[b%bucketCells]
			e.total -= *cell
			*cell = 0
		}
	}
	e.current = current
}

func (a buckets) take(e *bucketLog, now int64, limit, cost int, book bool) (o outcome) {
	a.decide(&o, e, now, limit, cost)
	if book && o.allowed {
		a.book(&o, e, now, cost)
	}
	return o
}

// decide fills an o that is zero.
func (a buckets) decide(o *outcome, e *bucketLog, now int64, limit, cost int) {
	a.advance(e, now)
	o.used, o.limit = int(e.total), limit
	o.allowed = cost <= limit-o.used
	e.blocked = !o.allowed
	if !o.allowed && cost > limit {
		o.retry = Never
	}
	if e.total == 0 {
		return
	}
	need := o.used + cost - limit // units that must leave before cost fits
	for b := e.current - bucketCells + 1; b <= e.current; b++ {
		n := int(e.cells[((b%bucketCells)+bucketCells)%bucketCells])
		if n == 0 {
			continue
		}
		o.reset = a.leaves(b, now)
		if o.next == 0 {
			o.next = o.reset
		}
		if need > 0 {
			if need -= n; need <= 0 && o.retry == 0 {
				o.retry = o.reset
			}
		}
	}
}

// book uses what decide has allowed.
func (a buckets) book(o *outcome, e *bucketLog, now int64, cost int) {
	if e.cells == nil {
		e.cells = new([bucketCells]uint32)
	}
	e.cells[e.current%bucketCells] += uint32(cost)
	e.total += uint32(cost)
	o.reset = a.leaves(e.current, now)
	if o.used == 0 {
		o.next = o.reset
	}
	o.used += cost
	o.token = e.current
	e.blocked = o.used >= o.limit
}

func (a buckets) cancel(e *bucketLog, now int64, _, cost int, token int64) {
	a.advance(e, now)
	if e.cells == nil || token <= e.current-bucketCells {
		return
	}
	cell := &e.cells[token%bucketCells]
	back := min(uint32(cost), *cell)
	*cell -= back
	e.total -= back
	e.blocked = false
}

func (a buckets) stale(e *bucketLog, now int64) bool {
	return e.total == 0 || now/a.width-e.current >= bucketCells
}

func (a buckets) used(e *bucketLog) (int, bool) { return int(e.total), e.blocked }
