package ratelimit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// waiting holds the callers that sleep until they may use their units, one queue a key, in the
// order of their instants. When a caller gives its units up, each caller behind it takes the
// instant of the one in front, and only the last instant is given back. The log holds no unit
// that it did not hold before, so no window gets more than the limit.
type waiting struct {
	callers atomic.Int64
	mu      sync.Mutex
	queues  map[string][]*waiter
}

type waiter struct {
	r     *Reservation  // its booked is guarded by mu
	due   time.Time     // it may use its units
	armed time.Time     // its timer fires
	moved chan struct{} // due is before armed
}

// sleep returns when the units of r may be used. After an error the caller gives them back.
func (q *waiting) sleep(ctx context.Context, r *Reservation, delay time.Duration) error {
	due := time.Now().Add(delay)
	w := &waiter{r: r, due: due, armed: due, moved: make(chan struct{}, 1)}
	q.mu.Lock()
	q.callers.Add(1)
	if q.queues == nil {
		q.queues = make(map[string][]*waiter)
	}
	list := q.queues[r.key]
	i := len(list)
	for i > 0 && list[i-1].r.booked.at > r.booked.at {
		i--
	}
	q.queues[r.key] = slices.Insert(list, i, w)
	q.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			q.mu.Lock()
			q.remove(r)
			q.mu.Unlock()
			return nil
		case <-w.moved:
			q.mu.Lock()
			timer.Reset(time.Until(w.due))
			q.mu.Unlock()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remove takes r out of its queue, and returns the callers behind it. mu is held.
func (q *waiting) remove(r *Reservation) (self *waiter, behind []*waiter) {
	list := q.queues[r.key]
	i := slices.IndexFunc(list, func(w *waiter) bool { return w.r == r })
	if i < 0 {
		return nil, nil
	}
	self = list[i]
	list = slices.Delete(list, i, i+1)
	q.callers.Add(-1)
	if len(list) == 0 {
		delete(q.queues, r.key)
	} else {
		q.queues[r.key] = list
		wake(list[0])
	}
	return self, list[i:]
}

// wake makes the first caller of a queue look at its instant again. The others are woken when
// they are first, so a shift wakes one caller and not all.
func wake(w *waiter) {
	if w.due.Before(w.armed) {
		w.armed = w.due
		select {
		case w.moved <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

// freed is units that a settlement gives back.
type freed struct {
	token token
	cost  int
}

// leave gives up r, whether it waits or not. It returns what is given back in its place.
func (q *waiting) leave(r *Reservation, now int64) (list []freed) {
	q.mu.Lock()
	defer q.mu.Unlock()
	free := freed{r.booked, r.result.Cost}
	self, behind := q.remove(r)
	if self == nil || free.token.at <= now { // an instant that has passed is not used later
		return []freed{free}
	}
	due := self.due
	for _, w := range behind {
		own := freed{w.r.booked, w.r.result.Cost}
		if own.cost > free.cost || own.token.gen != free.token.gen || own.token.hold != free.token.hold {
			break
		}
		if own.cost < free.cost {
			list = append(list, freed{free.token, free.cost - own.cost})
		}
		w.r.booked, free.token = free.token, own.token
		w.due, due = due, w.due
		free.cost = own.cost
	}
	if first := q.queues[r.key]; len(first) > 0 {
		wake(first[0])
	}
	return append(list, free)
}

// token returns the booking of r.
func (q *waiting) token(r *Reservation) token {
	if q.callers.Load() == 0 {
		return r.booked
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return r.booked
}
