package ratelimit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Memory is a Limiter within one process, for any Algorithm. It starts no goroutine:
// each decision also looks at a few old keys and drops those that have used nothing
// any more. It runs on the monotonic clock, so setting the system's clock does
// nothing to it.
type Memory struct {
	policy    Policy
	engine    engine // nil when the policy is Unlimited and no LimitFunc can say otherwise
	limitFunc LimitFunc
	trace     *Trace
	near      float64
	base      time.Time
	id        uint64 // the order in which Decide locks
}

var lastMemory atomic.Uint64

const defaultMaxKeys = 1_000_000

// NewMemory returns a limiter that counts in this process. opts may be nil.
func NewMemory(policy Policy, opts *Options) (*Memory, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MaxKeys < 0 {
		return nil, fmt.Errorf("ratelimit: MaxKeys %d is negative", o.MaxKeys)
	}
	if o.NearLimit < 0 || o.NearLimit > 1 {
		return nil, fmt.Errorf("ratelimit: NearLimit %v is not between 0 and 1", o.NearLimit)
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if o.NearLimit == 0 {
		o.NearLimit = 0.8
	}
	m := &Memory{
		policy: policy, limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit,
		base: time.Now(), id: lastMemory.Add(1),
	}
	if policy.Limit == Unlimited && (o.LimitFunc == nil || policy.Window == 0) {
		m.limitFunc = nil
		return m, nil
	}
	switch policy.Algorithm {
	case Exact:
		algo := exact{window: int64(policy.Window)}
		s := newShards[stampLog](algo, o.MaxKeys)
		if policy.CountDenied {
			s.penalise = algo.penalise
		}
		m.engine = s
	case Buckets:
		m.engine = newShards[bucketLog](newBuckets(policy.Window), o.MaxKeys)
	case GCRA:
		m.engine = newShards[gcraState](gcra{window: policy.Window}, o.MaxKeys)
	}
	return m, nil
}

// Policy returns what the limiter was made with.
func (m *Memory) Policy() Policy { return m.policy }

// now is in nanoseconds, from 1 on.
func (m *Memory) now() int64 { return int64(time.Since(m.base)) + 1 }

// Allow implements Limiter.
func (m *Memory) Allow(ctx context.Context, key string) (Result, error) { return m.AllowN(ctx, key, 1) }

// AllowN implements Limiter.
func (m *Memory) AllowN(ctx context.Context, key string, cost int) (Result, error) {
	r, _, err := m.take(ctx, key, cost)
	return r, err
}

// Peek implements Limiter.
func (m *Memory) Peek(ctx context.Context, key string) (Result, error) {
	return m.AllowN(ctx, key, 0)
}

// Reserve implements Limiter.
func (m *Memory) Reserve(ctx context.Context, key string, cost int) (*Reservation, error) {
	r, token, err := m.take(ctx, key, cost)
	if err != nil {
		return NewReservation(r, nil), err
	}
	return m.reservation(r, key, token), nil
}

func (m *Memory) reservation(r Result, key string, token int64) *Reservation {
	if !r.Allowed || r.Shadowed || r.Limit == Unlimited || r.Cost == 0 {
		return NewReservation(r, nil)
	}
	return NewReservation(r, func(context.Context) error {
		m.engine.cancel(key, m.now(), r.Limit, r.Cost, token)
		return nil
	})
}

// Reset implements Limiter.
func (m *Memory) Reset(ctx context.Context, key string) error {
	if key == "" {
		return ErrEmptyKey
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.engine != nil {
		m.engine.reset(key)
	}
	return nil
}

// Wait implements Limiter.
func (m *Memory) Wait(ctx context.Context, key string, cost int) (Result, error) {
	return Wait(ctx, m, key, cost)
}

// Stats returns a snapshot.
func (m *Memory) Stats() Stats {
	if m.engine == nil {
		return Stats{}
	}
	return m.engine.stats()
}

func (m *Memory) take(ctx context.Context, key string, cost int) (r Result, token int64, err error) {
	limit, err := m.admit(ctx, key, cost)
	if err != nil || limit == Unlimited {
		return m.untaken(limit, cost), 0, err
	}
	o := m.engine.take(key, m.now(), limit, max(cost, 1), cost == 0)
	r = m.result(&o, limit, cost)
	if m.trace != nil && cost > 0 {
		m.report(ctx, key, &o, r)
	}
	return r, o.token, nil
}

// admit checks the arguments and returns the limit in force.
func (m *Memory) admit(ctx context.Context, key string, cost int) (limit int, err error) {
	limit = m.policy.Limit
	if key == "" {
		return limit, ErrEmptyKey
	}
	if cost < 0 {
		return limit, ErrInvalidCost
	}
	if err := ctx.Err(); err != nil {
		return limit, err
	}
	if m.limitFunc != nil {
		limit = EffectiveLimit(ctx, m.policy, m.limitFunc, key)
	}
	if cost > limit && limit > 0 {
		return limit, ErrCostExceedsLimit
	}
	return limit, nil
}

// EffectiveLimit is for implementations of Limiter: what f says about key, with
// nonsense corrected to the strictest reading, or the policy's Limit.
func EffectiveLimit(ctx context.Context, p Policy, f LimitFunc, key string) int {
	limit, ok := f(ctx, key)
	switch {
	case !ok:
		return p.Limit
	case limit < Unlimited:
		return 0
	case p.Algorithm == Exact:
		return min(limit, MaxExact)
	}
	return min(limit, maxLimit)
}

// untaken is the result of a decision that no counting was needed for.
func (m *Memory) untaken(limit, cost int) Result {
	r := Result{Allowed: limit == Unlimited, Limit: limit, Cost: cost, Window: m.policy.Window, Policy: m.policy.Name}
	if cost > limit && limit != Unlimited {
		r.RetryAfter = Never
	}
	return r
}

func (m *Memory) result(o *outcome, limit, cost int) Result {
	r := Result{
		Allowed: o.allowed, Limit: limit, Remaining: max(limit-o.used, 0), Cost: cost,
		RetryAfter: o.retry, NextAfter: o.next, ResetAfter: o.reset,
		Window: m.policy.Window, Policy: m.policy.Name,
	}
	if m.policy.Shadow && !r.Allowed {
		r.Allowed, r.Shadowed, r.RetryAfter = true, true, 0
	}
	return r
}

func (m *Memory) report(ctx context.Context, key string, o *outcome, r Result) {
	if m.trace.Decided != nil {
		m.trace.Decided(ctx, key, r)
	}
	if m.trace.NearLimit != nil && o.allowed && CrossesNear(r, m.near) {
		m.trace.NearLimit(ctx, key, r)
	}
}

// CrossesNear is for implementations of Limiter: whether the allowed decision r took
// its key across the given share of its limit.
func CrossesNear(r Result, near float64) bool {
	used, mark := float64(r.Limit-r.Remaining), near*float64(r.Limit)
	return used >= mark && used-float64(r.Cost) < mark
}
