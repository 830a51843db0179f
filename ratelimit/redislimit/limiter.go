package redislimit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Limiter is a ratelimit.Limiter on Redis. [Store.Limiter] makes it.
type Limiter struct {
	store     *Store
	policy    ratelimit.Policy
	suffix    string // of Redis keys
	window    int64  // microseconds, rounded up
	limitFunc ratelimit.LimitFunc
	trace     *ratelimit.Trace
	near      float64
	denials   *denyCache // nil: not remembered
	local     *ratelimit.Memory
	gcra      *redis_rate.Limiter // nil unless the policy says GCRA

	allowed, denied, cached, degraded atomic.Uint64
}

var _ ratelimit.Batcher = (*Limiter)(nil)

// Limiter returns a limiter that counts policy on this Redis. Limiters of the same
// policy name share their counts, in all processes. opts may be nil; its MaxKeys
// bounds what FailLocal keeps.
func (s *Store) Limiter(policy ratelimit.Policy, opts *ratelimit.Options) (*Limiter, error) {
	if err := policy.Validate(); err != nil { // what is checked below is this process's share
		return nil, err
	}
	var o ratelimit.Options
	if opts != nil {
		o = *opts
	}
	l := &Limiter{
		store: s, policy: policy, suffix: policy.Name, limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit,
		window: int64((policy.Window + time.Microsecond - 1) / time.Microsecond),
	}
	if l.near == 0 {
		l.near = 0.8
	}
	switch policy.Algorithm {
	case ratelimit.Buckets:
		l.suffix += ":b"
	case ratelimit.GCRA:
		l.gcra = redis_rate.NewLimiter(s.client)
	}
	if s.opts.DenyFor > 0 && !policy.CountDenied && !policy.Shadow {
		l.denials = newDenyCache(s.base, s.opts.DenyFor, s.opts.DenyKeys)
	}
	share := policy
	share.Limit = s.share(policy.Limit)
	local := ratelimit.Options{MaxKeys: o.MaxKeys, NearLimit: o.NearLimit, LimitFunc: s.shares(o.LimitFunc)}
	var err error
	if l.local, err = ratelimit.NewMemory(share, &local); err != nil {
		return nil, err
	}
	return l, nil
}

// Policy returns what the limiter was made with.
func (l *Limiter) Policy() ratelimit.Policy { return l.policy }

// LimiterStats counts what a limiter did since it was made.
type LimiterStats struct {
	// Allowed and Denied count decisions, however they came about.
	Allowed, Denied uint64
	// Remembered counts denials that Redis was not asked for.
	Remembered uint64
	// Degraded counts decisions that the policy's OnFailure took.
	Degraded uint64
}

// Stats returns a snapshot.
func (l *Limiter) Stats() LimiterStats {
	return LimiterStats{Allowed: l.allowed.Load(), Denied: l.denied.Load(), Remembered: l.cached.Load(), Degraded: l.degraded.Load()}
}

// call is one check on its way to Redis and back.
type call struct {
	l         *Limiter
	key       string
	redisKey  string
	cost      int // 0: peek
	res       ratelimit.Result
	sent      time.Time
	stamp     int64
	booked    bool
	shares    bool // the stamp with other units of a lease
	fromCache bool
	local     *ratelimit.Reservation // when OnFailure decided
}

// Allow implements ratelimit.Limiter.
func (l *Limiter) Allow(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN implements ratelimit.Limiter.
func (l *Limiter) AllowN(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	c, err := l.take(ctx, key, cost)
	return c.res, err
}

// Peek implements ratelimit.Limiter.
func (l *Limiter) Peek(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 0)
}

// Reserve implements ratelimit.Limiter.
func (l *Limiter) Reserve(ctx context.Context, key string, cost int) (*ratelimit.Reservation, error) {
	c, err := l.take(ctx, key, cost)
	return c.reservation(), err
}

// Wait implements ratelimit.Limiter.
func (l *Limiter) Wait(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	return ratelimit.Wait(ctx, l, key, cost)
}

// Reset implements ratelimit.Limiter. It fails when Redis does not answer, in every
// failure mode: only then is it true that the key has been forgotten.
func (l *Limiter) Reset(ctx context.Context, key string) error {
	if key == "" {
		return ratelimit.ErrEmptyKey
	}
	if err := l.local.Reset(ctx, key); err != nil {
		return err
	}
	if l.denials != nil { // whatever comes of it: Redis may have done it and its answer be lost
		defer l.denials.drop(key)
	}
	redisKey := l.store.redisKey(key, l.suffix)
	if l.gcra != nil {
		redisKey = gcraPrefix + redisKey
	}
	_, err := ask(ctx, l.store, func(ctx context.Context) (int64, error) {
		return l.store.client.Del(ctx, redisKey).Result()
	})
	return wrap(err)
}

// wrap gives errors of Redis this package's name, for the operator's eyes.
func wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if down, ok := errors.AsType[errDown](err); ok {
		return fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, down)
	}
	return fmt.Errorf("redislimit: %w", err)
}

// take decides one check.
func (l *Limiter) take(ctx context.Context, key string, cost int) (*call, error) {
	c := &call{l: l, key: key, cost: cost}
	ask, err := c.prepare(ctx)
	if err != nil || !ask {
		return c, c.finish(ctx, err)
	}
	return c, c.finish(ctx, l.store.decide(ctx, []*call{c}))
}

// prepare checks the arguments and says whether Redis must be asked.
func (c *call) prepare(ctx context.Context) (ask bool, err error) {
	l := c.l
	limit := l.policy.Limit
	c.res = ratelimit.Result{Limit: limit, Cost: c.cost, Window: l.policy.Window, Policy: l.policy.Name}
	switch {
	case c.key == "":
		return false, ratelimit.ErrEmptyKey
	case c.cost < 0:
		return false, ratelimit.ErrInvalidCost
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if l.limitFunc != nil && l.policy.Window > 0 {
		limit = ratelimit.EffectiveLimit(ctx, l.policy, l.limitFunc, c.key)
		c.res.Limit = limit
	}
	switch {
	case limit == ratelimit.Unlimited:
		c.res.Allowed = true
		return false, nil
	case limit == 0:
		c.res.RetryAfter = ratelimit.Never
		c.shadow()
		return false, nil
	case c.cost > limit:
		c.res.RetryAfter = ratelimit.Never
		return false, ratelimit.ErrCostExceedsLimit
	}
	if l.denials != nil && c.cost > 0 && l.denials.get(c.key, &c.res) {
		c.fromCache = true
		return false, nil
	}
	return true, nil
}

// at is the key in Redis.
func (c *call) at() string {
	if c.redisKey == "" {
		c.redisKey = c.l.store.redisKey(c.key, c.l.suffix)
	}
	return c.redisKey
}

// shadow turns a denial by a policy that only watches into a report.
func (c *call) shadow() {
	if c.l.policy.Shadow && !c.res.Allowed {
		c.res.Allowed, c.res.Shadowed, c.res.RetryAfter = true, true, 0
	}
}

// finish counts and reports what has been decided.
func (c *call) finish(ctx context.Context, err error) error {
	l := c.l
	if c.cost == 0 || err != nil && !errors.Is(err, ratelimit.ErrUnavailable) {
		return err
	}
	if c.fromCache {
		l.cached.Add(1)
	}
	l.report(ctx, c.key, c.res, c.booked)
	return err
}

// report counts a decision and tells the hooks of it.
func (l *Limiter) report(ctx context.Context, key string, r ratelimit.Result, booked bool) {
	if r.Allowed {
		l.allowed.Add(1)
	} else {
		l.denied.Add(1)
	}
	if r.Degraded {
		l.degraded.Add(1)
	}
	if t := l.trace; t != nil {
		if t.Decided != nil {
			t.Decided(ctx, key, r)
		}
		if t.NearLimit != nil && booked && ratelimit.CrossesNear(r, l.near) {
			t.NearLimit(ctx, key, r)
		}
	}
}

// read takes over the six integers of a script's reply.
func (c *call) read(reply []int64, sent time.Time) {
	r := &c.res
	r.Allowed = reply[0] == 1
	r.Remaining = max(r.Limit-int(reply[1]), 0)
	r.RetryAfter = time.Duration(reply[2]) * time.Microsecond
	r.NextAfter = time.Duration(reply[3]) * time.Microsecond
	r.ResetAfter = time.Duration(reply[4]) * time.Microsecond
	c.stamp, c.sent = reply[5], sent
	if !r.Allowed && c.l.denials != nil && c.cost > 0 {
		c.l.denials.put(c.key, r, sent)
	}
	c.shadow()
}

// fallback decides by the policy's OnFailure.
func (c *call) fallback(ctx context.Context, cause error) error {
	mode := c.l.policy.OnFailure
	if c.l.policy.Shadow && mode == ratelimit.FailClosed {
		mode = ratelimit.FailOpen // a policy that only watches refuses nobody
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
	// This process's share may be smaller than a cost that the whole limit holds.
	cost := min(c.cost, ratelimit.EffectiveLimit(ctx, c.l.local.Policy(), c.localLimit, c.key))
	var err error
	if cost == 0 {
		c.res, err = c.l.local.Peek(ctx, c.key)
	} else {
		c.local, err = c.l.local.Reserve(ctx, c.key, cost)
		c.res = c.local.Result()
	}
	c.res.Degraded, c.res.Cost = true, c.cost
	return err
}

func (c *call) localLimit(context.Context, string) (int, bool) {
	if c.l.limitFunc == nil {
		return 0, false
	}
	return max(1, c.res.Limit/c.l.store.opts.Instances), true
}

// reservation is what the caller may cancel.
func (c *call) reservation() *ratelimit.Reservation {
	if c.local != nil {
		return ratelimit.NewReservation(c.res, c.local.Cancel)
	}
	if !c.booked {
		return ratelimit.NewReservation(c.res, nil)
	}
	return ratelimit.NewReservation(c.res, c.cancel)
}

// cancel gives back what Redis booked. For Exact it may be repeated after a failure,
// because the stamp can be found once only. For the others the answer to a lost
// request is unknown, and giving back twice would be worse than not at all.
func (c *call) cancel(ctx context.Context) error {
	if !c.booked {
		return nil
	}
	l := c.l
	if l.denials != nil { // whatever comes of it: Redis may have done it and its answer be lost
		defer l.denials.drop(c.key)
	}
	var err error
	if l.gcra != nil {
		c.booked = false
		err = l.store.cancelGCRA(ctx, c)
	} else {
		keys, args := []string{c.at()}, []any{int(l.policy.Algorithm), c.stamp, c.cost, l.store.resend().Milliseconds()}
		if c.booked = l.policy.Algorithm == ratelimit.Exact; !c.booked {
			keys = append(keys, onceKey(c.at()))
		}
		_, err = ask(ctx, l.store, func(ctx context.Context) (int64, error) {
			return cancelScript.Run(ctx, l.store.client, keys, args...).Int64()
		})
	}
	return wrap(err)
}

// decide asks Redis about calls and falls back where it does not answer. The error is
// the caller's context's, or ErrUnavailable, or a mistake of the caller.
func (s *Store) decide(ctx context.Context, calls []*call) error {
	var err error
	if len(calls) == 1 && calls[0].l.gcra != nil {
		err = s.takeGCRA(ctx, calls[0])
	} else {
		err = s.run(ctx, calls)
	}
	if err == nil {
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	return s.fallbackAll(ctx, calls, err)
}

// fallbackAll keeps all or nothing while Redis is away.
func (s *Store) fallbackAll(ctx context.Context, calls []*call, cause error) error {
	var errs []error
	denied := false
	for _, c := range calls {
		err := c.fallback(ctx, cause)
		errs = append(errs, err)
		denied = denied || err != nil || c.cost > 0 && !c.res.Allowed
	}
	if denied {
		for _, c := range calls {
			if c.local != nil {
				errs = append(errs, c.local.Cancel(ctx))
			}
		}
	}
	return errors.Join(errs...)
}

// run sends calls, whose keys share a slot, to Redis in one script.
func (s *Store) run(ctx context.Context, calls []*call) error {
	keys, args, script := arguments(calls)
	sent := time.Now()
	reply, err := ask(ctx, s, func(ctx context.Context) ([]int64, error) {
		return integers(script.Run(ctx, s.client, keys, args...), len(keys))
	})
	if err != nil {
		return err
	}
	settle(calls, reply, sent)
	return nil
}

// integers is the reply of a script for n keys.
func integers(cmd *redis.Cmd, n int) ([]int64, error) {
	got, err := cmd.Int64Slice()
	if err == nil && len(got) != 6*n {
		err = fmt.Errorf("redislimit: %d integers instead of %d", len(got), 6*n)
	}
	return got, err
}

// arguments are those of take.lua, of exact.lua where that will do, or of peek.lua when
// nothing is asked for.
func arguments(calls []*call) (keys []string, args []any, script *redis.Script) {
	if c := calls[0]; len(calls) == 1 && c.cost > 0 && c.l.policy.Algorithm == ratelimit.Exact && !c.l.policy.CountDenied {
		return []string{c.at()}, []any{c.res.Limit, c.l.window, c.cost}, exactScript
	}
	keys = make([]string, len(calls))
	args = make([]any, 0, 5*len(calls))
	peek := true
	for i, c := range calls {
		keys[i] = c.at()
		peek = peek && c.cost == 0
	}
	if peek {
		for _, c := range calls {
			args = append(args, int(c.l.policy.Algorithm), c.res.Limit, c.l.window)
		}
		return keys, args, peekScript
	}
	for _, c := range calls {
		flags := 0
		if c.l.policy.Shadow {
			flags++
		}
		if c.l.policy.CountDenied {
			flags += 2
		}
		args = append(args, int(c.l.policy.Algorithm), c.res.Limit, c.l.window, c.cost, flags)
	}
	return keys, args, takeScript
}

// settle reads the reply of one script.
func settle(calls []*call, reply []int64, sent time.Time) {
	granted := true
	for i, c := range calls {
		c.read(reply[6*i:6*i+6], sent)
		granted = granted && c.res.Allowed
	}
	for _, c := range calls {
		c.booked = granted && c.cost > 0 && !c.res.Shadowed
	}
}
