// Package concurrency limits how many uses of one key are in flight at once.
//
//	exports, err := concurrency.New(concurrency.Policy{Name: "exports", Limit: 2}, nil)
//	middleware, err := concurrency.NewMiddleware(exports, key, nil)
//
// It does not limit how many uses follow each other: package ratelimit does. A use may
// weigh more than one, and may wait for its turn. [Memory] counts in one process, and
// redislimit.Concurrency in all processes of a service. This package never starts a
// goroutine.
package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Limiter bounds how many uses of one key are in flight. Package ratelimittest tests
// implementations.
type Limiter interface {
	// Policy returns the policy of the limiter.
	Policy() Policy
	// Acquire takes weight slots of key. It returns at once if they are free or the policy
	// has no Wait. Otherwise it waits for its turn, which is first come, first served. The
	// slot's Result says whether it was let in. The slot is not nil, and Release may be
	// called on it, for every result and error. Errors are ratelimit.ErrEmptyKey,
	// ErrInvalidCost for a weight below 1, ErrCostExceedsLimit, the context's, and for a
	// shared back-end ErrUnavailable.
	Acquire(ctx context.Context, key string, weight int) (*Slot, error)
}

// ErrSlotLost means that a slot of a shared back-end ran out before it was released:
// its holder was paused or disconnected for longer than the slot's lease, or the back-end
// lost its data. Another process may hold the slot now.
var ErrSlotLost = errors.New("concurrency: the slot ran out before it was released, and another may hold its place; stop what it protects, or use a longer lease")

// Policy says how many uses of one key may be in flight. It is plain data.
type Policy struct {
	// Name is shown to clients and is part of the key in Redis, like the name of a
	// ratelimit.Policy.
	Name string
	// Limit is the number of slots of a key: at least 1, or ratelimit.Unlimited.
	Limit int
	// Wait is how long Acquire waits for its slots. Default: 0; it does not wait.
	Wait time.Duration
	// Queue bounds the callers of one key that wait in this process. Default: 100.
	Queue int
	// RetryAfter is the wait in the response to a refused client. The limiter cannot predict when a slot
	// will be free. Default: 1 s.
	RetryAfter time.Duration
	// OnFailure is what happens while a shared back-end does not answer. FailLocal
	// counts in this process. Default: FailLocal.
	OnFailure ratelimit.FailureMode
	// Shadow makes the policy report refusals (Result.Shadowed) without refusing. No header
	// field names the policy. Default: false.
	Shadow bool
}

const (
	defaultRetry = time.Second
	defaultQueue = 100
	maxWait      = time.Hour
)

// Validate returns the first mistake in p, or nil. Constructors call it.
func (p Policy) Validate() error {
	limit := p.Limit
	if limit == ratelimit.Unlimited {
		limit = 1
	}
	if err := (ratelimit.Policy{Name: p.Name, Limit: limit, Window: time.Second, OnFailure: p.OnFailure}).Validate(); err != nil {
		return err
	}
	switch {
	case p.RetryAfter < 0 || p.RetryAfter > 30*24*time.Hour:
		return fmt.Errorf("concurrency: policy %s: RetryAfter %v must be from 0 to 30 days", p.Name, p.RetryAfter)
	case p.Wait < 0 || p.Wait > maxWait:
		return fmt.Errorf("concurrency: policy %s: Wait %v must be from 0 to %v", p.Name, p.Wait, maxWait)
	case p.Queue < 0:
		return fmt.Errorf("concurrency: policy %s: Queue %d is negative", p.Name, p.Queue)
	}
	return nil
}

// Begin is for implementations of Limiter: it checks the arguments of Acquire and returns
// the result so far. When decided is true, that is the result, without counting.
func (p Policy) Begin(ctx context.Context, f ratelimit.LimitFunc, key string, weight int) (r ratelimit.Result, decided bool, err error) {
	r = ratelimit.Result{Limit: p.Limit, Cost: weight, Policy: p.Name}
	switch {
	case key == "":
		return r, true, ratelimit.ErrEmptyKey
	case weight < 1:
		return r, true, ratelimit.ErrInvalidCost
	}
	if err := ctx.Err(); err != nil {
		return r, true, err
	}
	if f != nil {
		if limit, ok := f(ctx, key); ok {
			r.Limit = max(limit, ratelimit.Unlimited)
			if limit < ratelimit.Unlimited {
				r.Limit = 0
			}
		}
	}
	switch {
	case r.Limit == ratelimit.Unlimited:
		r.Allowed = true
		return r, true, nil
	case r.Limit == 0, p.Shadow && weight > r.Limit:
		p.Settle(&r, false, 0)
		r.RetryAfter = ratelimit.Never
		if r.Shadowed {
			r.RetryAfter = 0
		}
		return r, true, nil
	case weight > r.Limit:
		r.RetryAfter = ratelimit.Never
		return r, true, ratelimit.ErrCostExceedsLimit
	}
	return r, false, nil
}

// Settle is for implementations of Limiter: it completes what Begin began, when used slots
// are taken after the decision.
func (p Policy) Settle(r *ratelimit.Result, allowed bool, used int) {
	r.Allowed, r.Remaining = allowed, max(r.Limit-used, 0)
	switch {
	case allowed:
	case p.Shadow:
		r.Allowed, r.Shadowed = true, true
	case p.RetryAfter > 0:
		r.RetryAfter = p.RetryAfter
	default:
		r.RetryAfter = defaultRetry
	}
}

// MaxQueue returns Queue or its default.
func (p Policy) MaxQueue() int {
	if p.Queue == 0 {
		return defaultQueue
	}
	return p.Queue
}
