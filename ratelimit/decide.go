package ratelimit

import (
	"context"
	"errors"
	"reflect"
	"slices"
)

// Check is one question within a decision.
type Check struct {
	Limiter Limiter
	Key     string
	// Cost is the units asked for. 0 only looks, and denies nothing.
	Cost int
}

// Batcher is a Limiter whose back-end can decide several checks in one step.
// [Decide] uses it; implementing it is optional.
type Batcher interface {
	Limiter
	// SharesBackend reports whether l may take part in a Batch of this limiter.
	SharesBackend(l Limiter) bool
	// Batch decides checks, all of whose limiters share this one's back-end: all are
	// reserved, or none, in which case the results of those that would have been
	// allowed say so. It returns one reservation a check.
	Batch(ctx context.Context, checks []Check) ([]*Reservation, error)
}

// Decision is the answer to several checks.
type Decision struct {
	// Allowed means that every check allowed and that each has used its cost.
	// Otherwise none has used anything.
	Allowed bool
	// Results holds one result a check, in their order. Where the decision is denied,
	// some may be Allowed themselves.
	Results []Result

	reservations []*Reservation
}

// Decide asks all checks and uses their costs only if all allow. Checks in one
// back-end are decided in one step: those in memory always, those on one Redis if one
// slot holds their keys or it is no cluster. Elsewhere what has been reserved is given
// back after a denial; a concurrent request may in between see it as used.
//
// A nil error with Allowed == false is a denial. With an error nothing is used;
// ErrUnavailable comes with the results that there are.
func Decide(ctx context.Context, checks ...Check) (*Decision, error) {
	d := &Decision{
		Results:      make([]Result, len(checks)),
		reservations: make([]*Reservation, len(checks)),
	}
	for i, c := range checks {
		for _, other := range checks[:i] {
			if c.Key == other.Key && same(c.Limiter, other.Limiter) {
				return d, ErrDuplicateCheck
			}
		}
	}
	d.Allowed = true
	done := make([]bool, len(checks))
	for i := range checks {
		if done[i] {
			continue
		}
		if err := d.decideGroup(ctx, checks, i, done); err != nil {
			d.Allowed = false
			return d, errors.Join(err, d.Cancel(context.WithoutCancel(ctx)))
		}
	}
	if !d.Allowed {
		return d, d.Cancel(context.WithoutCancel(ctx))
	}
	return d, nil
}

// same compares limiters, whose types need not be comparable.
func same(a, b Limiter) bool { return reflect.ValueOf(a).Comparable() && a == b }

// decideGroup decides check i and all later ones that share its back-end.
func (d *Decision) decideGroup(ctx context.Context, checks []Check, i int, done []bool) error {
	members := []int{i}
	batcher, ok := checks[i].Limiter.(Batcher)
	if ok {
		for j := i + 1; j < len(checks); j++ {
			if !done[j] && batcher.SharesBackend(checks[j].Limiter) {
				members = append(members, j)
			}
		}
	}
	for _, j := range members {
		done[j] = true
	}
	var got []*Reservation
	var err error
	switch {
	case !d.Allowed: // denied already: the rest is asked for its figures only
		for _, j := range members {
			var r Result
			r, err = checks[j].Limiter.Peek(ctx, checks[j].Key)
			got = append(got, NewReservation(r, nil))
			if err != nil {
				break
			}
		}
	case len(members) > 1:
		group := make([]Check, len(members))
		for k, j := range members {
			group[k] = checks[j]
		}
		got, err = batcher.Batch(ctx, group)
	default:
		var r *Reservation
		r, err = checks[i].Limiter.Reserve(ctx, checks[i].Key, checks[i].Cost)
		got = []*Reservation{r}
	}
	for k, r := range got {
		if r == nil {
			continue
		}
		j := members[k]
		d.reservations[j], d.Results[j] = r, r.Result()
		d.Allowed = d.Allowed && (r.Result().Allowed || checks[j].Cost == 0)
	}
	return err
}

// Cancel gives everything back. Like [Reservation.Cancel] it may be called again.
func (d *Decision) Cancel(ctx context.Context) error {
	var errs []error
	for _, r := range d.reservations {
		if r != nil {
			errs = append(errs, r.Cancel(ctx))
		}
	}
	return errors.Join(errs...)
}

// Binding returns the result that a client should go by: on denial the one to wait
// longest for, otherwise the one with the least left, and of those the one that takes
// longest to reset. Unlimited results bind only when there is no other.
func (d *Decision) Binding() Result {
	if len(d.Results) == 0 {
		return Result{}
	}
	return d.Results[binding(d.Results)]
}

// binding is the index of the one that binds.
func binding(results []Result) (b int) {
	for i := 1; i < len(results); i++ {
		if binds(&results[i], &results[b]) {
			b = i
		}
	}
	return b
}

func binds(r, b *Result) bool {
	switch {
	case (r.Limit == Unlimited) != (b.Limit == Unlimited):
		return b.Limit == Unlimited
	case r.Allowed != b.Allowed:
		return b.Allowed
	case !r.Allowed && (r.RetryAfter == Never) != (b.RetryAfter == Never):
		return r.RetryAfter == Never
	case !r.Allowed && r.RetryAfter != b.RetryAfter:
		return r.RetryAfter > b.RetryAfter
	case r.Shadowed != b.Shadowed: // a policy that only watches is the client's last concern
		return b.Shadowed
	case r.Remaining != b.Remaining:
		return r.Remaining < b.Remaining
	}
	return r.ResetAfter > b.ResetAfter
}

// SharesBackend implements Batcher: all memory is one back-end.
func (m *Memory) SharesBackend(l Limiter) bool {
	_, ok := l.(*Memory)
	return ok
}

// Batch implements Batcher. It holds the locks of all keys while it decides.
func (m *Memory) Batch(ctx context.Context, checks []Check) ([]*Reservation, error) {
	batch := make([]memoryCheck, len(checks))
	for i, c := range checks {
		l := c.Limiter.(*Memory)
		limit, err := l.admit(ctx, c.Key, c.Cost)
		b := &batch[i]
		*b = memoryCheck{Memory: l, key: c.Key, cost: c.Cost, limit: limit, result: l.untaken(limit, c.Cost)}
		if err != nil {
			got := make([]*Reservation, len(checks))
			got[i] = NewReservation(b.result, nil)
			return got, err
		}
		if b.counted = limit != Unlimited; b.counted {
			b.hash = l.engine.hash(c.Key)
		}
	}
	decideBatch(batch)
	got := make([]*Reservation, len(checks))
	for i := range batch {
		b := &batch[i]
		got[i] = NewReservation(b.result, nil)
		if b.booked {
			got[i] = b.reservation(b.result, b.key, b.outcome.token)
		}
		if b.counted && b.trace != nil && b.cost > 0 {
			b.report(ctx, b.key, &b.outcome, b.result)
		}
	}
	return got, nil
}

type memoryCheck struct {
	*Memory
	key             string
	cost, limit     int
	hash            keyHash
	outcome         outcome
	result          Result
	counted, booked bool
	now             int64
}

func decideBatch(batch []memoryCheck) {
	// Every batch takes the locks in one order, each once, so that two cannot wait
	// for each other.
	order := make([]*memoryCheck, 0, len(batch))
	for i := range batch {
		if batch[i].counted {
			order = append(order, &batch[i])
		}
	}
	slices.SortFunc(order, func(a, b *memoryCheck) int {
		if a.id != b.id {
			return int(int64(a.id) - int64(b.id))
		}
		return int(int64(a.hash.shard) - int64(b.hash.shard))
	})
	locks := slices.CompactFunc(slices.Clone(order), func(a, b *memoryCheck) bool {
		return a.id == b.id && a.hash.shard == b.hash.shard
	})
	for _, c := range locks {
		c.engine.lock(c.hash)
		defer c.engine.unlock(c.hash)
	}
	allowed := true
	for _, c := range order {
		c.now = c.Memory.now()
		c.outcome = c.engine.decideLocked(c.hash, c.key, c.now, c.limit, max(c.cost, 1))
		if !c.outcome.allowed && !c.policy.Shadow && c.cost > 0 {
			allowed = false
			c.outcome = c.engine.settleLocked(c.hash, c.key, c.now, c.cost, c.outcome)
		}
	}
	for i, c := range order {
		if !allowed || c.cost == 0 || !c.outcome.allowed {
			continue
		}
		c.outcome = c.engine.settleLocked(c.hash, c.key, c.now, c.cost, c.outcome)
		if c.booked = c.outcome.allowed; c.booked || c.policy.Shadow {
			continue
		}
		// The key found no place of its own and the shared one is used up.
		allowed = false
		for _, b := range order[:i] {
			if b.booked {
				b.booked = false
				b.engine.cancelLocked(b.hash, b.key, b.now, b.limit, b.cost, b.outcome.token)
				b.outcome = b.engine.decideLocked(b.hash, b.key, b.now, b.limit, b.cost)
			}
		}
	}
	for _, c := range order {
		c.Memory.result(&c.result, &c.outcome, c.limit, c.cost)
	}
}
