package redislimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
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
	queue     int
	denials   *denyCache // nil: not remembered
	local     *ratelimit.Memory
	gcra      *redis_rate.Limiter // nil unless the policy says GCRA

	allowed, denied, cached, degraded, badLimits atomic.Uint64
}

var _ ratelimit.Limiter = (*Limiter)(nil)

// Limiter returns a limiter that counts policy on this Redis. Limiters of the same
// policy share their counts, in all processes. A policy of the same name with another window
// or algorithm is refused in this process, and has keys of its own in another. opts may be
// nil; its MaxKeys bounds the keys of FailLocal.
func (s *Store) Limiter(policy ratelimit.Policy, opts *ratelimit.Options) (*Limiter, error) {
	if err := policy.Validate(); err != nil { // the check below is about this process's share
		return nil, err
	}
	var o ratelimit.Options
	if opts != nil {
		o = *opts
	}
	l := &Limiter{
		store: s, policy: policy, suffix: suffix(&policy), limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit,
		queue: o.MaxQueue, window: int64((policy.Window + time.Microsecond - 1) / time.Microsecond),
	}
	l.near = cmp.Or(l.near, 0.8)
	l.queue = cmp.Or(l.queue, 10_000)
	if policy.Algorithm == ratelimit.GCRA {
		l.gcra = redis_rate.NewLimiter(rediser{s})
	}
	if s.opts.DenyFor > 0 && !policy.CountDenied && !policy.Shadow {
		l.denials = newDenyCache(s.base, s.opts.DenyFor, s.opts.DenyKeys)
	}
	local := ratelimit.Options{MaxKeys: o.MaxKeys, MaxQueue: o.MaxQueue, NearLimit: o.NearLimit}
	local.LimitFunc = func(ctx context.Context, key string) (int, bool) {
		limit, err := driver.Limit(ctx, &l.policy, l.limitFunc, key)
		return s.share(limit), err == nil
	}
	var err error
	if l.local, err = ratelimit.NewMemory(policy, &local); err != nil {
		return nil, err
	}
	if policy.Window > 0 {
		if err := s.claim(policy.Name, fmt.Sprintf("a limit of %v by %v", policy.Window, policy.Algorithm)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Policy returns the policy of the limiter.
func (l *Limiter) Policy() ratelimit.Policy { return l.policy }

// LimiterStats counts decisions of a limiter since its constructor.
type LimiterStats struct {
	// Allowed and Denied count decisions, however they came about.
	Allowed, Denied uint64
	// Remembered counts denials that Redis was not asked for.
	Remembered uint64
	// Degraded counts decisions that the policy's OnFailure took.
	Degraded uint64
	// BadLimits counts limits of the LimitFunc that the policy cannot hold.
	BadLimits uint64
}

// Stats returns a snapshot.
func (l *Limiter) Stats() LimiterStats {
	return LimiterStats{
		Allowed: l.allowed.Load(), Denied: l.denied.Load(), Remembered: l.cached.Load(),
		Degraded: l.degraded.Load(), BadLimits: l.badLimits.Load(),
	}
}

// Allow is AllowN with a cost of 1.
func (l *Limiter) Allow(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN implements ratelimit.Limiter.
func (l *Limiter) AllowN(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	c, err := l.take(ctx, ratelimit.Check{Key: key, Cost: cost})
	return c.res, err
}

// Peek returns the result of Allow without using units. Allowed says whether one more unit
// would fit.
func (l *Limiter) Peek(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 0)
}

// Reserve is AllowN whose cost can still change.
func (l *Limiter) Reserve(ctx context.Context, key string, cost int) (*ratelimit.Reservation, error) {
	d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: l, Key: key, Cost: cost})
	return d.Reservation(0), err
}

// Charge uses cost units even if they do not fit. Units that do not fit are debt.
func (l *Limiter) Charge(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	c, err := l.take(ctx, ratelimit.Check{Key: key, Cost: cost, Debt: true})
	return c.res, err
}

// Wait blocks until cost units fit and uses them. It is one command. Waiters on one key, in
// all processes, are served in the order of arrival at Redis. Wait returns at
// once when ctx would end before the units fit, and when Options.MaxQueue units wait. When ctx
// ends first, the units are given back, but the callers behind keep their instants: up to the
// last of them a newcomer waits as if no caller had given up.
func (l *Limiter) Wait(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	return driver.Wait(ctx, ratelimit.Check{Limiter: l, Key: key, Cost: cost})
}

// Block implements ratelimit.Limiter. It fails when Redis does not answer, in every
// failure mode: only then is it true that the key has been forgotten everywhere. Other
// processes notice an unblocked key after Options.DenyFor.
func (l *Limiter) Block(ctx context.Context, key string, wait time.Duration) error {
	if err := l.local.Block(ctx, key, wait); err != nil {
		return err
	}
	if l.denials != nil { // also after an error: Redis may have done it
		defer l.denials.drop(key)
	}
	if l.policy.Window == 0 {
		return nil
	}
	limit, err := driver.Limit(ctx, &l.policy, l.limitFunc, key)
	if err != nil {
		return err
	}
	redisKey := l.store.listedKey(key, l.suffix)
	l.store.outage.drop(redisKey)
	if l.gcra != nil {
		return wrap(l.store.barGCRA(ctx, redisKey, l.policy.Window, limit, wait))
	}
	_, err = l.store.eval(ctx, barScript, []string{redisKey}, l.window, wait.Microseconds())
	return wrap(err)
}

// Reset forgets what key has used. It unlocks a key that Block has refused.
func (l *Limiter) Reset(ctx context.Context, key string) error { return l.Block(ctx, key, 0) }

// Keys returns the keys on Redis that begin with prefix, with their results. It is for
// operators: it scans the whole database. Keys that Redis holds as a hash are shown as "~…", and
// Peek, Block and Reset accept them in this form.
func (l *Limiter) Keys(ctx context.Context, prefix string) iter.Seq2[string, ratelimit.Result] {
	return func(yield func(string, ratelimit.Result) bool) {
		seen := make(map[string]bool)
		begin, end := l.store.opts.Prefix+":{"+globbed(prefix), "}:"+l.suffix
		if l.gcra != nil {
			begin = gcraPrefix + begin
		}
		go1 := func(ctx context.Context, client *redis.Client) error {
			it := client.Scan(ctx, 0, begin+"*"+globbed(end), 500).Iterator()
			for it.Next(ctx) {
				key := it.Val()
				key = strings.TrimSuffix(key[strings.Index(key, ":{")+2:], end)
				if seen[key] {
					continue
				}
				seen[key] = true
				if r, err := l.Peek(ctx, key); err == nil && !yield(key, r) {
					return errStop
				}
			}
			return it.Err()
		}
		err := l.store.eachNode(ctx, go1)
		if err != nil && !errors.Is(err, errStop) {
			l.store.opts.Logger.WarnContext(ctx, "redislimit: the keys of a policy could not be listed", "policy", l.policy.Name, "error", err)
		}
	}
}

var errStop = errors.New("redislimit: stopped")

func globbed(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// Backend implements ratelimit.Limiter.
func (l *Limiter) Backend() ratelimit.Backend { return (*backend)(l) }

// backend is a Limiter as a ratelimit.Backend: limiters of one Store decide together,
// except GCRA, whose script takes one key.
type backend Limiter

func (b *backend) Group() any {
	if b.gcra != nil {
		return b
	}
	return b.store
}

// Take implements ratelimit.Backend. On a single server all keys are decided in one script.
// On a Cluster the keys of one caller are, and what some callers' keys have booked is given
// back when another denies.
//
// When this process remembers one of the keys as exhausted, Redis is not asked, and the
// other results are Unknown.
func (b *backend) Take(ctx context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	calls := make([]*call, len(checks))
	for i := range checks {
		calls[i] = &call{l: (*Limiter)(driver.Backend(&checks[i]).(*backend)), check: checks[i]}
	}
	asked, refused, failed := prepare(ctx, calls)
	if failed == nil && !refused {
		for _, c := range asked {
			if !c.remembers() {
				continue
			}
			if c.l.denials.enter(ctx, c.check.Key, b.store.patience()) {
				asked, refused, failed = prepare(ctx, calls)
			}
			defer c.l.denials.leave(c.check.Key)
			break // of one key only, so that no two callers wait for each other
		}
	}
	var err error
	switch {
	case failed != nil:
		return reservations(calls), failed
	case refused:
		for _, c := range asked {
			c.res.Allowed, c.res.Unknown = true, true
		}
	case len(asked) > 0:
		err = b.store.decideTogether(ctx, asked)
	}
	for _, c := range calls {
		if !refused || !c.res.Allowed {
			c.finish(ctx, err) //nolint:errcheck // it hands back the error that it is given
		}
	}
	if err == nil {
		for _, c := range calls {
			if c.full {
				err = ratelimit.ErrQueueFull
			}
		}
	}
	return reservations(calls), err
}

// prepare returns the calls for Redis, and whether a remembered denial refuses one.
func prepare(ctx context.Context, calls []*call) (asked []*call, refused bool, failed error) {
	for i, c := range calls {
		for _, other := range calls[:i] {
			if other.at() == c.at() {
				failed = ratelimit.ErrDuplicateCheck // the script would count each as if it were alone
			}
		}
		ask, err := c.prepare(ctx)
		if err != nil && failed == nil {
			failed = err
		}
		if ask {
			asked = append(asked, c)
		}
		refused = refused || !ask && c.check.Cost > 0 && !c.res.Allowed
	}
	return asked, refused, failed
}

// Settle implements ratelimit.Backend: one command for all that lie on one server.
func (b *backend) Settle(ctx context.Context, list []*ratelimit.Reservation, costs []int) error {
	calls, from := make([]*call, len(list)), make([]int, len(list))
	for i, r := range list {
		calls[i], from[i] = driver.Token(r).(*call), r.Result().Cost
	}
	return wrap(b.store.settle(ctx, calls, from, costs))
}

func reservations(calls []*call) []*ratelimit.Reservation {
	list := make([]*ratelimit.Reservation, len(calls))
	for i, c := range calls {
		list[i] = c.reservation()
	}
	return list
}

// take decides one check.
func (l *Limiter) take(ctx context.Context, check ratelimit.Check) (*call, error) {
	c := &call{l: l, check: check}
	ask, err := c.prepare(ctx)
	if ask && c.remembers() {
		if l.denials.enter(ctx, check.Key, l.store.patience()) {
			ask, err = c.prepare(ctx)
		}
		defer l.denials.leave(check.Key)
	}
	if err == nil && ask {
		err = l.store.decide(ctx, []*call{c})
	}
	return c, c.finish(ctx, err)
}

// report counts a decision and calls the hooks.
func (l *Limiter) report(ctx context.Context, key string, r *ratelimit.Result, booked bool) {
	if r.Allowed {
		l.allowed.Add(1)
	} else {
		l.denied.Add(1)
	}
	if r.Degraded {
		l.degraded.Add(1)
	}
	if t := l.trace; t != nil {
		e := ratelimit.DecidedEvent{Key: key, Result: *r}
		if t.Decided != nil {
			t.Decided(ctx, e)
		}
		if t.NearLimit != nil && booked && driver.CrossesNear(r, l.near) {
			t.NearLimit(ctx, e)
		}
	}
}
