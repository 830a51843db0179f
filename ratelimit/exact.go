package ratelimit

import "time"

// ask is one question to an algorithm.
type ask struct {
	limit, cost int
	within      int64 // how far in the future the units may lie, in nanoseconds
	queue       int   // how many units may wait
	peek        bool  // makes no change
	debt        bool  // books whether it fits or not
	hold        bool  // the units are in flight until they are settled
	record      bool  // books what another limiter has allowed
}

// outcome is the result of an algorithm for one key. The durations are as in Result.
type outcome struct {
	allowed bool
	full    bool // the queue is
	limit   int
	used    int
	flying  int // units in flight, when the denial is due to them
	retry   time.Duration
	next    time.Duration
	reset   time.Duration
	delay   time.Duration
	token   token
}

// token finds a booking again.
type token struct {
	at     int64
	gen    uint32
	hold   bool
	minute uint8 // of hold, as in mark
}

// mark is what every algorithm keeps of a key beside its count.
type mark struct {
	gen     uint32   // distinguishes the entry from an earlier one of the same key
	flying  [2]int32 // units in flight that were booked in this minute, and in the one before
	minute  uint8    // of flying[0], modulo 256
	n       uint8    // pairs of a useLog in few: here the number needs no room of its own
	blocked bool     // the key is used up: its entry must not be evicted
	barred  bool     // by bar, as long as it is blocked
}

// inFlight returns the units in flight. A unit that a caller never settles is in flight for one to two minutes.
func (m *mark) inFlight(now int64) int {
	if minute := uint8(now / int64(time.Minute)); minute != m.minute {
		if minute-m.minute == 1 {
			m.flying[1] = m.flying[0]
		} else {
			m.flying[1] = 0
		}
		m.flying[0], m.minute = 0, minute
	}
	return int(m.flying[0] + m.flying[1])
}

// hold books units in flight.
func (m *mark) hold(t *token, now int64, units int) {
	m.inFlight(now)
	m.flying[0] += int32(units)
	t.hold, t.minute = true, m.minute
}

// land is for units whose outcome is known.
func (m *mark) land(t token, now int64, units int) {
	m.inFlight(now)
	if age := m.minute - t.minute; t.hold && age < 2 {
		m.flying[age] -= int32(units)
	}
}

// block is a write only where something changes: the entries of hot keys then stay in the
// caches of all processors.
func (m *mark) block(blocked bool) {
	if m.blocked != blocked {
		m.blocked, m.barred = blocked, false
	}
}

// algorithm counts the use of one key in an E. now is in nanoseconds since the
// limiter was made, and never falls. An E's zero value has no uses.
type algorithm[E any] interface {
	// take brings e up to now, says whether the cost fits, and uses it if it does and book
	// is set. It returns a value because a pointer would move to the heap.
	take(e *E, now int64, q ask, book bool) outcome
	// settle turns a booking of cost units into one of actual units.
	settle(e *E, now int64, limit, cost, actual int, t token)
	// bar uses everything up until an instant.
	bar(e *E, now, until int64, limit int)
	// stale reports whether all uses of e have ended.
	stale(e *E, now int64) bool
	// used is how much of a key is lost if e is forgotten.
	used(e *E) int
	mark(e *E) *mark
}

const (
	// maxInstants is how many instants of one window Exact tells apart for a limit above
	// it; below it all.
	maxInstants = 4096
	// bucketCells is the number of instants in a window that Buckets tells apart.
	bucketCells = 63
	// maxDebt bounds debt, in limits.
	maxDebt = 64
	// flightRetry is how soon a client should try again when units in flight are all
	// that is in its way.
	flightRetry = time.Second
)

// exact is the sliding-window log. Buckets is the same with instants rounded up.
type exact struct {
	window int64
	grain  int64 // of instants, 0 for those of the clock
}

func newBuckets(window time.Duration) exact {
	return exact{window: int64(window), grain: (int64(window) + bucketCells - 1) / bucketCells}
}

// stamp is the instant from which a use at now counts.
func (a exact) stamp(now int64, limit int) int64 {
	grain := a.grain
	if grain == 0 {
		if limit <= maxInstants {
			return now
		}
		grain = (a.window + maxInstants - 1) / maxInstants
	}
	return (now/grain + 1) * grain
}

// left is the time until units of an instant leave the window: they count for exactly one.
func (a exact) left(at, now int64) time.Duration { return time.Duration(at + a.window - now) }

func (a exact) take(e *useLog, now int64, q ask, book bool) (o outcome) {
	a.decide(&o, e, now, q.limit, q.cost)
	if !o.allowed && (q.within > 0 || q.debt || q.record) {
		a.extend(&o, e, now, &q)
	}
	if book && o.allowed {
		a.book(&o, e, now, &q)
	}
	return o
}

// decide fills an o that is zero.
func (a exact) decide(o *outcome, e *useLog, now int64, limit, cost int) {
	n, gone := e.len(), 0
	for gone < n {
		u := e.at(gone)
		if u.at+a.window > now {
			break
		}
		e.total -= u.n
		gone++
	}
	if gone > 0 {
		e.popFront(gone)
		n -= gone
	}
	used := int(e.total)
	o.used, o.limit = used, limit
	if n > 0 {
		o.next = a.left(e.at(0).at, now)
		o.reset = a.left(e.at(n-1).at, now)
		if used > limit {
			o.next = a.left(e.reach(int64(min(used-limit+1, used))), now)
		}
	}
	o.allowed = cost <= limit-used
	e.block(!o.allowed)
	switch {
	case o.allowed:
	case cost > limit:
		o.retry = Never
	default:
		o.retry = a.left(e.reach(int64(used+cost-limit)), now)
		if flying := e.inFlight(now); flying > 0 && used-flying+cost <= limit {
			o.flying = flying
			o.retry = min(o.retry, flightRetry)
			o.next = min(o.next, o.retry)
		}
	}
}

// extend allows units that may wait, and debt.
func (a exact) extend(o *outcome, e *useLog, now int64, q *ask) {
	if q.limit > 0 && (q.debt || q.record) {
		o.allowed, o.flying = true, 0
		return
	}
	if q.cost > q.limit {
		return
	}
	at := max(e.reach(int64(o.used+q.cost-q.limit))+a.window, e.at(e.len()-1).at)
	o.retry, o.flying = time.Duration(at-now), 0
	switch {
	case o.used+q.cost-q.limit > q.queue:
		o.full = true
	case at-now <= q.within:
		o.allowed, o.delay = true, time.Duration(at-now)
	}
}

// book adds allowed units to the log.
func (a exact) book(o *outcome, e *useLog, now int64, q *ask) {
	cost := int64(q.cost)
	switch {
	case q.debt:
		o.token.at = a.owe(e, now, q.limit, cost)
	case o.delay > 0:
		o.token.at = a.stamp(now+int64(o.delay), q.limit)
		e.add(o.token.at, cost)
	default:
		o.token.at = a.stamp(now, q.limit)
		e.add(o.token.at, cost)
	}
	o.retry = 0
	if q.hold {
		e.hold(&o.token, now, q.cost)
	}
	o.token.gen = e.gen
	o.reset = a.left(e.at(e.len()-1).at, now)
	if o.used == 0 {
		o.next = a.left(e.at(0).at, now)
	}
	o.used = int(e.total)
	e.block(o.used >= o.limit)
}

// owe books units whether they fit or not: as many as fit now, and the rest one after the
// other in the future, as soon as they fit there, so that no window holds more than the limit
// and the debt is paid back.
func (a exact) owe(e *useLog, now int64, limit int, units int64) (at int64) {
	now = a.stamp(now, limit)
	if limit < 1 {
		return now
	}
	units = min(units, maxDebt*int64(limit))
	if room := min(units, int64(limit)-e.total); room > 0 {
		e.add(now, room)
		units -= room
	}
	at = now
	if n := e.len(); n > 0 {
		at = max(at, e.at(n-1).at)
	}
	for most, steps := now+2*maxDebt*a.window, 0; units > 0 && at < most; steps++ {
		// What lies in the window that ends at this instant, and the oldest of it.
		used, first := int64(0), e.len()
		for ; first > 0 && e.at(first-1).at+a.window > at; first-- {
			used += e.at(first - 1).n
		}
		room := int64(limit) - used
		switch {
		case room > 0:
			e.add(at, min(room, units))
			units -= room
		case steps < maxDebt:
			at = e.at(first).at + a.window
		default: // few large steps in place of many small ones
			at += a.window
		}
	}
	return now
}

// penalise books denied units, for CountDenied: as many as fit, and the others in place of the
// oldest uses. The units of a bar, and those that lie in the future, stay where they are.
func (a exact) penalise(e *useLog, now int64, limit, cost int) {
	now = a.stamp(now, limit)
	units := min(int64(cost), int64(limit))
	rest := max(units-max(int64(limit)-e.total, 0), 0) // has to replace uses
	for i := 0; rest > 0 && i < e.len() && e.at(i).at <= now; {
		u := *e.at(i)
		if u.n >= maxLimit { // a bar
			i++
			continue
		}
		k := min(rest, u.n)
		rest -= k
		e.take(u.at, k)
	}
	if units > rest {
		e.add(now, units-rest)
	}
}

func (a exact) settle(e *useLog, now int64, limit, cost, actual int, t token) {
	if t.gen == e.gen {
		e.land(t, now, cost)
		if actual < cost {
			e.take(t.at, int64(cost-actual))
			e.blocked = false
		}
	}
	if actual > cost {
		a.owe(e, now, limit, int64(actual-cost))
		e.block(e.total >= int64(limit))
	}
}

// bar books more than any limit at the instant that leaves the window then.
func (a exact) bar(e *useLog, _, until int64, _ int) {
	e.add(until-a.window, maxLimit)
}

func (a exact) stale(e *useLog, now int64) bool {
	n := e.len()
	return n == 0 || e.at(n-1).at+a.window <= now
}

func (a exact) used(e *useLog) int { return int(e.total) }

func (a exact) mark(e *useLog) *mark { return &e.mark }

// takeExact is shards.take, into an o that is zero, for the question that most callers ask.
// A generic method reaches its algorithm through a table and must pass outcomes by
// value, which together takes a quarter of a decision; here the compiler knows both.
func takeExact(s *shards[useLog, exact], key string, now int64, limit, cost int, o *outcome) {
	h := hashKey(s.seed, s.mask, key)
	sh := &s.shards[h.shard]
	if d := sh.denial.Load(); d != nil && cost == 1 && d.answer(o, h, key, now, limit) {
		sh.spared.Add(1)
		return
	}
	sh.mu.Lock()
	now = sh.notBefore(now)
	e := s.find(sh, h, key, now)
	if e == nil {
		e = sh.lend()
	}
	s.algo.decide(o, e, now, limit, cost)
	switch {
	case o.allowed && e != sh.unused:
		sh.allowed++
		sh.withdraw(h)
		at := s.algo.stamp(now, limit)
		if n := e.len(); n > 0 && e.at(n-1).at == at {
			e.at(n - 1).n += int64(cost)
			e.total += int64(cost)
		} else {
			e.add(at, int64(cost))
		}
		if o.used == 0 {
			o.next = s.algo.left(at, now)
		}
		o.reset = max(o.reset, s.algo.left(at, now))
		o.used += cost
		o.token.at, o.token.gen = at, e.gen
		e.block(o.used >= limit)
	case !o.allowed && s.penalise == nil:
		sh.denied++
		if cost == 1 && o.flying == 0 {
			sh.remember(h, key, now, o)
		}
	default:
		*o = s.commit(sh, h, key, e, now, ask{limit: limit, cost: cost}, *o)
	}
	sh.mu.Unlock()
}

// use is a number of units that count from one instant on.
type use struct {
	at, n int64
}

// useLog is the log of one key: its uses, oldest first, as pairs of an instant and a
// number of units. A few pairs lie in the table itself. Pairs may lie in the future:
// units that a waiter has reserved, and debt.
type useLog struct {
	mark
	few   [3]use
	ring  *useRing
	total int64 // units of all pairs
}

type useRing struct {
	buf     []use
	head, n int
}

func (l *useLog) len() int {
	if l.ring != nil {
		return l.ring.n
	}
	return int(l.n)
}

// at returns the i-th oldest pair.
func (l *useLog) at(i int) *use {
	if r := l.ring; r != nil {
		return &r.buf[r.index(i)]
	}
	return &l.few[i]
}

// index is where the i-th oldest lies, for i up to len(buf).
func (r *useRing) index(i int) int {
	if i += r.head; i >= len(r.buf) {
		i -= len(r.buf)
	}
	return i
}

// add books n units at an instant. The newest pair takes them if it has that instant.
func (l *useLog) add(at, n int64) {
	l.total += n
	i := l.len()
	for i > 0 && l.at(i-1).at > at { // only where pairs lie in the future
		i--
	}
	if i > 0 && l.at(i-1).at == at {
		l.at(i - 1).n += n
		return
	}
	l.push(use{at, n})
	for j := l.len() - 1; j > i; j-- {
		*l.at(j), *l.at(j - 1) = *l.at(j - 1), *l.at(j)
	}
}

func (l *useLog) push(u use) {
	if l.ring == nil {
		if int(l.n) < len(l.few) {
			l.few[l.n] = u
			l.n++
			return
		}
		l.ring = &useRing{buf: make([]use, 4*len(l.few)), n: len(l.few)}
		copy(l.ring.buf, l.few[:])
	}
	r := l.ring
	if r.n == len(r.buf) {
		buf := make([]use, 2*len(r.buf))
		k := copy(buf, r.buf[r.head:])
		copy(buf[k:], r.buf[:r.head])
		r.buf, r.head = buf, 0
	}
	r.buf[r.index(r.n)] = u
	r.n++
}

// popFront removes the k oldest pairs, whose units the caller has taken off total.
func (l *useLog) popFront(k int) {
	if r := l.ring; r != nil {
		r.head = r.index(k)
		r.n -= k
		return
	}
	copy(l.few[:], l.few[k:l.n])
	l.n -= uint8(k)
}

// take removes up to n units of one instant.
func (l *useLog) take(at, n int64) {
	low, high := 0, l.len()
	for low < high {
		if middle := (low + high) / 2; l.at(middle).at < at {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == l.len() || l.at(low).at != at {
		return
	}
	u := l.at(low)
	n = min(n, u.n)
	u.n -= n
	l.total -= n
	if u.n > 0 {
		return
	}
	last := l.len() - 1
	for ; low < last; low++ {
		*l.at(low) = *l.at(low + 1)
	}
	if l.ring != nil {
		l.ring.n--
	} else {
		l.n--
	}
}

// reach returns the instant of the oldest pair up to which there are so many units,
// which is at most total.
func (l *useLog) reach(units int64) int64 {
	i := 0
	for units -= l.at(0).n; units > 0; units -= l.at(i).n {
		i++
	}
	return l.at(i).at
}
