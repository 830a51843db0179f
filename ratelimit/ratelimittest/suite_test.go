package ratelimittest

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			Suite{
				Algorithm: algorithm,
				Virtual:   true,
				New: func(t testing.TB, p ratelimit.Policy, options *ratelimit.Options) ratelimit.Limiter {
					l, err := ratelimit.NewMemory(p, options)
					if err != nil {
						t.Fatal(err)
					}
					return l
				},
			}.Run(t)
		})
	}
}

// broken is a limiter with one fault, over one that is right.
type broken struct {
	ratelimit.Limiter
	policy ratelimit.Policy
	fault  string

	mu     sync.Mutex
	start  time.Time
	count  int
	allows int
}

func (b *broken) AllowN(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	switch b.fault {
	case "fixed window": // what most limiters in use are
		b.mu.Lock()
		defer b.mu.Unlock()
		if now := time.Now(); now.Sub(b.start) >= b.policy.Window {
			b.start, b.count = now, 0
		}
		left := b.policy.Window - time.Since(b.start)
		r := ratelimit.Result{Limit: b.policy.Limit, Cost: cost, NextAfter: left, ResetAfter: left}
		if b.count+max(cost, 1) <= b.policy.Limit {
			b.count += cost
			r.Allowed, r.Remaining = true, b.policy.Limit-b.count
		} else {
			r.RetryAfter = left
		}
		return r, ctx.Err()
	case "shares keys":
		key = "all"
	case "one too many":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.allows++; cost > 0 && !r.Allowed && b.allows%10 == 0 {
			r.Allowed, r.RetryAfter = true, 0
		}
		return r, err
	case "check, then act":
		r, err := b.Limiter.AllowN(ctx, key, 0)
		if err != nil || !r.Allowed {
			return r, err
		}
		runtime.Gosched()
		b.Limiter.AllowN(ctx, key, cost)
		return r, err
	case "accepts empty keys":
		if key == "" {
			key = "empty"
		}
	case "early retry":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		r.RetryAfter /= 2
		return r, err
	case "charges what it denies":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		if err == nil && !r.Allowed {
			for range cost {
				b.Limiter.AllowN(ctx, key, 1)
			}
		}
		return r, err
	case "shadow refuses":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		r.Allowed = r.Allowed && !r.Shadowed
		return r, err
	case "peek uses":
		return b.Limiter.AllowN(ctx, key, max(cost, 1))
	}
	return b.Limiter.AllowN(ctx, key, cost)
}

func (b *broken) Block(ctx context.Context, key string, wait time.Duration) error {
	if key != "" && (b.fault == "reset does nothing" && wait == 0 || b.fault == "block does nothing" && wait > 0) {
		return nil
	}
	return b.Limiter.Block(ctx, key, wait)
}

func (b *broken) Backend() ratelimit.Backend { return &brokenBackend{b.Limiter.Backend(), b} }

type brokenBackend struct {
	ratelimit.Backend
	b *broken
}

func (b *brokenBackend) Group() any { return b.b } // it decides about its own limiter only

func (b *brokenBackend) Take(ctx context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	own := make([]ratelimit.Check, len(checks))
	for i, c := range checks {
		own[i] = ratelimit.Check{Limiter: b.b.Limiter, Key: c.Key, Cost: c.Cost, Within: c.Within, Debt: c.Debt, FailuresOnly: c.FailuresOnly}
		switch b.b.fault {
		case "no queue":
			own[i].Within = 0
		case "charges no request of cost 0":
			if c.Debt {
				own[i].Debt, own[i].Cost = false, 0
			}
		case "no debt":
			own[i].Debt = false
			own[i].Cost = min(c.Cost, b.b.policy.Limit)
		case "nothing flies":
			own[i].FailuresOnly = false
		}
	}
	list, err := b.Backend.Take(ctx, own)
	for i, r := range list {
		if err == nil && r != nil && checks[i].Cost > 0 {
			list[i] = driver.NewReservation(r.Result(), b, brokenUse{r, checks[i].Key})
		}
	}
	return list, err
}

type brokenUse struct {
	*ratelimit.Reservation
	key string
}

func (b *brokenBackend) Settle(ctx context.Context, list []*ratelimit.Reservation, costs []int) error {
	for i, r := range list {
		use := driver.Token(r).(brokenUse)
		switch b.b.fault {
		case "cancel does nothing":
		case "cancel forgets all":
			b.b.Limiter.Block(ctx, use.key, 0)
		case "settles all or nothing":
			if costs[i] == 0 {
				use.Settle(ctx, 0)
			}
		case "settles once":
			use.Settle(ctx, costs[i])
		default:
			if err := driver.Settle(ctx, use.Reservation, costs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recorder is a testing.TB whose failure is only noted.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
}

func (r *recorder) Helper() {}
func (r *recorder) fail() {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
}
func (r *recorder) Errorf(string, ...any) { r.fail() }
func (r *recorder) Fatal(...any)          { r.fail(); runtime.Goexit() }
func (r *recorder) Fatalf(string, ...any) { r.fail(); runtime.Goexit() }

// A suite that cannot fail proves nothing: each fault must be found, by a check that
// the limiter without the fault passes.
func TestSuiteFindsFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"fixed window", "shares keys", "one too many", "check, then act", "accepts empty keys", "early retry",
		"charges what it denies", "peek uses", "cancel does nothing", "cancel forgets all", "reset does nothing",
		"block does nothing", "no queue", "no debt", "nothing flies", "settles all or nothing", "settles once", "shadow refuses",
		"charges no request of cost 0", "", // the last one has no fault
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := Suite{Virtual: true, New: func(t testing.TB, p ratelimit.Policy, options *ratelimit.Options) ratelimit.Limiter {
				l, err := ratelimit.NewMemory(p, options)
				if err != nil {
					t.Fatal(err)
				}
				return &broken{Limiter: l, policy: p, fault: fault}
			}}.withDefaults()
			var found []string
			for _, c := range checks() {
				synctest.Test(t, func(t *testing.T) {
					r := &recorder{TB: t}
					done := make(chan struct{})
					go func() {
						defer close(done)
						c.run(r, &s)
					}()
					<-done
					if r.failed {
						found = append(found, c.name)
					}
				})
			}
			if (len(found) > 0) != (fault != "") {
				t.Fatal("the checks that fail:", found)
			}
			t.Log("found by", found)
		})
	}
}
