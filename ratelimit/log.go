package ratelimit

// use is a number of units that count from one instant on.
type use struct {
	at, n int64
}

// useLog is the log of one key: its uses, oldest first, as pairs of an instant and a
// number of units. A few pairs lie in the table itself. Pairs may lie in the future:
// units that a waiter has reserved, and debt.
type useLog struct {
	mark
	n     uint8 // of few
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
