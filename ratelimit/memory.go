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
	engine    engine                   // nil when the policy is Unlimited and no LimitFunc can say otherwise
	exact     *shards[stampLog, exact] // the engine again, when it is this one
	limitFunc LimitFunc
	trace     *Trace
	near      float64
	base      time.Time
	wall      wallClock
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
	m.wall.base = m.base
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
		m.engine, m.exact = s, s
	case Buckets:
		m.engine = newShards[bucketLog](newBuckets(policy.Window), o.MaxKeys)
	case GCRA:
		m.engine = newShards[gcraState](gcra{window: policy.Window}, o.MaxKeys)
	}
	return m, nil
}

// Policy returns what the limiter was made with.
func (m *Memory) Policy() Policy { return m.policy }

// now is in nanoseconds since base, from 1 on.
func (m *Memory) now() int64 { return int64(time.Since(m.base)) + 1 }

// Allow implements Limiter.
func (m *Memory) Allow(ctx context.Context, key string) (r Result, err error) {
	_, _, err = m.take(ctx, key, 1, &r)
	return r, err
}

// AllowN implements Limiter.
func (m *Memory) AllowN(ctx context.Context, key string, cost int) (r Result, err error) {
	_, _, err = m.take(ctx, key, cost, &r)
	return r, err
}

// Peek implements Limiter.
func (m *Memory) Peek(ctx context.Context, key string) (Result, error) {
	return m.AllowN(ctx, key, 0)
}

// Reserve implements Limiter.
func (m *Memory) Reserve(ctx context.Context, key string, cost int) (*Reservation, error) {
	var r Result
	_, token, err := m.take(ctx, key, cost, &r)
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

// take decides and writes the result where the caller returns it from: copying it from
// hand to hand takes longer than the counting. now is when it decided, 0 if no counting
// was needed.
func (m *Memory) take(ctx context.Context, key string, cost int, r *Result) (now, token int64, err error) {
	limit, err := m.admit(ctx, key, cost)
	if err != nil || limit == Unlimited {
		*r = m.untaken(limit, cost)
		return 0, 0, err
	}
	var o outcome
	now = m.now()
	if m.exact != nil {
		takeExact(m.exact, key, now, limit, max(cost, 1), cost == 0, &o)
	} else {
		o = m.engine.take(key, now, limit, max(cost, 1), cost == 0)
	}
	m.result(r, &o, limit, cost)
	if m.trace != nil && cost > 0 {
		m.report(ctx, key, &o, *r)
	}
	return now, o.token, nil
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
	case p.Algorithm == GCRA && p.Window < maxLimit: // a unit takes a nanosecond to flow in at least
		return min(limit, int(p.Window))
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

func (m *Memory) result(r *Result, o *outcome, limit, cost int) {
	r.Allowed, r.Limit, r.Remaining, r.Cost = o.allowed, limit, max(limit-o.used, 0), cost
	r.RetryAfter, r.NextAfter, r.ResetAfter = o.retry, o.next, o.reset
	r.Window, r.Policy = m.policy.Window, m.policy.Name
	if m.policy.Shadow && !r.Allowed {
		r.Allowed, r.Shadowed, r.RetryAfter = true, true, 0
	}
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
