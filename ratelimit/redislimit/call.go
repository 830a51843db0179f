package redislimit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
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
	lent      *mirror // of that block
	given     int64   // when that block was booked

	mu     sync.Mutex
	mirror *ratelimit.Reservation // its entry in this process's own log
	local  bool                   // OnFailure decided
	use    *localUse              // that waits for its merge; outage.mu guards it
	undone bool                   // its units have been given back
	flows  time.Duration          // of GCRA, when an outage's use is merged: as res.ResetAfter
}

// at is the key in Redis.
func (c *call) at() string {
	if c.redisKey == "" {
		c.redisKey = c.l.store.redisKey(c.check.Key, c.l.suffix)
		if c.check.Cost == 0 {
			c.redisKey = c.l.store.listedKey(c.check.Key, c.l.suffix)
		}
	}
	return c.redisKey
}

// prepare checks the arguments and reports whether Redis must decide.
func (c *call) prepare(ctx context.Context) (ask bool, err error) {
	l, key, cost := c.l, c.check.Key, c.check.Cost
	if l.policy.Shadow {
		c.check.Within = 0
	}
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
			if !l.policy.Shadow {
				return false, err
			}
		}
		c.limit, c.res.Limit = limit, limit
	}
	switch {
	case limit == ratelimit.Unlimited:
		c.res.Allowed = true
		return false, nil
	case limit == 0, l.policy.Shadow && cost > limit && !c.check.Debt:
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
	booked, _ := c.state()
	c.l.report(ctx, c.check.Key, &c.res, booked)
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

// state reports whether the units are booked on Redis, and whether they are in this process
// alone.
func (c *call) state() (booked, local bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.booked && !c.undone, c.local && !c.undone
}

// granted records the booked units of a call in this process too: this process's own log takes over
// while Redis is away.
func (c *call) granted(units int) {
	c.booked = true
	c.l.store.beat()
	if c.l.policy.OnFailure == ratelimit.FailLocal {
		c.mirror = driver.Record(c.l.local, c.check.Key, c.res.Limit, units)
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
		if check.Cost < c.check.Cost { // the rest is debt, which this process repays before it allows more
			err = driver.Settle(ctx, c.mirror, c.check.Cost)
		}
		s := c.l.store
		if ofKey(cause) { // Redis would refuse the merge too
			s.outage.forgotten.Add(1)
		} else if !s.outage.add(c) && s.due("forgotten") {
			s.opts.Logger.WarnContext(ctx, "redislimit: Redis is away, and more than 100,000 uses wait for it; other processes will not count further ones, see Stats.Forgotten")
		}
	}
	return err
}

// reservation returns the reservation for the caller.
func (c *call) reservation() *ratelimit.Reservation {
	if booked, local := c.state(); !booked && !local {
		return driver.NewReservation(c.res, nil, nil)
	}
	return driver.NewReservation(c.res, (*backend)(c.l), c)
}

// decide decides calls in one script on Redis, and falls back without a reply. The
// error is the caller's context's, or ErrUnavailable, or a mistake of the caller.
func (s *Store) decide(ctx context.Context, calls []*call) error {
	for {
		err := s.ask(ctx, calls)
		if err == nil {
			return nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if back, err := s.fallbackAll(ctx, calls, err); !back {
			return err
		}
	}
}

// maxAgain bounds how often a decision is repeated while Redis answers some calls and not others.
const maxAgain = 10

// ask decides calls on Redis. A reply is not valid if another decision on the key fell back while
// this one was under way: neither of the two has counted the other.
func (s *Store) ask(ctx context.Context, calls []*call) error {
	for again := 0; ; again++ {
		marks := s.outage.marks(calls)
		err := s.merge(ctx, calls)
		if err == nil && len(calls) == 1 && calls[0].l.gcra != nil {
			err = s.takeGCRA(ctx, calls[0])
		} else if err == nil {
			err = s.run(ctx, calls)
		}
		if err != nil || again == maxAgain || s.outage.marks(calls) == marks {
			return err
		}
		if err := s.withdraw(ctx, calls); err != nil {
			return err
		}
	}
}

// withdraw gives back what calls have booked, before they are decided again.
func (s *Store) withdraw(ctx context.Context, calls []*call) error {
	var booked []*call
	for _, c := range calls {
		if c.booked {
			booked = append(booked, c)
		}
	}
	if len(booked) == 0 {
		return nil
	}
	err := s.settle(context.WithoutCancel(ctx), booked, costs(booked), make([]int, len(booked)))
	for _, c := range booked {
		c.booked, c.mirror = false, nil
	}
	return err
}

// fallbackAll decides calls together while Redis is away. back means that Redis is available
// again, and that the calls are not decided.
func (s *Store) fallbackAll(ctx context.Context, calls []*call, cause error) (back bool, err error) {
	s.outage.enter(calls)
	defer s.outage.leave(calls)
	if down, ok := errors.AsType[errDown](cause); ok && !down.breaker.open() {
		return true, nil
	}
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
	return false, errors.Join(errs...)
}

// run sends calls, whose keys share a slot, to Redis in one script.
func (s *Store) run(ctx context.Context, calls []*call) error {
	keys := make([]string, len(calls))
	for i, c := range calls {
		keys[i] = c.at()
	}
	var args []any
	if len(calls) == 1 && calls[0].plain() {
		args = []any{calls[0].limit, calls[0].l.window}
	} else {
		for _, c := range calls {
			args = c.question(args)
		}
	}
	sent := time.Now()
	reply, err := s.list(ctx, takeScript, keys, args)
	if err != nil {
		return err
	}
	if len(args) == 2 && len(reply) == 4 { // the usual case: see fast.lua
		reply = expand(reply)
	}
	if len(reply) != 8*len(calls) {
		return fmt.Errorf("redislimit: %d integers instead of %d", len(reply), 8*len(calls))
	}
	granted := true
	for i, c := range calls {
		c.read(reply[8*i:8*i+8], sent)
		granted = granted && (c.res.Allowed || c.check.Cost == 0)
	}
	for _, c := range calls {
		if granted && c.check.Cost > 0 && !c.res.Shadowed {
			c.granted(c.check.Cost)
		}
	}
	return nil
}

// plain reports whether a call is the most frequent kind, which needs two arguments.
func (c *call) plain() bool {
	p := &c.l.policy
	return c.check.Cost == 1 && c.check.Within == 0 && !c.check.Debt && !c.check.FailuresOnly &&
		!p.Shadow && !p.CountDenied && grain(p, c.limit) == 0
}

// expand returns the reply of fast.lua as one of take.lua.
func expand(r []int64) []int64 {
	used, next, reset, stamp := r[0], r[1], r[2], r[3]
	if stamp == 0 {
		return []int64{0, used, next, next, reset, 0, 0, 0}
	}
	return []int64{1, used, 0, next, reset, stamp, 0, 0}
}

// question appends the arguments of take.lua for a call.
func (c *call) question(args []any) []any {
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
	return append(args, grain(p, c.limit), c.limit, c.l.window, max(c.check.Cost, 1), flags, c.check.Within.Microseconds(), c.l.queue, c.name)
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
		err := s.ask(ctx, calls)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case crossSlot(err): // one address of a Cluster after all
			s.slots.Store(true)
			groups = bySubject(calls)
		case ofKey(err): // one of the keys: the others do not pay for it
			groups = nil
			for _, c := range calls {
				groups = append(groups, []*call{c})
			}
		default:
			back, err := s.fallbackAll(ctx, calls, err)
			if back {
				return s.decideTogether(ctx, calls)
			}
			return err
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
		if onRedis, local := c.state(); onRedis || local {
			booked = append(booked, c)
		}
	}
	if len(booked) == 0 {
		return nil
	}
	err := s.settle(context.WithoutCancel(ctx), booked, costs(booked), make([]int, len(booked)))
	for _, c := range booked {
		c.mu.Lock()
		c.undone = true
		c.mu.Unlock()
	}
	return err
}

// costs returns what calls have booked.
func costs(calls []*call) []int {
	list := make([]int, len(calls))
	for i, c := range calls {
		list[i] = c.check.Cost
	}
	return list
}

// settle changes the costs of calls.
func (s *Store) settle(ctx context.Context, calls []*call, from, costs []int) error {
	var errs []error
	var onRedis []*call
	var old, final []int
	for i, c := range calls {
		if c.leased != nil {
			errs = append(errs, c.leased.settle(ctx, c, from[i], costs[i]))
			continue
		}
		c.mu.Lock()
		mirror, booked := c.mirror, c.booked
		if c.local {
			s.outage.settled(c, costs[i])
		}
		c.mu.Unlock()
		if mirror != nil {
			errs = append(errs, driver.Settle(ctx, mirror, costs[i]))
		}
		if booked && (costs[i] != from[i] || c.name != "") {
			onRedis, old, final = append(onRedis, c), append(old, from[i]), append(final, costs[i])
		}
	}
	if len(onRedis) > 0 {
		errs = append(errs, s.give(ctx, onRedis, old, final))
	}
	return errors.Join(errs...)
}

// give changes the costs of bookings on Redis.
func (s *Store) give(ctx context.Context, calls []*call, from, costs []int) error {
	var keys []string
	var args []any
	var errs []error
	for i, c := range calls {
		if c.l.denials != nil && costs[i] < from[i] {
			defer c.l.denials.drop(c.check.Key)
		}
		if c.l.gcra != nil {
			errs = append(errs, s.settleGCRA(ctx, c, from[i], costs[i]))
			continue
		}
		keys = append(keys, c.at(), c.at()+":"+rand.Text())
		flying := ""
		if c.name != "" {
			flying = strconv.Itoa(c.check.Cost) + ":" + c.name
		}
		args = append(args, c.stamp, from[i], costs[i], grain(&c.l.policy, c.limit), c.limit, c.l.window, time.Since(c.sent).Microseconds(), flying)
	}
	switch n := len(keys) / 2; {
	case n == 0:
	case n == 1 || !s.slots.Load():
		_, err := s.eval(ctx, settleScript, keys, args...)
		if crossSlot(err) {
			s.slots.Store(true)
			return s.give(ctx, calls, from, costs)
		}
		errs = append(errs, err)
	default:
		var wg sync.WaitGroup
		each := make([]error, n)
		for i := range n {
			wg.Go(func() { _, each[i] = s.eval(ctx, settleScript, keys[2*i:2*i+2], args[8*i:8*i+8]...) })
		}
		wg.Wait()
		errs = append(errs, each...)
	}
	return errors.Join(errs...)
}
