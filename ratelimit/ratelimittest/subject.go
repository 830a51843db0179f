package ratelimittest

import (
	"context"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// subject is the limiter under test. Its methods need only the four of a Limiter.
type subject struct{ ratelimit.Limiter }

func (s *Suite) make(t testing.TB, p ratelimit.Policy) subject { return subject{s.New(t, p, nil)} }

func (l subject) Allow(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 1)
}

func (l subject) Peek(ctx context.Context, key string) (ratelimit.Result, error) {
	return l.AllowN(ctx, key, 0)
}

func (l subject) Reset(ctx context.Context, key string) error { return l.Block(ctx, key, 0) }

func (l subject) reserve(ctx context.Context, c ratelimit.Check) (*ratelimit.Reservation, error) {
	c.Limiter = l.Limiter
	d, err := ratelimit.Decide(ctx, c)
	return d.Reservation(0), err
}

func (l subject) Reserve(ctx context.Context, key string, cost int) (*ratelimit.Reservation, error) {
	return l.reserve(ctx, ratelimit.Check{Key: key, Cost: cost})
}

func (l subject) Wait(ctx context.Context, key string, cost int) (ratelimit.Result, error) {
	within := 24 * time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		within = time.Until(deadline)
	}
	d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: l.Limiter, Key: key, Cost: cost, Within: within})
	if err == nil && !d.Allowed {
		err = ratelimit.ErrWouldExceedDeadline
	}
	if err != nil {
		return d.Results[0], err
	}
	return d.Results[0], d.Wait(ctx)
}
