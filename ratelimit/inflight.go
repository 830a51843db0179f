package ratelimit

import (
	"context"
	"fmt"
)

// Concurrency is a ConcurrencyLimiter within one process. It starts no goroutine, and
// its slots cannot be lost: who never releases one keeps it.
type Concurrency struct {
	policy    ConcurrencyPolicy
	slots     *shards[inFlight, inFlights]
	limitFunc LimitFunc
	trace     *Trace
	near      float64
}

// ConcurrencyStats counts what a Concurrency did since it was made.
type ConcurrencyStats struct {
	// Keys is how many keys this process keeps now, and InFlight how many slots of
	// theirs are taken.
	Keys, InFlight int
	// Allowed and Denied count decisions.
	Allowed, Denied uint64
	// Crowded counts decisions on the slots that all keys share which came when MaxKeys
	// others had theirs in use.
	Crowded uint64
}

// inFlight is the use of one key. inFlights makes it an algorithm without time: what
// is taken stays taken until it is given back.
type inFlight struct{ n int }

type inFlights struct{}

func (inFlights) take(e *inFlight, _ int64, limit, cost int, book bool) outcome {
	allowed := cost <= limit-e.n
	if allowed && book {
		e.n += cost
	}
	return outcome{allowed: allowed, limit: limit, used: e.n}
}

func (inFlights) cancel(e *inFlight, _ int64, _, cost int, _ int64) { e.n -= cost }

func (inFlights) stale(e *inFlight, _ int64) bool { return e.n == 0 }

// A key with a slot in use stays, or its holder would release another's.
func (inFlights) used(e *inFlight) (int, bool) { return e.n, e.n > 0 }

// NewConcurrency returns a limiter that counts in this process. Of opts, which may be
// nil, MaxKeys bounds the keys that are kept, at about 40 bytes and the key's own each.
func NewConcurrency(policy ConcurrencyPolicy, opts *Options) (*Concurrency, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	switch {
	case o.MaxKeys < 0:
		return nil, fmt.Errorf("ratelimit: MaxKeys %d is negative", o.MaxKeys)
	case o.NearLimit < 0 || o.NearLimit > 1:
		return nil, fmt.Errorf("ratelimit: NearLimit %v is not between 0 and 1", o.NearLimit)
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if o.NearLimit == 0 {
		o.NearLimit = 0.8
	}
	return &Concurrency{
		policy: policy, limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit,
		slots: newShards[inFlight](inFlights{}, o.MaxKeys),
	}, nil
}

// Policy returns what the limiter was made with.
func (c *Concurrency) Policy() ConcurrencyPolicy { return c.policy }

// Acquire implements ConcurrencyLimiter.
func (c *Concurrency) Acquire(ctx context.Context, key string) (*Slot, error) {
	r, decided, err := c.policy.Begin(ctx, c.limitFunc, key)
	s := &Slot{result: r}
	if err != nil {
		return s, err
	}
	if !decided {
		c.take(s, key)
	}
	if t := c.trace; t != nil {
		t.report(ctx, key, s.result, c.near)
	}
	return s, nil
}

// report tells the hooks of a slot's decision.
func (t *Trace) report(ctx context.Context, key string, r Result, near float64) {
	if t.Decided != nil {
		t.Decided(ctx, key, r)
	}
	if t.NearLimit != nil && r.Allowed && !r.Shadowed && r.Limit != Unlimited && CrossesNear(r, near) {
		t.NearLimit(ctx, key, r)
	}
}

func (c *Concurrency) take(s *Slot, key string) {
	h := c.slots.hash(key)
	sh := &c.slots.shards[h.shard]
	sh.mu.Lock()
	e := c.slots.find(sh, h, key, 0)
	if e == nil {
		e = c.place(sh, h, key)
		s.crowded = e == sh.overflow
	}
	o := c.slots.algo.take(e, 0, s.result.Limit, 1, true)
	if o.allowed {
		sh.allowed++
		s.memory, s.key, s.place = c, key, h
	} else {
		sh.denied++
	}
	sh.mu.Unlock()
	c.policy.Settle(&s.result, o.allowed, o.used)
}

// place makes an entry for key. While the entry that keys share is in use, every
// newcomer shares it: the key may have slots there, and would get its limit twice.
func (c *Concurrency) place(sh *shard[inFlight], h keyHash, key string) *inFlight {
	if sh.overflow != nil && sh.overflow.n > 0 {
		sh.crowded++
		return sh.overflow
	}
	return c.slots.insert(sh, h, key, 0)
}

func (c *Concurrency) release(s *Slot) {
	sh := &c.slots.shards[s.place.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.overflow
	if !s.crowded {
		e = sh.table.find(s.place.hash, s.key)
	}
	c.slots.algo.cancel(e, 0, s.result.Limit, 1, 0)
}

// Stats returns a snapshot. It looks at every key.
func (c *Concurrency) Stats() ConcurrencyStats {
	all := c.slots.stats()
	st := ConcurrencyStats{Keys: all.Keys, Allowed: all.Allowed, Denied: all.Denied, Crowded: all.Crowded}
	for i := range c.slots.shards {
		sh := &c.slots.shards[i]
		sh.mu.Lock()
		for j := range sh.table.slots { // free ones are zero
			st.InFlight += sh.table.slots[j].val.n
		}
		if sh.overflow != nil {
			st.InFlight += sh.overflow.n
		}
		sh.mu.Unlock()
	}
	return st
}
