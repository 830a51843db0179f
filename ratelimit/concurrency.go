package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ConcurrencyLimiter bounds how many uses of one key are in flight at once. It says
// nothing about how many follow each other: a [Limiter] does. [Concurrency] is one for
// a single process, redislimit.Concurrency one for a fleet; package ratelimittest holds
// both to the same promises.
type ConcurrencyLimiter interface {
	// Acquire takes a slot of key if one is free and never waits for one: whether it
	// did, the slot's Result says. The slot is not nil, and Release may be called on
	// it, whatever the answer and the error. Errors are ErrEmptyKey, the context's,
	// and for a shared back-end ErrUnavailable, which only FailClosed lets out.
	Acquire(ctx context.Context, key string) (*Slot, error)
}

// ErrSlotLost means that a slot of a shared back-end ran out before it was released:
// its holder was paused or cut off for longer than the slot's lease, or the back-end
// lost its data. Somebody else may hold the place meanwhile.
var ErrSlotLost = errors.New("ratelimit: the slot ran out before it was released, and another may hold its place; stop what it protects, or use a longer lease")

// ConcurrencyPolicy says how many uses of one key may be in flight. It is plain data.
type ConcurrencyPolicy struct {
	// Name is shown to clients and is part of the key in Redis, as a Policy's is.
	Name string
	// Limit is how many slots a key has: at least 1, or Unlimited.
	Limit int
	// RetryAfter is what a refused client is told to wait; nobody knows when a slot
	// will be free. Default: 1 s.
	RetryAfter time.Duration
	// OnFailure is what happens while a shared back-end does not answer. FailLocal
	// counts what this process lets in meanwhile. Default: FailLocal.
	OnFailure FailureMode
	// Shadow makes the policy report what it would have refused ([Result.Shadowed])
	// and refuse nothing. Default: false.
	Shadow bool
}

const defaultSlotRetry = time.Second

// Validate returns what is wrong with p, or nil. Constructors call it.
func (p ConcurrencyPolicy) Validate() error {
	switch {
	case !validName(p.Name):
		return fmt.Errorf("ratelimit: policy name %q: use a letter, then letters, digits, '-' and '_', at most 64", p.Name)
	case p.Limit < 1 && p.Limit != Unlimited:
		return fmt.Errorf("ratelimit: policy %s: limit %d must be at least 1, or Unlimited", p.Name, p.Limit)
	case p.Limit > maxLimit:
		return fmt.Errorf("ratelimit: policy %s: limit %d is above %d", p.Name, p.Limit, maxLimit)
	case p.RetryAfter < 0 || p.RetryAfter > maxWindow:
		return fmt.Errorf("ratelimit: policy %s: RetryAfter %v must be from 0 to %v", p.Name, p.RetryAfter, maxWindow)
	case p.OnFailure < FailLocal || p.OnFailure > FailOpen:
		return fmt.Errorf("ratelimit: policy %s: unknown %v", p.Name, p.OnFailure)
	}
	return nil
}

// Begin is for implementations of ConcurrencyLimiter: it checks the arguments of
// Acquire and returns the result so far. When decided is true, that is the answer and
// no slot need be counted.
func (p ConcurrencyPolicy) Begin(ctx context.Context, f LimitFunc, key string) (r Result, decided bool, err error) {
	r = Result{Limit: p.Limit, Cost: 1, Policy: p.Name}
	if key == "" {
		return r, true, ErrEmptyKey
	}
	if err := ctx.Err(); err != nil {
		return r, true, err
	}
	if f != nil {
		r.Limit = EffectiveLimit(ctx, Policy{Limit: p.Limit, Algorithm: Buckets}, f, key)
	}
	switch r.Limit {
	case Unlimited:
		r.Allowed = true
		return r, true, nil
	case 0:
		p.Settle(&r, false, 0)
		r.RetryAfter = Never
		if r.Shadowed {
			r.RetryAfter = 0
		}
		return r, true, nil
	}
	return r, false, nil
}

// Settle is for implementations of ConcurrencyLimiter: it completes what Begin began,
// when used slots are taken after the decision.
func (p ConcurrencyPolicy) Settle(r *Result, allowed bool, used int) {
	r.Allowed, r.Remaining = allowed, max(r.Limit-used, 0)
	switch {
	case allowed:
	case p.Shadow:
		r.Allowed, r.Shadowed = true, true
	case p.RetryAfter > 0:
		r.RetryAfter = p.RetryAfter
	default:
		r.RetryAfter = defaultSlotRetry
	}
}
