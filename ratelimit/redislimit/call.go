package redislimit

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// call is one check on its way to Redis and back, and then the token of its reservation.
type call struct {
	l         *Limiter
	check     ratelimit.Check
	redisKey  string
	res       ratelimit.Result
	limit     int // in force; res holds this process's share of it while Redis is away
	sent      time.Time
	stamp     int64
	name      string // of the units in flight
	booked    bool   // on Redis
	full      bool   // too many wait
	fromCache bool
	leased    *Leased // the units came out of its block

	mu     sync.Mutex
	mirror *ratelimit.Reservation // its entry in this process's own log
	local  bool                   // OnFailure decided
	late   bool                   // settled for lateCost while it was being merged

	lateCost int
}

// at is the key in Redis.
func (c *call) at() string {
	if c.redisKey == "" {
		c.redisKey = c.l.store.redisKey(c.check.Key, c.l.suffix)
	}
	return c.redisKey
}

// prepare checks the arguments and reports whether Redis must decide.
func (c *call) prepare(ctx context.Context) (ask bool, err error) {
	l, key, cost := c.l, c.check.Key, c.check.Cost
	limit := l.policy.Limit
	c.limit, c.fromCache = limit, false
	c.res = ratelimit.Result{Limit: limit, Cost: cost, Window: l.policy.Window, Policy: l.policy.Name}
	switch {
	case key == "":
		return false, ratelimit.ErrEmptyKey
	case cost < 0:
		return false, ratelimit.ErrInvalidCost
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if l.limitFunc != nil && l.policy.Window > 0 {
		if limit, err = driver.Limit(ctx, &l.policy, l.limitFunc, key); err != nil {
			l.badLimits.Add(1)
			return false, err
		}
		c.limit, c.res.Limit = limit, limit
	}
	switch {
	case limit == ratelimit.Unlimited:
		c.res.Allowed = true
		return false, nil
	case limit == 0:
		c.res.RetryAfter = ratelimit.Never
		c.shadow()
		return false, nil
	case cost > limit && !c.check.Debt:
		c.res.RetryAfter = ratelimit.Never
		return false, ratelimit.ErrCostExceedsLimit
	}
	if c.remembers() && l.denials.get(key, &c.res) {
		c.fromCache = true
		return false, nil
	}
	return true, nil
}

// shadow turns a denial by a policy that only watches into a report.
func (c *call) shadow() {
	if c.l.policy.Shadow && !c.res.Allowed {
		c.res.Allowed, c.res.Shadowed, c.res.RetryAfter, c.res.InFlight = true, true, 0, 0
	}
}

// finish counts and reports the decision.
func (c *call) finish(ctx context.Context, err error) error {
	if err == nil && c.full {
		err = ratelimit.ErrQueueFull
	}
	if c.check.Cost == 0 || err != nil && !errors.Is(err, ratelimit.ErrUnavailable) {
		return err
	}
	if c.fromCache {
		c.l.cached.Add(1)
	}
	c.l.report(ctx, c.check.Key, &c.res, c.booked)
	return err
}

// read takes over the eight integers of a script's reply.
func (c *call) read(reply []int64, sent time.Time) {
	r := &c.res
	r.Allowed = reply[0] == 1
	r.Remaining = max(r.Limit-int(reply[1]), 0)
	r.RetryAfter = time.Duration(reply[2]) * time.Microsecond
	r.NextAfter = time.Duration(reply[3]) * time.Microsecond
	r.ResetAfter = time.Duration(reply[4]) * time.Microsecond
	r.InFlight = int(reply[6])
	c.stamp, c.sent = reply[5], sent
	if c.full = reply[7] < 0; !c.full {
		r.Delay = time.Duration(reply[7]) * time.Microsecond
	}
	if !r.Allowed && c.l.denials != nil && c.check.Cost > 0 && r.InFlight == 0 && c.check.Within == 0 {
		c.l.denials.put(c.check.Key, r, sent)
	}
	c.shadow()
}

// granted records the booked call in this process too: this process's own log takes over
// while Redis is away.
func (c *call) granted() {
	c.booked = true
	if c.l.policy.OnFailure == ratelimit.FailLocal {
		c.mirror = driver.Record(c.l.local, c.check.Key, c.res.Limit, c.check.Cost)
	}
}

// fallback decides by the policy's OnFailure.
func (c *call) fallback(ctx context.Context, cause error) error {
	mode := c.l.policy.OnFailure
	if c.l.policy.Shadow && mode == ratelimit.FailClosed {
		mode = ratelimit.FailOpen // a policy that only watches refuses no request
	}
	c.res.Degraded = true
	switch mode {
	case ratelimit.FailOpen:
		c.res.Allowed, c.res.Remaining = true, c.res.Limit
		return nil
	case ratelimit.FailClosed:
		c.res.RetryAfter = c.l.store.pauseLeft(cause)
		return ratelimit.ErrUnavailable
	}
	check := ratelimit.Check{
		Limiter: c.l.local, Key: c.check.Key, Cost: c.check.Cost,
		Within: c.check.Within, Debt: c.check.Debt, FailuresOnly: c.check.FailuresOnly,
	}
	if share := c.l.store.share(c.res.Limit); !check.Debt {
		check.Cost = min(check.Cost, share) // it may be smaller than a cost that the whole limit holds
	}
	d, err := ratelimit.Decide(ctx, check)
	c.res = d.Results[0]
	c.res.Degraded, c.res.Cost = true, c.check.Cost
	if err == nil && c.res.Allowed && !c.res.Shadowed && check.Cost > 0 {
		c.mirror, c.local = d.Reservation(0), true
		if !crossSlot(cause) && !isReply(cause) {
			c.l.store.outage.add(c)
		}
	}
	return err
}

// reservation returns the reservation for the caller.
func (c *call) reservation() *ratelimit.Reservation {
	if !c.booked && !c.local {
		return driver.NewReservation(c.res, nil, nil)
	}
	return driver.NewReservation(c.res, (*backend)(c.l), c)
}

// decide asks Redis about calls in one script, and falls back without a reply. The
// error is the caller's context's, or ErrUnavailable, or a mistake of the caller.
func (s *Store) decide(ctx context.Context, calls []*call) error {
	err := s.merge(ctx, calls)
	if err == nil {
		if len(calls) == 1 && calls[0].l.gcra != nil {
			err = s.takeGCRA(ctx, calls[0])
		} else {
			err = s.run(ctx, calls)
		}
	}
	if err == nil {
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	return s.fallbackAll(ctx, calls, err)
}

// fallbackAll decides calls together while Redis is away.
func (s *Store) fallbackAll(ctx context.Context, calls []*call, cause error) error {
	var errs []error
	denied := false
	for _, c := range calls {
		err := c.fallback(ctx, cause)
		errs = append(errs, err)
		denied = denied || err != nil || c.check.Cost > 0 && !c.res.Allowed
	}
	if denied {
		errs = append(errs, s.undo(ctx, calls))
	}
	return errors.Join(errs...)
}

// run sends calls, whose keys share a slot, to Redis in one script.
func (s *Store) run(ctx context.Context, calls []*call) error {
	keys := make([]string, len(calls))
	args := make([]any, 0, 8*len(calls))
	for i, c := range calls {
		keys[i] = c.at()
		p := &c.l.policy
		flags := 0
		if p.Shadow {
			flags++
		}
		if p.CountDenied {
			flags += 2
		}
		if c.check.Debt {
			flags += 4
		}
		if c.check.FailuresOnly {
			flags += 8
			c.name = rand.Text()[:12]
		}
		if c.check.Cost == 0 {
			flags += 16
		}
		args = append(args, grain(p, c.limit), c.limit, c.l.window, max(c.check.Cost, 1), flags, c.check.Within.Microseconds(), c.l.queue, c.name)
	}
	sent := time.Now()
	reply, err := s.integers(ctx, 8*len(calls), takeScript, keys, args...)
	if err != nil {
		return err
	}
	granted := true
	for i, c := range calls {
		c.read(reply[8*i:8*i+8], sent)
		granted = granted && (c.res.Allowed || c.check.Cost == 0)
	}
	for _, c := range calls {
		if granted && c.check.Cost > 0 && !c.res.Shadowed {
			c.granted()
		}
	}
	return nil
}

// grain is how exactly instants are kept, in microseconds; 0 is as exactly as the clock.
func grain(p *ratelimit.Policy, limit int) int64 {
	cells := int64(4096)
	switch {
	case p.Algorithm == ratelimit.Buckets:
		cells = 63
	case limit <= 4096:
		return 0
	}
	return (p.Window.Microseconds() + cells - 1) / cells
}

// decideTogether decides calls in one script where they share a slot, or all of them
// where the server has no slots.
func (s *Store) decideTogether(ctx context.Context, calls []*call) error {
	groups := [][]*call{calls}
	if s.slots.Load() {
		groups = bySubject(calls)
	}
	if len(groups) == 1 && len(calls) == 1 {
		return s.decide(ctx, calls)
	}
	if len(groups) == 1 {
		err := s.merge(ctx, calls)
		if err == nil {
			err = s.run(ctx, calls)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case crossSlot(err): // one address of a Cluster after all
			s.slots.Store(true)
			groups = bySubject(calls)
		case isReply(err) && !outOfService(err): // one of the keys: the others do not pay for it
			groups = nil
			for _, c := range calls {
				groups = append(groups, []*call{c})
			}
		default:
			return s.fallbackAll(ctx, calls, err)
		}
	}
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, group := range groups {
		wg.Go(func() { errs[i] = s.decide(ctx, group) })
	}
	wg.Wait()
	denied := false
	for i, group := range groups {
		for _, c := range group {
			denied = denied || errs[i] != nil || c.check.Cost > 0 && !c.res.Allowed
		}
	}
	if denied {
		if err := s.undo(ctx, calls); err != nil {
			s.opts.Logger.Warn("redislimit: units of a denied decision stay counted until the window has passed", "error", err)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// bySubject groups calls whose keys have the same hash tag.
func bySubject(calls []*call) (groups [][]*call) {
	index := make(map[string]int, len(calls))
	for _, c := range calls {
		i, ok := index[c.check.Key]
		if !ok {
			i = len(groups)
			index[c.check.Key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// undo gives booked units back, here and on Redis.
func (s *Store) undo(ctx context.Context, calls []*call) error {
	var booked []*call
	for _, c := range calls {
		if c.booked || c.local {
			booked = append(booked, c)
		}
	}
	if len(booked) == 0 {
		return nil
	}
	err := s.settle(context.WithoutCancel(ctx), booked, make([]int, len(booked)))
	for _, c := range booked {
		c.booked, c.local = false, false
	}
	return err
}

// settle gives calls their final costs.
func (s *Store) settle(ctx context.Context, calls []*call, costs []int) error {
	var keys []string
	var args []any
	var errs []error
	var settled []*call
	for i, c := range calls {
		if c.leased != nil {
			errs = append(errs, c.leased.settle(ctx, c, costs[i]))
			continue
		}
		c.mu.Lock()
		mirror := c.mirror
		if c.local && !s.outage.settled(c, costs[i]) {
			c.late, c.lateCost = true, costs[i]
		}
		booked := c.booked
		c.mu.Unlock()
		if mirror != nil {
			errs = append(errs, mirror.Settle(ctx, costs[i]))
		}
		if !booked || costs[i] == c.check.Cost && c.name == "" {
			continue
		}
		if c.l.denials != nil && costs[i] < c.check.Cost {
			defer c.l.denials.drop(c.check.Key)
		}
		if c.l.gcra != nil {
			errs = append(errs, s.settleGCRA(ctx, c, costs[i]))
			continue
		}
		settled = append(settled, c)
		keys = append(keys, c.at(), c.at()+":"+rand.Text())
		args = append(args, c.stamp, c.check.Cost, costs[i], grain(&c.l.policy, c.limit), c.limit, c.l.window, time.Since(c.sent).Microseconds(), c.name)
	}
	switch {
	case len(settled) == 0:
	case len(settled) == 1 || !s.slots.Load():
		_, err := s.eval(ctx, settleScript, keys, args...)
		if crossSlot(err) {
			s.slots.Store(true)
			return s.settle(ctx, calls, costs)
		}
		errs = append(errs, err)
	default:
		var wg sync.WaitGroup
		each := make([]error, len(settled))
		for i := range settled {
			wg.Go(func() { _, each[i] = s.eval(ctx, settleScript, keys[2*i:2*i+2], args[8*i:8*i+8]...) })
		}
		wg.Wait()
		errs = append(errs, each...)
	}
	return errors.Join(errs...)
}
