package redislimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// Concurrency is a concurrency.Limiter on Redis: at most Limit uses of a key
// are in flight in all processes together. [Store.Concurrency] makes it.
//
// A slot is leased. While it is held this process renews it, and when the process dies
// or is disconnected the slot runs out on the server's clock, so no crash takes a slot away
// for longer than a lease. A holder that could not renew in time finds Held false, by
// its own clock and before the slot can be another's, unless this machine's clock runs
// slower than the server's by more than a hundredth, or stands still with the machine.
//
// As for limits of rates, slots are forgotten early when Redis forgets them: in a
// failover, in a restart without its data, by eviction, or when the server's clock is
// set forward. Their holders learn it when they renew, at most a third of a lease
// later. Until then up to Limit more may be in flight. [concurrency.Slot.Token] protects a
// resource from the older holder. A token is an instant of the server's
// clock, and so grows also after Redis has lost its data, unless that clock was set
// back or the failover went to a slower one.
type Concurrency struct {
	store  *Store
	policy concurrency.Policy
	suffix string // of Redis keys
	opts   ConcurrencyOptions
	local  *concurrency.Memory
	holder string // begins the names of this process's slots
	slots  atomic.Uint64
	turns  turns // of callers that wait

	held                            atomic.Int64
	allowed, denied, lost, degraded atomic.Uint64
}

// ConcurrencyOptions configure a Concurrency.
type ConcurrencyOptions struct {
	// Lease is how long a slot outlives the process that held it, and how long Redis
	// may be away until holders lose theirs. A slot that is held longer is renewed
	// every third of it; a slot that is released before costs no further command. At least three
	// times the store's Timeout. Default: 30 s.
	Lease time.Duration
	// Options are those of every limiter; MaxKeys bounds what FailLocal keeps.
	ratelimit.Options
}

const defaultLease = 30 * time.Second

// Concurrency returns a limiter of uses in flight. Limiters of the same policy name
// share their slots, in all processes. opts may be nil.
func (s *Store) Concurrency(policy concurrency.Policy, opts *ConcurrencyOptions) (*Concurrency, error) {
	if err := policy.Validate(); err != nil { // the check below is about this process's share
		return nil, err
	}
	var o ConcurrencyOptions
	if opts != nil {
		o = *opts
	}
	o.Lease = cmp.Or(o.Lease, defaultLease)
	o.NearLimit = cmp.Or(o.NearLimit, 0.8)
	if o.Lease < 3*s.opts.Timeout {
		return nil, fmt.Errorf("redislimit: a lease of %v is too short for a Timeout of %v: make it at least %v, or a renewal that is late loses the slot", o.Lease, s.opts.Timeout, 3*s.opts.Timeout)
	}
	local, err := concurrency.New(policy, &ratelimit.Options{
		MaxKeys: o.MaxKeys, NearLimit: o.NearLimit,
		LimitFunc: func(ctx context.Context, key string) (int, bool) {
			limit := policy.Limit
			if o.LimitFunc != nil {
				if n, ok := o.LimitFunc(ctx, key); ok {
					limit = n
				}
			}
			return s.share(limit), true
		},
	})
	if err != nil {
		return nil, err
	}
	if err := s.claim(policy.Name, "a limit of what is in flight"); err != nil {
		return nil, err
	}
	return &Concurrency{
		store: s, policy: policy, suffix: policy.Name + ":c", opts: o, local: local, holder: rand.Text()[:16] + "-",
	}, nil
}

// Policy implements concurrency.Limiter.
func (c *Concurrency) Policy() concurrency.Policy { return c.policy }

// ConcurrencyStats counts decisions of a Concurrency.
type ConcurrencyStats struct {
	// InFlight is how many slots on Redis this process holds now.
	InFlight int
	// Allowed and Denied count decisions, however they came about.
	Allowed, Denied uint64
	// Lost counts slots that ran out, or that Redis forgot, before their release.
	Lost uint64
	// Degraded counts decisions that the policy's OnFailure took.
	Degraded uint64
}

// Stats returns a snapshot.
func (c *Concurrency) Stats() ConcurrencyStats {
	return ConcurrencyStats{
		InFlight: int(c.held.Load()), Allowed: c.allowed.Load(), Denied: c.denied.Load(),
		Lost: c.lost.Load(), Degraded: c.degraded.Load(),
	}
}

// Acquire implements concurrency.Limiter. It is one round trip, and so is the
// slot's Release. The end of a context is noticed after at most the store's
// Timeout: a question that is left unanswered would leave its slot behind.
//
// With Policy.Wait the callers of one process wait in the order of their calls. Only the
// first one sends commands: at once after a release in this process, and every few
// milliseconds otherwise. The order among processes is random.
//
// Slots that OnFailure gives while Redis does not respond are not counted in Redis later.
func (c *Concurrency) Acquire(ctx context.Context, key string, weight int) (*concurrency.Slot, error) {
	r, decided, err := c.policy.Begin(ctx, c.opts.LimitFunc, key, weight)
	if err != nil {
		return concurrency.NewSlot(r, nil), err
	}
	var slot *concurrency.Slot
	if decided {
		slot = concurrency.NewSlot(r, nil)
	} else if slot, err = c.wait(ctx, key, r); err != nil && !errors.Is(err, ratelimit.ErrUnavailable) {
		return slot, err
	}
	c.report(ctx, key, slot)
	return slot, err
}

// report counts a decision and calls the hooks.
func (c *Concurrency) report(ctx context.Context, key string, s *concurrency.Slot) {
	r := s.Result()
	if r.Allowed {
		c.allowed.Add(1)
	} else {
		c.denied.Add(1)
	}
	if r.Degraded {
		c.degraded.Add(1)
	}
	concurrency.Report(ctx, c.opts.Trace, c.opts.NearLimit, key, s)
}

// wait takes slots, in turn if need be.
func (c *Concurrency) wait(ctx context.Context, key string, r ratelimit.Result) (*concurrency.Slot, error) {
	if c.policy.Wait == 0 || c.policy.Shadow {
		return c.take(ctx, key, r)
	}
	redisKey := c.store.redisKey(key, c.suffix)
	turn := c.turns.enter(redisKey, c.policy.MaxQueue())
	if turn == nil {
		c.policy.Settle(&r, false, r.Limit)
		return concurrency.NewSlot(r, nil), nil
	}
	defer c.turns.leave(redisKey, turn)
	deadline := time.Now().Add(c.policy.Wait)
	pause := 5 * time.Millisecond
	refusal := r
	c.policy.Settle(&refusal, false, r.Limit)
	for {
		if turn.first() {
			slot, err := c.take(ctx, key, r)
			if err != nil || slot.Result().Allowed || slot.Result().Degraded {
				return slot, err
			}
			refusal = slot.Result()
		} else {
			pause = c.policy.Wait // until it is the first
		}
		left := time.Until(deadline)
		if left <= 0 {
			return concurrency.NewSlot(refusal, nil), nil
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-turn.woken:
			pause = 5 * time.Millisecond
		case <-timer.C:
			pause = min(2*pause, 250*time.Millisecond)
		case <-ctx.Done():
			timer.Stop()
			return concurrency.NewSlot(r, nil), ctx.Err()
		}
		timer.Stop()
	}
}

// take takes slots on Redis.
func (c *Concurrency) take(ctx context.Context, key string, r ratelimit.Result) (*concurrency.Slot, error) {
	l := &lease{
		c: c, keys: []string{c.store.redisKey(key, c.suffix)}, weight: r.Cost,
		name: c.holder + strconv.FormatUint(c.slots.Add(1), 36),
	}
	sent := time.Now()
	reply, err := c.store.integers(context.WithoutCancel(ctx), 3, acquireScript, l.keys, r.Limit, c.opts.Lease.Microseconds(), l.weight, l.name)
	if err != nil {
		if _, unasked := errors.AsType[errDown](err); !unasked {
			l.freeLater(time.Now().Add(c.opts.Lease)) // Redis may have received the question
		}
		if ctx.Err() != nil {
			return concurrency.NewSlot(r, nil), ctx.Err()
		}
		return c.fallback(ctx, key, r, err)
	}
	if reply[0] == 0 {
		c.policy.Settle(&r, false, int(reply[1]))
		return concurrency.NewSlot(r, nil), nil
	}
	c.store.beat()
	l.begin(sent, reply[2])
	if err := ctx.Err(); err != nil {
		l.Release() //nolint:errcheck // the slot runs out by itself
		return concurrency.NewSlot(r, nil), err
	}
	c.policy.Settle(&r, true, int(reply[1]))
	return concurrency.NewSlot(r, l), nil
}

// fallback decides by the policy's OnFailure.
func (c *Concurrency) fallback(ctx context.Context, key string, r ratelimit.Result, cause error) (*concurrency.Slot, error) {
	mode := c.policy.OnFailure
	if c.policy.Shadow && mode == ratelimit.FailClosed {
		mode = ratelimit.FailOpen // a policy that only watches refuses no request
	}
	r.Degraded = true
	switch mode {
	case ratelimit.FailOpen:
		r.Allowed, r.Remaining = true, r.Limit
		return concurrency.NewSlot(r, nil), nil
	case ratelimit.FailClosed:
		r.RetryAfter = c.store.pauseLeft(cause)
		return concurrency.NewSlot(r, nil), ratelimit.ErrUnavailable
	}
	slot, err := c.local.Acquire(ctx, key, min(r.Cost, c.store.share(r.Limit)))
	local := slot.Result()
	local.Degraded, local.Cost = true, r.Cost
	return concurrency.NewSlot(local, localSlot{slot}), err
}

// localSlot is a slot that FailLocal counts. It cannot be lost.
type localSlot struct{ *concurrency.Slot }

func (localSlot) Lost() context.Context { return context.Background() }
