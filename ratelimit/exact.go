package ratelimit

import "time"

// outcome is what an algorithm found for one key. The durations are as in Result.
type outcome struct {
	allowed bool
	limit   int
	used    int
	retry   time.Duration
	next    time.Duration
	reset   time.Duration
	token   int64 // what cancel must know
}

// algorithm counts the use of one key in an E. now is in nanoseconds since the
// limiter was made, and never falls. An E's zero value has used nothing.
type algorithm[E any] interface {
	// take brings e up to now, says whether cost fits, and uses it if it does and book is
	// set. It returns a value because a pointer would move to the heap on every decision.
	take(e *E, now int64, limit, cost int, book bool) outcome
	// cancel takes back what take booked, as far as it still counts.
	cancel(e *E, now int64, limit, cost int, token int64)
	// stale says that e has used nothing any more.
	stale(e *E, now int64) bool
	// used is how much of a key is lost if e is forgotten; blocked says that it must not be.
	used(e *E) (n int, blocked bool)
}

// exact is the sliding-window log: the instants of all uses in the window, in a ring.
type exact struct {
	window int64
}

// stampLog is one key's log, oldest first. A few instants lie in the table itself.
type stampLog struct {
	ring    *stampRing
	few     [4]int64
	n       uint8 // of few
	blocked bool
}

type stampRing struct {
	buf     []int64
	head, n int
}

func (l *stampLog) len() int {
	if l.ring != nil {
		return l.ring.n
	}
	return int(l.n)
}

// block is a write only where something changes: the entries of hot keys then stay in the
// caches of all processors.
func (l *stampLog) block(blocked bool) {
	if l.blocked != blocked {
		l.blocked = blocked
	}
}

// at returns the i-th oldest stamp.
func (l *stampLog) at(i int) int64 {
	if l.ring != nil {
		return l.ring.buf[l.ring.index(i)]
	}
	return l.few[i]
}

// index is where the i-th oldest lies, for i up to len(buf).
func (r *stampRing) index(i int) int {
	if i += r.head; i >= len(r.buf) {
		i -= len(r.buf)
	}
	return i
}

func (l *stampLog) push(stamp int64) {
	if l.ring == nil {
		if int(l.n) < len(l.few) {
			l.few[l.n] = stamp
			l.n++
			return
		}
		l.ring = &stampRing{buf: make([]int64, 4*len(l.few)), n: len(l.few)}
		copy(l.ring.buf, l.few[:])
	}
	r := l.ring
	if r.n == len(r.buf) {
		buf := make([]int64, 2*len(r.buf))
		k := copy(buf, r.buf[r.head:])
		copy(buf[k:], r.buf[:r.head])
		r.buf, r.head = buf, 0
	}
	r.push(stamp)
}

// push is for a ring that has room.
func (r *stampRing) push(stamp int64) {
	r.buf[r.index(r.n)] = stamp
	r.n++
}

// popFront removes the k oldest.
func (l *stampLog) popFront(k int) {
	if r := l.ring; r != nil {
		r.head = r.index(k)
		r.n -= k
		return
	}
	copy(l.few[:], l.few[k:l.n])
	l.n -= uint8(k)
}

// removeLast removes the newest stamp that equals stamp, and says whether there was one.
func (l *stampLog) removeLast(stamp int64) bool {
	for i := l.len() - 1; i >= 0; i-- {
		if l.at(i) != stamp {
			continue
		}
		if r := l.ring; r != nil {
			for ; i < r.n-1; i++ {
				r.buf[r.index(i)] = r.buf[r.index(i+1)]
			}
			r.n--
		} else {
			copy(l.few[i:], l.few[i+1:l.n])
			l.n--
		}
		return true
	}
	return false
}

// left is the time until stamp leaves the window: it counts for exactly a window.
func (a exact) left(stamp, now int64) time.Duration { return time.Duration(stamp + a.window - now) }

func (a exact) take(e *stampLog, now int64, limit, cost int, book bool) (o outcome) {
	a.decide(&o, e, now, limit, cost)
	if book && o.allowed {
		a.book(&o, e, now, cost)
	}
	return o
}

// decide fills an o that is zero.
func (a exact) decide(o *outcome, e *stampLog, now int64, limit, cost int) {
	n, gone := e.len(), 0
	for gone < n && e.at(gone)+a.window <= now {
		gone++
	}
	if gone > 0 {
		e.popFront(gone)
		n -= gone
	}
	o.used, o.limit = n, limit
	if n > 0 {
		o.next = a.left(e.at(0), now)
		o.reset = a.left(e.at(n-1), now)
	}
	o.allowed = cost <= limit-n
	e.block(!o.allowed)
	switch {
	case o.allowed:
	case cost > limit:
		o.retry = Never
	default:
		o.retry = a.left(e.at(n+cost-limit-1), now)
	}
}

// book uses what decide has allowed.
func (a exact) book(o *outcome, e *stampLog, now int64, cost int) {
	for range cost {
		if r := e.ring; r != nil && r.n < len(r.buf) { // without a call
			r.push(now)
		} else {
			e.push(now)
		}
	}
	o.reset = time.Duration(a.window)
	if o.used == 0 {
		o.next = o.reset
	}
	o.used += cost
	o.token = now
	e.block(o.used >= o.limit)
}

// penalise books what was denied in place of the oldest uses, for CountDenied.
func (a exact) penalise(e *stampLog, now int64, limit, cost int) {
	cost = min(cost, limit)
	if over := e.len() + cost - limit; over > 0 {
		e.popFront(min(over, e.len()))
	}
	for range cost {
		e.push(now)
	}
}

// cancel removes cost stamps of one instant. Others may have been booked at the same
// instant, and it does not matter whose are removed.
func (a exact) cancel(e *stampLog, _ int64, _, cost int, token int64) {
	for range cost {
		if !e.removeLast(token) {
			return
		}
	}
	e.blocked = false
}

func (a exact) stale(e *stampLog, now int64) bool {
	n := e.len()
	return n == 0 || e.at(n-1)+a.window <= now
}

func (a exact) used(e *stampLog) (int, bool) { return e.len(), e.blocked }
