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
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// Leased is a ratelimit.Limiter for keys with so many decisions that a round trip for each is
// too expensive. This process takes units of such a key in blocks, and decides from a block
// without Redis. [Store.Leased] makes it.
//
// It admits at most Limit in any window of the server's clock, as Exact and Buckets do,
// in all processes together and beside a [Limiter] of the same policy: Redis counts a
// unit as used at the last instant at which this process may use it, so it leaves the
// window late and never early. A machine whose clock runs slower than the server's by
// more than a hundredth, or stands still with the machine, may use one later than that.
//
// The price is that fewer than Limit may be admitted. A unit is free again up to Life late,
// which takes Life / (Window + Life) of the rate under a load that never ends. Units that
// this process holds are denied to others until they go back: at the key's next decision
// after Life, by [Leased.Run], or else after the window. The units of a killed process are
// free again after Window + Life.
//
// Blocks grow while a key uses them up within Life, and shrink to the number of used units. A
// block takes at most half of the units that a key has left. A key with few decisions, and
// the last units of every key, are decided one by one, as by a Limiter.
type Leased struct {
	under  *Limiter
	block  int
	life   time.Duration
	keys   blocks
	name   string // begins the names of this process's questions
	asked  atomic.Uint64
	leased atomic.Uint64
}

var _ ratelimit.Limiter = (*Leased)(nil)

// LeaseOptions configure a Leased.
type LeaseOptions struct {
	// Block is the most units of a key that this process holds at once. Default: a
	// tenth of Limit divided by the store's Instances, from 1 to 1000.
	Block int
	// Life is how long units may be held, at most the Window. Default: a fiftieth of
	// Window, from 1 ms to 1 s.
	Life time.Duration
	// Options are those of every limiter. MaxKeys bounds the keys of FailLocal. Blocks are
	// kept for at most 65,536 keys. Further keys are decided as by a Limiter.
	ratelimit.Options
}

const maxBlock = 1000

// Leased returns a limiter that takes units of policy in blocks. It does not support GCRA and
// CountDenied. opts may be nil. [Leased.Run] should run beside it.
func (s *Store) Leased(policy ratelimit.Policy, opts *LeaseOptions) (*Leased, error) {
	var o LeaseOptions
	if opts != nil {
		o = *opts
	}
	under, err := s.Limiter(policy, &o.Options)
	if err != nil {
		return nil, err
	}
	o.Block = cmp.Or(o.Block, min(max(policy.Limit/(10*s.instances()), 1), maxBlock))
	o.Life = cmp.Or(o.Life, min(max(policy.Window/50, time.Millisecond), time.Second))
	switch {
	case policy.Algorithm == ratelimit.GCRA || policy.CountDenied:
		return nil, fmt.Errorf("redislimit: policy %s: units are leased for Exact and Buckets only, without CountDenied", policy.Name)
	case o.Block < 1 || o.Block > maxBlock:
		return nil, fmt.Errorf("redislimit: policy %s: Block %d must be from 1 to %d; 0 is the default", policy.Name, o.Block, maxBlock)
	case policy.Window > 0 && (o.Life < time.Millisecond || o.Life > policy.Window):
		return nil, fmt.Errorf("redislimit: policy %s: Life %v must be from 1 ms to the window of %v; 0 is the default", policy.Name, o.Life, policy.Window)
	}
	if under.denials != nil { // others give units back within Life
		under.denials.keep = min(under.denials.keep, o.Life)
	}
	l := &Leased{under: under, block: o.Block, life: o.Life, name: rand.Text()[:16] + "-"}
	l.keys.base = s.base
	return l, nil
}

// Policy returns the policy of the limiter.
func (l *Leased) Policy() ratelimit.Policy { return l.under.policy }

// LeasedStats counts decisions of a Leased.
type LeasedStats struct {
	LimiterStats
	// Leased counts decisions out of a block, without Redis.
	Leased uint64
	// Keys is how many keys this process knows of, and Held how many units it holds.
	Keys, Held int
}

// Stats returns a snapshot. It looks at every key.
func (l *Leased) Stats() LeasedStats {
	st := LeasedStats{LimiterStats: l.under.Stats(), Leased: l.leased.Load()}
	st.Keys, st.Held = l.keys.count()
	return st
}

// Allow is AllowN with a cost of 1.
func (l *Leased) Allow(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN implements ratelimit.Limiter.
func (l *Leased) AllowN(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	if r, ok := l.quick(ctx, key, cost); ok {
		return r, nil
	}
	c, err := l.take(ctx, ratelimit.Check{Key: key, Cost: cost})
	return c.res, err
}

// Peek returns the result of Allow without using units. It sends a command.
func (l *Leased) Peek(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 0)
}

// Reserve is AllowN whose cost can still change.
func (l *Leased) Reserve(ctx context.Context, key string, cost int) (*ratelimit.Reservation, error) {
	d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: l, Key: key, Cost: cost})
	return d.Reservation(0), err
}

// Wait is Limiter.Wait: units that wait do not come out of a block.
func (l *Leased) Wait(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	if r, ok := l.quick(ctx, key, cost); ok {
		return r, nil
	}
	return driver.Wait(ctx, ratelimit.Check{Limiter: l.under, Key: key, Cost: cost})
}

// Block implements ratelimit.Limiter. Other processes use up their blocks.
func (l *Leased) Block(ctx context.Context, key string, wait time.Duration) error {
	l.keys.drop(key)
	return l.under.Block(ctx, key, wait)
}

// Reset forgets what key has used.
func (l *Leased) Reset(ctx context.Context, key string) error { return l.Block(ctx, key, 0) }

// Backend implements ratelimit.Limiter.
func (l *Leased) Backend() ratelimit.Backend { return (*leasedBackend)(l) }

// leasedBackend is a Leased as a ratelimit.Backend: it decides one check at a time.
type leasedBackend Leased

func (b *leasedBackend) Group() any { return b }

func (b *leasedBackend) Take(ctx context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	l := (*Leased)(b)
	list := make([]*ratelimit.Reservation, len(checks))
	denied := false
	for i, check := range checks {
		if check.Within > 0 || check.Debt || check.FailuresOnly {
			got, err := l.under.Backend().Take(ctx, []ratelimit.Check{{
				Limiter: l.under, Key: check.Key, Cost: check.Cost, Within: check.Within, Debt: check.Debt, FailuresOnly: check.FailuresOnly,
			}})
			list[i] = got[0]
			if err != nil {
				return list, errors.Join(err, cancelAll(ctx, list))
			}
		} else {
			c, err := l.take(ctx, check)
			list[i] = c.reservation()
			if err != nil {
				return list, errors.Join(err, cancelAll(ctx, list))
			}
		}
		denied = denied || check.Cost > 0 && !list[i].Result().Allowed
	}
	if denied {
		return list, cancelAll(ctx, list)
	}
	return list, nil
}

func cancelAll(ctx context.Context, list []*ratelimit.Reservation) (err error) {
	for _, r := range list {
		if r != nil {
			err = errors.Join(err, r.Cancel(context.WithoutCancel(ctx)))
		}
	}
	return err
}

func (b *leasedBackend) Settle(ctx context.Context, list []*ratelimit.Reservation, costs []int) error {
	return b.under.Backend().Settle(ctx, list, costs)
}

// quick decides out of a block, if the block is enough.
func (l *Leased) quick(ctx context.Context, key string, cost int) (r ratelimit.Result, ok bool) {
	p := &l.under.policy
	limit := p.Limit
	if cost < 1 || key == "" || ctx.Err() != nil {
		return r, false
	}
	if f := l.under.limitFunc; f != nil && p.Window > 0 {
		var err error
		if limit, err = driver.Limit(ctx, p, f, key); err != nil {
			return r, false
		}
	}
	if limit < cost {
		return r, false
	}
	r = ratelimit.Result{Limit: limit, Cost: cost, Window: p.Window, Policy: p.Name}
	sh := l.keys.shard(key)
	sh.mu.Lock()
	b := sh.blocks[key]
	ok = b != nil && b.spend(&r, l.keys.now())
	sh.mu.Unlock()
	if ok {
		l.leased.Add(1)
		l.under.report(ctx, key, &r, true)
	}
	return r, ok
}

// take decides one check.
func (l *Leased) take(ctx context.Context, check ratelimit.Check) (*call, error) {
	c := &call{l: l.under, check: check}
	ask, err := c.prepare(ctx)
	switch {
	case err != nil || !ask:
	case check.Cost == 0:
		err = l.peek(ctx, c)
	default:
		err = l.decide(ctx, c)
	}
	return c, c.finish(ctx, err)
}

// peek adds the units of this process to the reply of Redis.
func (l *Leased) peek(ctx context.Context, c *call) error {
	if err := l.under.store.decide(ctx, []*call{c}); err != nil || c.res.Degraded {
		return err
	}
	sh := l.keys.shard(c.check.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b := sh.blocks[c.check.Key]; b != nil && b.live(c.res.Limit, l.keys.now()) && b.left > 0 {
		c.res.Allowed, c.res.RetryAfter = true, 0
		c.res.Remaining = min(c.res.Remaining+b.left, c.res.Limit)
	}
	return nil
}

// decide takes c's cost out of the key's block, or fills that first.
func (l *Leased) decide(ctx context.Context, c *call) error {
	sh := l.keys.shard(c.check.Key)
	for {
		sh.mu.Lock()
		now := l.keys.now()
		b := sh.get(c.check.Key, now, l.life)
		if b != nil && b.spend(&c.res, now) {
			c.booked, c.leased, c.lent, c.stamp, c.given = true, l, b.mirror, b.stamp, b.given
			sh.mu.Unlock()
			l.leased.Add(1)
			return nil
		}
		if b == nil || b.filling != nil && b.more == 0 { // that command brings no units for others
			sh.mu.Unlock()
			return l.fill(ctx, c, sh, nil, order{})
		}
		if b.filling == nil {
			o := b.order(now, l.life, l.block)
			sh.mu.Unlock()
			return l.fill(ctx, c, sh, b, o)
		}
		filling := b.filling
		sh.mu.Unlock()
		select {
		case <-filling:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.under.denials != nil && l.under.denials.get(c.check.Key, &c.res) {
			c.fromCache = true
			return nil
		}
	}
}

// fill takes c's cost and the units of o on Redis, and puts the rest into b.
// The answer must become known even when the caller leaves: ctx is looked at after it.
func (l *Leased) fill(ctx context.Context, c *call, sh *blockShard, b *block, o order) error {
	known := context.WithoutCancel(ctx)
	err := l.under.store.merge(known, []*call{c})
	unasked := err != nil
	sent := l.keys.now()
	var reply []int64
	if !unasked {
		reply, err = l.ask(known, c.at(), c.res.Limit, c.check.Cost, o)
	}
	left := ctx.Err()
	if err == nil {
		c.readLease(l, reply, l.keys.base.Add(time.Duration(sent)))
		o.mirror.back(known, o.back)
	}
	if b != nil {
		sh.mu.Lock()
		if _, down := errors.AsType[errDown](err); down || unasked {
			b.left = o.back
		} else if err == nil {
			b.fill(c, reply, sent, l.life, left == nil)
			c.booked = c.booked && left == nil // the units of a caller that has left are in the block
		}
		close(b.filling)
		b.filling = nil
		sh.mu.Unlock()
	}
	switch {
	case left != nil && err == nil && b == nil && c.booked:
		return errors.Join(left, l.under.store.undo(ctx, []*call{c}))
	case left != nil:
		return left
	case err != nil:
		back, err := l.under.store.fallbackAll(ctx, []*call{c}, err)
		if back {
			return l.decide(ctx, c)
		}
		return err
	}
	return nil
}

// readLease takes over the reply of lease.lua.
func (c *call) readLease(l *Leased, reply []int64, sent time.Time) {
	booked := reply[0]
	reply[0] = min(booked, 1)
	c.read(reply, sent)
	reply[0] = booked
	if booked > 0 {
		c.res.Remaining += int(booked) - c.check.Cost
		c.granted(int(booked))            // also the units that stay in the block
		if booked > int64(c.check.Cost) { // its units are some of many that have one instant
			c.leased, c.given = l, reply[8]
		}
	}
}

// ask runs lease.lua.
func (l *Leased) ask(ctx context.Context, redisKey string, limit, cost int, o order) ([]int64, error) {
	s := l.under.store
	keys := []string{redisKey}
	if o.back > 0 {
		keys = append(keys, redisKey+":"+l.name+strconv.FormatUint(l.asked.Add(1), 36))
	}
	return s.integers(ctx, 9, leaseScript, keys,
		grain(&l.under.policy, limit), limit, l.under.window, cost, o.more, l.life.Microseconds(), o.back, o.stamp, 60_000, o.given)
}

// settle gives back units that came out of a block: to the block, as long as they may
// be used, and else to Redis, once, since its answer may be lost. More units are charged.
func (l *Leased) settle(ctx context.Context, c *call, from, cost int) error {
	var err error
	if c.mirror != nil {
		err = driver.Settle(ctx, c.mirror, cost)
	}
	switch back := from - cost; {
	case back > 0:
		if l.under.denials != nil {
			defer l.under.denials.drop(c.check.Key)
		}
		if !l.keys.giveBack(c.check.Key, c.given, back) {
			err = errors.Join(err, l.returned(ctx, c.check.Key, order{back: back, stamp: c.stamp, given: c.given, mirror: c.lent}))
		}
	case back < 0:
		_, e := l.under.Charge(ctx, c.check.Key, -back)
		err = errors.Join(err, e)
	}
	return err
}

// returned gives units back to Redis.
func (l *Leased) returned(ctx context.Context, key string, o order) error {
	_, err := l.ask(ctx, l.under.store.redisKey(key, l.under.suffix), l.under.policy.Limit, 0, o)
	if err == nil {
		o.mirror.back(ctx, o.back)
	}
	return wrap(err)
}

// Run gives back units of this process whose time has passed, so that the keys of
// bursts that are over serve the other processes again, and when ctx ends all the rest:
// end it after the server has shut down. It returns nil, or why the last units could not
// be given back; they are free a window later in any case.
func (l *Leased) Run(ctx context.Context) error {
	tick := time.NewTicker(max(l.life, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.returnAll(context.WithoutCancel(ctx), true)
		case <-tick.C:
			l.returnAll(ctx, false) //nolint:errcheck // the store reports that Redis does not answer
		}
	}
}

// returnAll gives back units whose life has ended, or all units. It stops at the first
// failure, since the others would fail too. The rest is lost until the window has passed.
func (l *Leased) returnAll(ctx context.Context, everything bool) error {
	for i := range l.keys.shards {
		for key, o := range l.keys.collect(&l.keys.shards[i], l.life, everything) {
			if err := l.returned(ctx, key, o); err != nil {
				return err
			}
			if l.under.denials != nil {
				l.under.denials.drop(key)
			}
		}
	}
	return nil
}
