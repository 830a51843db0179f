package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Memory is a Limiter within one process, for any Algorithm. It starts no goroutine:
// each decision also looks at a few old keys and drops those that no longer use
// anything. It runs on the monotonic clock, so setting the system's clock has no effect.
// It is safe for concurrent use.
type Memory struct {
	policy    Policy
	engine    engine                 // nil when the policy is Unlimited and no LimitFunc can say otherwise
	exact     *shards[useLog, exact] // the engine again, when it is this one
	limitFunc LimitFunc
	trace     *Trace
	near      float64
	queue     int
	badLimits atomic.Uint64
	base      time.Time
	wall      wallClock
	waiting   waiting
	id        uint64 // the order in which Decide locks
}

var lastMemory atomic.Uint64

const (
	defaultMaxKeys  = 1_000_000
	defaultMaxQueue = 10_000
)

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
	if !(o.NearLimit >= 0 && o.NearLimit <= 1) {
		return nil, fmt.Errorf("ratelimit: NearLimit %v is not between 0 and 1", o.NearLimit)
	}
	if o.MaxQueue < 0 {
		return nil, fmt.Errorf("ratelimit: MaxQueue %d is negative", o.MaxQueue)
	}
	o.MaxQueue = cmp.Or(o.MaxQueue, defaultMaxQueue)
	o.MaxKeys = cmp.Or(o.MaxKeys, defaultMaxKeys)
	o.NearLimit = cmp.Or(o.NearLimit, 0.8)
	m := &Memory{
		policy: policy, limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit, queue: o.MaxQueue,
		base: time.Now(), id: lastMemory.Add(1),
	}
	m.wall.base = m.base
	if policy.Limit == Unlimited && (o.LimitFunc == nil || policy.Window == 0) {
		m.limitFunc = nil
		return m, nil
	}
	if policy.Algorithm == GCRA {
		m.engine = newShards[gcraState](gcra{window: policy.Window}, o.MaxKeys)
		return m, nil
	}
	algo := exact{window: int64(policy.Window)}
	if policy.Algorithm == Buckets {
		algo = newBuckets(policy.Window)
	}
	m.exact = newShards[useLog](algo, o.MaxKeys)
	if policy.CountDenied {
		m.exact.penalise = algo.penalise
	}
	m.engine = m.exact
	return m, nil
}

// Policy returns the policy of the limiter.
func (m *Memory) Policy() Policy { return m.policy }

// now is in nanoseconds since base, from 1 on.
func (m *Memory) now() int64 { return int64(time.Since(m.base)) + 1 }

// Allow is AllowN with a cost of 1.
func (m *Memory) Allow(ctx context.Context, key string) (r Result, err error) {
	_, _, err = m.take(ctx, key, 1, &r)
	return r, err
}

// AllowN implements Limiter.
func (m *Memory) AllowN(ctx context.Context, key string, cost int) (r Result, err error) {
	_, _, err = m.take(ctx, key, cost, &r)
	return r, err
}

// Peek returns the result of Allow without using units. Allowed says whether one more
// unit would fit.
func (m *Memory) Peek(ctx context.Context, key string) (Result, error) {
	return m.AllowN(ctx, key, 0)
}

// Reserve is AllowN whose cost can still change: see [Reservation.Settle].
func (m *Memory) Reserve(ctx context.Context, key string, cost int) (*Reservation, error) {
	return reserve(ctx, Check{Limiter: m, Key: key, Cost: cost})
}

// Charge uses cost units whether they fit or not, for work that has been done already.
// Units that do not fit are debt: see [Reservation.Settle].
func (m *Memory) Charge(ctx context.Context, key string, cost int) (Result, error) {
	r, err := reserve(ctx, Check{Limiter: m, Key: key, Cost: cost, Debt: true})
	return r.Result(), err
}

// Wait blocks until cost units fit and uses them. Waiters on one key are served in the
// order of their calls. Wait returns at once with ErrWouldExceedDeadline when ctx would
// end before the units fit, and with ErrQueueFull when Options.MaxQueue units of the key
// wait already. When ctx ends first, the units are given back, and the callers behind move
// forward, as far as their costs fit into what is freed.
func (m *Memory) Wait(ctx context.Context, key string, cost int) (Result, error) {
	return wait(ctx, Check{Limiter: m, Key: key, Cost: cost})
}

// Block implements Limiter.
func (m *Memory) Block(ctx context.Context, key string, wait time.Duration) error {
	limit, err := m.admit(ctx, key, 0)
	switch {
	case err != nil:
		return err
	case wait < 0 || wait > maxWindow:
		return fmt.Errorf("ratelimit: a key can be blocked for at most %v, not %v", maxWindow, wait)
	case wait > 0 && limit == Unlimited:
		return ErrUnlimited
	case m.engine == nil:
		return nil
	}
	now := m.now()
	if !m.engine.bar(key, now, now+int64(wait), max(limit, 1)) {
		return fmt.Errorf("ratelimit: policy %s has no room to block another key: as many as MaxKeys allows are blocked already", m.policy.Name)
	}
	return nil
}

// Reset forgets what key has used. It unlocks a key that Block has refused.
func (m *Memory) Reset(ctx context.Context, key string) error { return m.Block(ctx, key, 0) }

// Keys returns the keys that begin with prefix and have used something, with their
// results. It leaves out keys whose limit is ErrLimitFunc. It is for operators: it looks at every key.
func (m *Memory) Keys(ctx context.Context, prefix string) iter.Seq2[string, Result] {
	return func(yield func(string, Result) bool) {
		for i := 0; m.engine != nil; i++ {
			keys, ok := m.engine.keys(i, m.now())
			if !ok {
				return
			}
			slices.Sort(keys)
			for _, key := range keys {
				if !strings.HasPrefix(key, prefix) {
					continue
				}
				r, err := m.Peek(ctx, key)
				if ctx.Err() != nil || err == nil && !yield(key, r) {
					return
				}
			}
		}
	}
}

// Stats returns a snapshot.
func (m *Memory) Stats() (s Stats) {
	if m.engine != nil {
		s = m.engine.stats()
	}
	s.BadLimits = m.badLimits.Load()
	return s
}

// take decides and writes the result where the caller returns it from: copying it from
// hand to hand takes longer than the counting. now is when it decided, 0 if no counting
// was needed.
func (m *Memory) take(ctx context.Context, key string, cost int, r *Result) (now int64, t token, err error) {
	limit, err := m.admit(ctx, key, cost)
	if err != nil || limit == Unlimited {
		*r = m.untaken(limit, cost)
		return 0, t, err
	}
	var o outcome
	now = m.now()
	if m.exact != nil && cost > 0 {
		takeExact(m.exact, key, now, limit, cost, &o)
	} else {
		o = m.engine.take(key, now, ask{limit: limit, cost: max(cost, 1), peek: cost == 0})
	}
	m.result(r, &o, limit, cost)
	if m.trace != nil && cost > 0 {
		m.report(ctx, key, &o, r)
	}
	return now, o.token, nil
}

// admit checks the arguments and returns the limit in force. A policy that only watches counts
// a bad limit and continues with its own one.
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
		if limit, err = effectiveLimit(ctx, &m.policy, m.limitFunc, key); err != nil {
			m.badLimits.Add(1)
			if !m.policy.Shadow {
				return limit, err
			}
		}
	}
	if cost > limit && limit > 0 && !m.policy.Shadow {
		return limit, ErrCostExceedsLimit
	}
	return limit, nil
}

// record books what another limiter has allowed.
func (m *Memory) record(key string, limit, cost int) *Reservation {
	r := &Reservation{result: m.untaken(limit, cost)}
	if m.engine == nil || limit < 1 || cost < 1 {
		return r
	}
	o := m.engine.take(key, m.now(), ask{limit: limit, cost: cost, record: true})
	m.result(&r.result, &o, limit, cost)
	if o.allowed {
		r.backend, r.memory, r.key, r.booked = (*memoryBackend)(m), m, key, o.token
	}
	return r
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
	r.InFlight, r.Delay = o.flying, o.delay
	r.Window, r.Policy = m.policy.Window, m.policy.Name
	if m.policy.Shadow && !r.Allowed {
		r.Allowed, r.Shadowed, r.RetryAfter, r.InFlight = true, true, 0, 0
	}
}

func (m *Memory) report(ctx context.Context, key string, o *outcome, r *Result) {
	if m.trace.Decided != nil {
		m.trace.Decided(ctx, DecidedEvent{Key: key, Result: *r})
	}
	if m.trace.NearLimit != nil && o.allowed {
		if used, mark := float64(r.Limit-r.Remaining), m.near*float64(r.Limit); used >= mark && used-float64(r.Cost) < mark {
			m.trace.NearLimit(ctx, DecidedEvent{Key: key, Result: *r})
		}
	}
}

// Backend implements Limiter.
func (m *Memory) Backend() Backend { return (*memoryBackend)(m) }

// memoryBackend is a Memory as a Backend: all memory decides together.
type memoryBackend Memory

func (*memoryBackend) Group() any { return memoryGroup }

const memoryGroup = "memory"

// Take holds the locks of all keys while it decides.
func (*memoryBackend) Take(ctx context.Context, checks []Check) ([]*Reservation, error) {
	batch := make([]memoryCheck, len(checks))
	got := make([]*Reservation, len(checks))
	var failed error
	for i := range checks {
		c, l := &checks[i], (*Memory)(checks[i].by().(*memoryBackend))
		cost := c.Cost
		if c.Debt {
			cost = 0 // it may be above the limit
		}
		limit, err := l.admit(ctx, c.Key, cost)
		if c.Cost < 0 {
			err = ErrInvalidCost
		}
		b := &batch[i]
		*b = memoryCheck{Memory: l, key: c.Key, cost: c.Cost, limit: limit, result: l.untaken(limit, c.Cost)}
		b.ask = ask{
			limit: limit, cost: max(c.Cost, 1), within: int64(c.Within), queue: l.queue,
			peek: c.Cost == 0, debt: c.Debt, hold: c.FailuresOnly,
		}
		if l.policy.Shadow {
			b.ask.within = 0
		}
		got[i] = &Reservation{result: b.result}
		if err != nil && failed == nil {
			failed = err
		}
		if b.counted = limit != Unlimited && c.Key != ""; b.counted {
			b.hash = l.engine.hash(c.Key)
		}
	}
	if failed != nil {
		return got, failed
	}
	full := decideBatch(batch)
	for i := range batch {
		b := &batch[i]
		r := got[i]
		r.result = b.result
		if b.booked {
			r.backend, r.memory, r.key, r.booked = (*memoryBackend)(b.Memory), b.Memory, b.key, b.outcome.token
		}
		if b.counted && b.trace != nil && b.cost > 0 {
			b.report(ctx, b.key, &b.outcome, &b.result)
		}
	}
	if full {
		return got, ErrQueueFull
	}
	return got, nil
}

// Settle implements Backend.
func (*memoryBackend) Settle(_ context.Context, list []*Reservation, costs []int) error {
	for i, r := range list {
		m, now := r.memory, r.memory.now()
		if costs[i] > 0 || m.waiting.callers.Load() == 0 {
			m.engine.settle(r.key, now, r.result.Limit, r.result.Cost, costs[i], m.waiting.token(r))
			continue
		}
		for _, f := range m.waiting.leave(r, now) {
			m.engine.settle(r.key, now, r.result.Limit, f.cost, 0, f.token)
		}
	}
	return nil
}

type memoryCheck struct {
	*Memory
	key             string
	cost, limit     int
	ask             ask
	hash            keyHash
	outcome         outcome
	result          Result
	counted, booked bool
	now             int64
}

func decideBatch(batch []memoryCheck) (full bool) {
	// Every batch takes the locks in one order, each once, so that two cannot wait
	// for each other.
	order := make([]*memoryCheck, 0, len(batch))
	for i := range batch {
		if batch[i].counted {
			order = append(order, &batch[i])
		}
	}
	locks := order
	if len(order) > 1 {
		slices.SortFunc(order, func(a, b *memoryCheck) int {
			if a.id != b.id {
				return int(int64(a.id) - int64(b.id))
			}
			return int(int64(a.hash.shard) - int64(b.hash.shard))
		})
		locks = slices.CompactFunc(slices.Clone(order), func(a, b *memoryCheck) bool {
			return a.id == b.id && a.hash.shard == b.hash.shard
		})
	}
	for _, c := range locks {
		c.engine.lock(c.hash)
		defer c.engine.unlock(c.hash)
	}
	allowed := true
	for _, c := range order {
		c.now = c.Memory.now()
		c.outcome = c.engine.decideLocked(c.hash, c.key, c.now, c.ask)
		full = full || c.outcome.full
		if !c.outcome.allowed && !c.policy.Shadow && c.cost > 0 {
			allowed = false
			c.outcome = c.engine.commitLocked(c.hash, c.key, c.now, c.ask, c.outcome)
		}
	}
	for i, c := range order {
		if !allowed || c.cost == 0 || !c.outcome.allowed {
			continue
		}
		c.outcome = c.engine.commitLocked(c.hash, c.key, c.now, c.ask, c.outcome)
		if c.booked = c.outcome.allowed; c.booked || c.policy.Shadow {
			continue
		}
		// The key found no place of its own and the shared one is used up.
		allowed = false
		for _, b := range order[:i] {
			if b.booked {
				b.booked = false
				b.engine.settleLocked(b.hash, b.key, b.now, b.limit, b.cost, 0, b.outcome.token)
				b.outcome = b.engine.decideLocked(b.hash, b.key, b.now, b.ask)
			}
		}
	}
	for _, c := range order {
		c.Memory.result(&c.result, &c.outcome, c.limit, c.cost)
	}
	return full
}

var _ Limiter = (*Memory)(nil)
