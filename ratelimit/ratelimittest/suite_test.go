package ratelimittest

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			Suite{
				Algorithm: algorithm,
				Virtual:   true,
				New: func(t testing.TB, p ratelimit.Policy) ratelimit.Limiter {
					l, err := ratelimit.NewMemory(p, nil)
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

func (b *broken) Allow(ctx context.Context, key string) (ratelimit.Result, error) {
	switch b.fault {
	case "fixed window": // what most limiters in use are
		b.mu.Lock()
		defer b.mu.Unlock()
		if now := time.Now(); now.Sub(b.start) >= b.policy.Window {
			b.start, b.count = now, 0
		}
		left := b.policy.Window - time.Since(b.start)
		r := ratelimit.Result{Limit: b.policy.Limit, Cost: 1, NextAfter: left, ResetAfter: left}
		if b.count < b.policy.Limit {
			b.count++
			r.Allowed, r.Remaining = true, b.policy.Limit-b.count
		} else {
			r.RetryAfter = left
		}
		return r, ctx.Err()
	case "shares keys":
		key = "all"
	case "one too many":
		r, err := b.Limiter.Allow(ctx, key)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.allows++; !r.Allowed && b.allows%10 == 0 {
			r.Allowed, r.RetryAfter = true, 0
		}
		return r, err
	case "check, then act":
		r, err := b.Limiter.Peek(ctx, key)
		if err != nil || !r.Allowed {
			return r, err
		}
		runtime.Gosched()
		b.Limiter.Allow(ctx, key)
		return r, err
	case "accepts empty keys":
		if key == "" {
			key = "empty"
		}
	case "early retry":
		r, err := b.Limiter.Allow(ctx, key)
		r.RetryAfter /= 2
		return r, err
	}
	return b.Limiter.Allow(ctx, key)
}

func (b *broken) AllowN(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	switch b.fault {
	case "early retry":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		r.RetryAfter /= 2
		return r, err
	case "charges what it denies":
		r, err := b.Limiter.AllowN(ctx, key, cost)
		if err == nil && !r.Allowed {
			for range cost {
				b.Limiter.Allow(ctx, key)
			}
		}
		return r, err
	}
	return b.Limiter.AllowN(ctx, key, cost)
}

func (b *broken) Peek(ctx context.Context, key string) (ratelimit.Result, error) {
	switch b.fault {
	case "peek uses":
		return b.Limiter.Allow(ctx, key)
	case "fixed window":
		b.mu.Lock()
		defer b.mu.Unlock()
		left := b.policy.Window - time.Since(b.start)
		return ratelimit.Result{Allowed: b.count < b.policy.Limit || left <= 0, RetryAfter: max(left, 0), Limit: b.policy.Limit}, nil
	}
	return b.Limiter.Peek(ctx, key)
}

func (b *broken) Reserve(ctx context.Context, key string, cost int) (*ratelimit.Reservation, error) {
	r, err := b.Limiter.Reserve(ctx, key, cost)
	if err != nil {
		return r, err
	}
	switch b.fault {
	case "cancel does nothing":
		return ratelimit.NewReservation(r.Result(), nil), nil
	case "cancel forgets all":
		return ratelimit.NewReservation(r.Result(), func(ctx context.Context) error { return b.Limiter.Reset(ctx, key) }), nil
	}
	return r, err
}

func (b *broken) Reset(ctx context.Context, key string) error {
	if b.fault == "reset does nothing" && key != "" {
		return nil
	}
	return b.Limiter.Reset(ctx, key)
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
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := Suite{Virtual: true, New: func(t testing.TB, p ratelimit.Policy) ratelimit.Limiter {
				l, err := ratelimit.NewMemory(p, nil)
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
			if len(found) == 0 {
				t.Fatal("no check fails")
			}
			t.Log("found by", found)
		})
	}
}
