// Package driver is for implementations of ratelimit.Limiter and ratelimit.Backend.
//
// A back-end decides several checks at once and reports one [ratelimit.Reservation] for
// each. It makes them with [NewReservation], with a token that finds the booking
// again as their token. Package ratelimittest tests the result.
package driver

import (
	"context"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// NewReservation returns a reservation with a result. backend settles it, and finds the
// booking by token. A nil backend means that no units are booked.
func NewReservation(result ratelimit.Result, backend ratelimit.Backend, token any) *ratelimit.Reservation {
	return link.NewReservation(result, backend, token).(*ratelimit.Reservation)
}

// Token returns what NewReservation was given.
func Token(r *ratelimit.Reservation) any { return link.Token(r) }

// Backend returns the Backend of a check's limiter, which knows the limiter even when
// a decorator hides it.
func Backend(c *ratelimit.Check) ratelimit.Backend { return link.BackendOf(c).(ratelimit.Backend) }

// Wait decides a check with one call, for as long as ctx lasts in the future, and sleeps
// until its units may be used: the Wait method of a limiter.
func Wait(ctx context.Context, c ratelimit.Check) (ratelimit.Result, error) {
	r, err := link.Wait(ctx, &c)
	return r.(ratelimit.Result), err
}

// Settle changes the cost of a reservation of another limiter, as often as it is called: the
// Settle of a back-end that decorates one.
func Settle(ctx context.Context, r *ratelimit.Reservation, cost int) error {
	return link.Settle(ctx, r, cost)
}

// Record books in m what another limiter has allowed, whether it fits or not, so that m
// can take over where the other fails.
func Record(m *ratelimit.Memory, key string, limit, cost int) *ratelimit.Reservation {
	return link.Record(m, key, limit, cost).(*ratelimit.Reservation)
}

// Limit returns the limit of key: that of f, which may be nil, or the policy's own.
func Limit(ctx context.Context, p *ratelimit.Policy, f ratelimit.LimitFunc, key string) (int, error) {
	if f == nil {
		return p.Limit, nil
	}
	return link.Limit(ctx, p, f, key)
}

// CrossesNear reports whether the allowed decision r took its key across a share of
// its limit, such as Options.NearLimit.
func CrossesNear(r *ratelimit.Result, near float64) bool {
	used, mark := float64(r.Limit-r.Remaining), near*float64(r.Limit)
	return used >= mark && used-float64(r.Cost) < mark
}
