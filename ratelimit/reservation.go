package ratelimit

import (
	"context"
	"slices"
	"sync"
)

// Reservation is a decision whose cost can still change, once. It is safe for concurrent
// use.
type Reservation struct {
	result  Result
	backend Backend // nil: no units are booked
	token   any     // for other back-ends

	// For memory.
	memory *Memory
	key    string
	booked token

	mu      sync.Mutex
	settled bool
	held    int    // the cost that a settlement has set
	own     int    // units of held that were reserved, and not charged in addition
	open    *Check // costs nothing so far: its units are not booked
	spent   bool   // a charge of it used its key up
}

// Result returns the decision. A denied reservation is not an error.
func (r *Reservation) Result() Result { return r.result }

// Settle gives the reservation its final cost. Units above it are given back as if they
// had not been used, unless the window has left them behind. Units below it are taken in
// addition. They may exceed the limit: the debt delays later decisions of the key until
// it is repaid, and it is bounded by 64 limits. A reservation of 0 units can be settled for
// more. Exact and Buckets do not give debt back.
//
// The first Settle that returns nil decides. Later ones have no effect. A reservation
// that is not settled keeps its cost.
func (r *Reservation) Settle(ctx context.Context, cost int) error {
	return settle(ctx, []*Reservation{r}, []int{cost}, false)
}

// Cancel is Settle with a cost of 0: it gives all units back.
func (r *Reservation) Cancel(ctx context.Context) error { return r.Settle(ctx, 0) }

// settle settles reservations with one call to each back-end. Reservations that are settled
// already change again if again is set.
func settle(ctx context.Context, list []*Reservation, costs []int, again bool) (err error) {
	costs = slices.Clone(costs)
	for i, r := range list {
		if costs[i] < 0 {
			return ErrInvalidCost
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.settled { // units that were charged in addition are not in its booking, and stay
			costs[i] = max(costs[i], r.held-r.own)
		}
	}
	done := make([]bool, len(list))
	for i, r := range list {
		if r.settled && !again || done[i] {
			continue
		}
		if r.open != nil && costs[i] > 0 {
			if e := r.charge(ctx, costs[i]); e != nil {
				err = e
			}
			continue
		}
		if r.backend == nil || r.settled && r.held == costs[i] {
			r.settled = true
			continue
		}
		group := r.backend.Group()
		var members, same []*Reservation
		var cost []int
		for j := i; j < len(list); j++ {
			if o := list[j]; !done[j] && o.backend != nil && (!o.settled || again && o.held != costs[j]) && (j == i || o.backend.Group() == group) {
				done[j] = true
				members, same, cost = append(members, o), append(same, o.current()), append(cost, costs[j])
			}
		}
		if e := r.backend.Settle(ctx, same, cost); e != nil {
			err = e
			continue
		}
		for k, o := range members {
			if !o.settled {
				o.held, o.own = o.result.Cost, o.result.Cost
			}
			o.own -= max(o.held-cost[k], 0)
			o.settled, o.held = true, cost[k]
		}
	}
	return err
}

// current returns the reservation with the cost that it has now.
func (r *Reservation) current() *Reservation {
	if !r.settled {
		return r
	}
	now := &Reservation{result: r.result, backend: r.backend, token: r.token, memory: r.memory, key: r.key, booked: r.booked}
	now.result.Cost = r.held
	return now
}

// charge books the units of a reservation that has cost nothing so far.
func (r *Reservation) charge(ctx context.Context, cost int) error {
	c := *r.open
	c.Cost, c.Debt, c.Within, c.FailuresOnly = cost, true, 0, false
	got, err := reserve(ctx, c)
	if err != nil {
		return err
	}
	r.backend, r.token, r.memory, r.key, r.booked = got.backend, got.token, got.memory, got.key, got.booked
	r.settled, r.held, r.own, r.open = true, cost, cost, nil
	r.spent = got.result.Limit > 0 && got.result.Remaining == 0
	return nil
}
