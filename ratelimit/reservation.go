package ratelimit

import (
	"context"
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
}

// Result returns the decision. A denied reservation is not an error.
func (r *Reservation) Result() Result { return r.result }

// Settle gives the reservation its final cost. Units above it are given back as if they
// had not been used, unless the window has left them behind. Units below it are taken in
// addition. They may exceed the limit: the debt delays later decisions of the key until
// it is repaid, and it is bounded by 64 limits.
//
// The first Settle that returns nil decides. Later ones have no effect. A reservation
// that is not settled keeps its cost.
func (r *Reservation) Settle(ctx context.Context, cost int) error {
	return settle(ctx, []*Reservation{r}, []int{cost})
}

// Cancel is Settle with a cost of 0: it gives all units back.
func (r *Reservation) Cancel(ctx context.Context) error { return r.Settle(ctx, 0) }

// settle settles reservations with one call to each back-end.
func settle(ctx context.Context, list []*Reservation, costs []int) (err error) {
	for i, r := range list {
		if costs[i] < 0 {
			return ErrInvalidCost
		}
		r.mu.Lock()
		defer r.mu.Unlock()
	}
	done := make([]bool, len(list))
	for i, r := range list {
		if r.settled || done[i] {
			continue
		}
		if r.backend == nil {
			r.settled = true
			continue
		}
		group := r.backend.Group()
		var same []*Reservation
		var cost []int
		for j := i; j < len(list); j++ {
			if o := list[j]; !o.settled && !done[j] && o.backend != nil && (j == i || o.backend.Group() == group) {
				done[j] = true
				same, cost = append(same, o), append(cost, costs[j])
			}
		}
		if e := r.backend.Settle(ctx, same, cost); e != nil {
			err = e
			continue
		}
		for _, o := range same {
			o.settled = true
		}
	}
	return err
}
