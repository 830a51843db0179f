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
	span    uint8 // how far before the current one the oldest lies that anything is in
	blocked bool
}

func (e *bucketLog) cell(b int64) *uint32 { return &e.cells[uint64(b)%bucketCells] }

// leaves is the time until bucket b no longer counts.
func (a buckets) leaves(b, now int64) time.Duration {
	return time.Duration((b+bucketCells)*a.width - now)
}

// advance empties the buckets that no longer count. Outside of those from the oldest to
// the current one all are empty.
func (a buckets) advance(e *bucketLog, now int64) {
	current := now / a.width
	oldest := e.current - int64(e.span)
	for ; e.total > 0 && oldest < current; oldest++ {
		cell := e.cell(oldest)
		if *cell > 0 && oldest > current-bucketCells {
			break
		}
		e.total -= *cell
		*cell = 0
	}
	if e.total == 0 {
		oldest = current
	}
	e.current, e.span = current, uint8(current-oldest)
}

func (a buckets) take(e *bucketLog, now int64, limit, cost int, book bool) (o outcome) {
	a.advance(e, now)
	o.used, o.limit = int(e.total), limit
	o.allowed = cost <= limit-o.used
	switch {
	case cost > limit:
		o.retry = Never
	case !o.allowed:
		o.retry = a.wait(e, now, o.used+cost-limit)
	case book:
		a.book(e, cost)
		o.used += cost
		o.token = e.current
	}
	if e.total > 0 {
		newest := e.current
		for *e.cell(newest) == 0 {
			newest--
		}
		o.next, o.reset = a.leaves(e.current-int64(e.span), now), a.leaves(newest, now)
	}
	e.blocked = !o.allowed || o.used >= limit
	return o
}

func (a buckets) book(e *bucketLog, cost int) {
	if e.cells == nil {
		e.cells = new([bucketCells]uint32)
	}
	*e.cell(e.current) += uint32(cost)
	e.total += uint32(cost)
}

// wait is the time until so many units, which are in use, have left.
func (a buckets) wait(e *bucketLog, now int64, units int) time.Duration {
	b := e.current - int64(e.span)
	for units -= int(*e.cell(b)); units > 0; units -= int(*e.cell(b)) {
		b++
	}
	return a.leaves(b, now)
}

func (a buckets) cancel(e *bucketLog, now int64, _, cost int, token int64) {
	a.advance(e, now)
	if e.cells == nil || token <= e.current-bucketCells {
		return
	}
	back := min(uint32(cost), *e.cell(token))
	*e.cell(token) -= back
	e.total -= back
	e.blocked = false
	a.advance(e, now)
}

func (a buckets) stale(e *bucketLog, now int64) bool {
	return e.total == 0 || now/a.width-e.current >= bucketCells
}

func (a buckets) used(e *bucketLog) (int, bool) { return int(e.total), e.blocked }
