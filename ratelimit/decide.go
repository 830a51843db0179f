package ratelimit

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"
)

// Check is one question within a decision.
type Check struct {
	// Limiter holds the policy that decides.
	Limiter Limiter
	// Key names the client, account or resource within the policy.
	Key string
	// Cost is the number of units. 0 only looks, and is never denied.
	Cost int
	// Within is how long the caller can wait for its units. They are reserved in the
	// order of the calls, in the future if need be, and Result.Delay says for how long
	// the caller must wait. Default: 0; units that do not fit now are denied.
	Within time.Duration
	// Debt uses the units whether they fit or not. With Exact and Buckets the units that do not fit stay used, also
	// if the decision is denied in another back-end or canceled. Default: false.
	Debt bool
	// FailuresOnly marks the units as in flight until they are settled: the caller will
	// give back those of a success. Units that a caller never settles count as failures
	// after 1 to 2 minutes. Default: false.
	FailuresOnly bool

	backend Backend               // of Limiter
	success func(status int) bool // Rule.SuccessStatus
}

func (c *Check) by() Backend {
	if c.backend == nil {
		c.backend = c.Limiter.Backend()
	}
	return c.backend
}

// place is what the back-end is known by in maps. Its type need not be comparable, and that of its Group is.
func (c *Check) place() any {
	if b := c.by(); reflect.ValueOf(b).Comparable() {
		return b
	}
	return c.by().Group()
}

// same compares limiters, whose types need not be comparable.
func same(a, b Limiter) bool { return reflect.ValueOf(a).Comparable() && a == b }

// Decision is the answer to several checks.
type Decision struct {
	// Allowed means that every check allowed and that each has used its cost.
	// Otherwise no check has used units.
	Allowed bool
	// Results holds one result a check, in their order. Where the decision is denied,
	// some may be Allowed themselves.
	Results []Result

	checks       []Check
	reservations []*Reservation
}

// Decide asks all checks and uses their costs only if all allow. Checks in one back-end
// are decided in one step: those in memory always, those on one Redis if it is no
// Cluster. Elsewhere reserved units are given back after a denial. A concurrent
// request may see it as used until then.
//
// A nil error with Allowed == false is a denial. With an error no units are used.
// ErrUnavailable, ErrQueueFull and ErrCostExceedsLimit come with results.
func Decide(ctx context.Context, checks ...Check) (*Decision, error) {
	checks = slices.Clone(checks) // the caller's may be shared by goroutines
	d := &Decision{
		checks:       checks,
		Results:      make([]Result, len(checks)),
		reservations: make([]*Reservation, len(checks)),
	}
	for i, c := range checks {
		p := c.Limiter.Policy()
		d.Results[i] = Result{Policy: p.Name, Limit: p.Limit, Window: p.Window, Cost: c.Cost}
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
		if err := d.decideGroup(ctx, i, done); err != nil {
			d.Allowed = false
			if errors.Is(err, ErrCostExceedsLimit) {
				d.look(ctx)
			}
			return d, errors.Join(err, d.Cancel(context.WithoutCancel(ctx)))
		}
	}
	if !d.Allowed {
		return d, d.Cancel(context.WithoutCancel(ctx))
	}
	return d, nil
}

// look fetches the figures of checks that could be met beside one that never can.
func (d *Decision) look(ctx context.Context) {
	for i := range d.checks {
		if r := &d.Results[i]; r.RetryAfter != Never {
			cost := r.Cost
			if got, err := d.checks[i].Limiter.AllowN(ctx, d.checks[i].Key, 0); err == nil {
				*r = got
				r.Cost = cost
			}
			r.Allowed, r.RetryAfter = true, 0 // this one is not what denies
		}
	}
}

// decideGroup decides check i and all later ones that share its back-end.
func (d *Decision) decideGroup(ctx context.Context, i int, done []bool) error {
	backend := d.checks[i].by()
	var together any
	if len(d.checks) > 1 {
		together = backend.Group()
	}
	var members []int
	var group []Check
	for j := i; j < len(d.checks); j++ {
		if !done[j] && (j == i || d.checks[j].by().Group() == together) {
			done[j] = true
			members, group = append(members, j), append(group, d.checks[j])
			if !d.Allowed { // denied already: the other checks only report their figures
				group[len(group)-1].Cost = 0
			}
		}
	}
	got, err := backend.Take(ctx, group)
	for k, r := range got {
		if r == nil {
			continue
		}
		j := members[k]
		if d.checks[j].Cost == 0 && r.backend == nil {
			r.open = &d.checks[j]
		}
		d.reservations[j], d.Results[j] = r, r.result
		d.Results[j].Cost = d.checks[j].Cost
		d.Allowed = d.Allowed && (r.result.Allowed || group[k].Cost == 0)
	}
	return err
}

// reserve decides one check.
func reserve(ctx context.Context, c Check) (*Reservation, error) {
	got, err := c.by().Take(ctx, []Check{c})
	if len(got) == 0 || got[0] == nil {
		return &Reservation{}, err
	}
	if c.Cost == 0 && got[0].backend == nil {
		got[0].open = &c
	}
	return got[0], err
}

// Reservation returns the reservation of check i.
func (d *Decision) Reservation(i int) *Reservation {
	if r := d.reservations[i]; r != nil {
		return r
	}
	return &Reservation{result: d.Results[i]}
}

// Cancel gives everything back. Like [Reservation.Cancel] it may be called again.
func (d *Decision) Cancel(ctx context.Context) error {
	var list []*Reservation
	for _, r := range d.reservations {
		if r != nil {
			list = append(list, r)
		}
	}
	return settle(ctx, list, make([]int, len(list)), false)
}

// Wait sleeps until every check's units may be used. When ctx ends before that, it gives
// all units back and returns the context's error.
func (d *Decision) Wait(ctx context.Context) error {
	var delay time.Duration
	for i := range d.Results {
		delay = max(delay, d.Results[i].Delay)
	}
	if delay <= 0 {
		return nil
	}
	if len(d.reservations) == 1 && d.reservations[0] != nil && d.reservations[0].memory != nil {
		r := d.reservations[0]
		if err := r.memory.waiting.sleep(ctx, r, delay); err != nil {
			return errors.Join(err, d.Cancel(context.WithoutCancel(ctx)))
		}
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), d.Cancel(context.WithoutCancel(ctx)))
	}
}

// wait is the Wait of a Limiter: one decision for each call.
func wait(ctx context.Context, c Check) (Result, error) {
	c.Within = maxWindow
	if deadline, ok := ctx.Deadline(); ok {
		c.Within = max(time.Until(deadline)-1, 1) // units that fit as the context ends are too late
	}
	r, err := reserve(ctx, c)
	res := r.result
	switch {
	case err != nil || c.Cost == 0:
		return res, err
	case !res.Allowed && res.RetryAfter == Never:
		return res, ErrCostExceedsLimit
	case !res.Allowed:
		return res, ErrWouldExceedDeadline
	}
	d := Decision{Results: []Result{res}, reservations: []*Reservation{r}}
	if err := d.Wait(ctx); err != nil {
		return res, err
	}
	return res, nil
}

// Binding returns the result that a client should go by. After a denial it is the result with
// the longest wait. Otherwise it is the one with the fewest units left, and among equals the
// one that takes longest to reset. Unlimited results bind only when there is no other.
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
