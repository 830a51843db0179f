package ratelimit

import (
	"context"
	"sync"
	"time"
)

const (
	// flightWait is how long a request waits for the outcome of others.
	flightWait = 5 * time.Second
	// flightQueueMax is how many requests of one key may wait for that.
	flightQueueMax = 1000
)

// flightKey is a key of one limiter.
type flightKey struct {
	backend any
	key     string
}

func (d *Decision) flight(i int) flightKey { return flightKey{d.checks[i].place(), d.checks[i].Key} }

// flightQueue holds the requests of this process that wait for the outcome of others.
// The outcome of a request in another process is found by asking again.
type flightQueue struct {
	mu      sync.Mutex
	waiters map[flightKey][]chan struct{}
}

var flights = flightQueue{waiters: make(map[flightKey][]chan struct{})}

// enter adds a waiter, at the front if it has waited before. It returns nil when the queue
// is full.
func (q *flightQueue) enter(k flightKey, front bool) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.waiters[k]
	if len(list) >= flightQueueMax {
		return nil
	}
	c := make(chan struct{}, 1)
	if front {
		list = append([]chan struct{}{c}, list...)
	} else {
		list = append(list, c)
	}
	q.waiters[k] = list
	return c
}

// leave removes a waiter. If it has been woken, the next one is woken.
func (q *flightQueue) leave(k flightKey, c chan struct{}) {
	q.mu.Lock()
	list := q.waiters[k]
	found := false
	for i, o := range list {
		if o == c {
			list = append(list[:i:i], list[i+1:]...)
			found = true
			break
		}
	}
	if len(list) == 0 {
		delete(q.waiters, k)
	} else {
		q.waiters[k] = list
	}
	q.mu.Unlock()
	if !found {
		q.wake(k)
	}
}

// wake wakes the first waiter.
func (q *flightQueue) wake(k flightKey) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.waiters[k]
	if len(list) == 0 {
		return
	}
	list[0] <- struct{}{}
	if len(list) == 1 {
		delete(q.waiters, k)
	} else {
		q.waiters[k] = list[1:]
	}
}

// decideInFlight is Decide that waits while units in flight are all that denies.
func decideInFlight(ctx context.Context, checks []Check) (*Decision, error) {
	d, err := Decide(ctx, checks...)
	var deadline time.Time
	for {
		b := -1
		if err == nil && !d.Allowed {
			b = binding(d.Results)
		}
		if b < 0 || d.Results[b].InFlight == 0 {
			if !deadline.IsZero() && !d.Allowed && b >= 0 { // the others are refused as well
				flights.wake(d.flight(b))
			}
			return d, err
		}
		again := !deadline.IsZero()
		if !again {
			deadline = time.Now().Add(flightWait)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return d, err
		}
		k := d.flight(b)
		c := flights.enter(k, again)
		if c == nil {
			return d, err
		}
		timer := time.NewTimer(min(left, flightRetry/4)) // for those of other processes
		select {
		case <-c:
			timer.Stop()
		case <-timer.C:
			flights.leave(k, c)
		case <-ctx.Done():
			timer.Stop()
			flights.leave(k, c)
			return d, ctx.Err()
		}
		d, err = Decide(ctx, checks...)
	}
}
