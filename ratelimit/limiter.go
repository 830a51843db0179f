package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// Limiter decides whether a key may use units of its limit. [Memory] is one, and so are
// the limiters of package redislimit; package driver helps to write another, and package
// ratelimittest tests it.
//
// A key names the caller that is limited, such as "user:42". [Key] builds safe ones. A
// denied decision uses no units, unless the policy sets CountDenied. Errors are those of
// this package, the context's, and for a shared back-end ErrUnavailable. The Result is
// valid beside ErrCostExceedsLimit and ErrUnavailable.
type Limiter interface {
	// Policy returns the policy that the limiter was made with.
	Policy() Policy
	// AllowN uses cost units if all of them fit now. A cost of 0 uses no units: Allowed
	// then says whether one more unit would fit.
	AllowN(ctx context.Context, key string, cost int) (Result, error)
	// Block forgets what key has used, and then refuses it for a while. Block with 0
	// unlocks a key. ErrUnlimited means that the key has no limit that could refuse it.
	Block(ctx context.Context, key string, wait time.Duration) error
	// Backend returns what decides several checks in one step. A decorator that decides by
	// itself returns a Backend of its own.
	Backend() Backend
}

// Backend decides several checks in one step. [Decide] and [Admit] call it.
type Backend interface {
	// Group returns a comparable value. Backends with the same Group decide together: the
	// first one is called with the checks of all.
	Group() any
	// Take reserves the units of all checks, or denies, and returns one reservation a check.
	// That of a check with a cost of 0 needs no back-end: to charge it, Take is called again,
	// with Debt.
	Take(ctx context.Context, checks []Check) ([]*Reservation, error)
	// Settle gives each reservation of this Group a new cost. Result().Cost is the cost
	// that it has. A lower cost gives units back. A higher one takes more, into debt if they
	// do not fit. [Admission.Charge] may change a cost several times.
	Settle(ctx context.Context, reservations []*Reservation, costs []int) error
}

// Errors that callers test for with errors.Is.
var (
	// ErrEmptyKey means that the key was "": a mistake that would make all such
	// callers share one limit.
	ErrEmptyKey = errors.New("ratelimit: the key is empty; give callers without an identity a key of their own kind")
	// ErrInvalidCost means that a cost was negative.
	ErrInvalidCost = errors.New("ratelimit: the cost is negative; use a reservation to give units back")
	// ErrCostExceedsLimit means that the cost is above the limit and can never fit.
	ErrCostExceedsLimit = errors.New("ratelimit: the cost is above the limit and can never fit; split the work or raise the limit")
	// ErrUnavailable means that the back-end did not respond, and that the policy is FailClosed
	// or that the call must reach the back-end, such as Block.
	ErrUnavailable = errors.New("ratelimit: the back-end of the limit does not respond")
	// ErrWouldExceedDeadline means that Wait's context would end before the units fit.
	ErrWouldExceedDeadline = errors.New("ratelimit: the context ends before the cost fits")
	// ErrQueueFull means that as many units of the key wait as Options.MaxQueue allows.
	ErrQueueFull = errors.New("ratelimit: too many units of this key wait already; try again later or raise MaxQueue")
	// ErrDuplicateCheck means that one decision has one limiter and key twice.
	ErrDuplicateCheck = errors.New("ratelimit: the same limiter and key twice in one decision; add their costs up")
	// ErrUnlimited means that Block was called for a key whose limit is Unlimited.
	ErrUnlimited = errors.New("ratelimit: the key is Unlimited and cannot be blocked; return a limit of 0 for it in the LimitFunc of a policy with a Window")
	// ErrLimitFunc means that a LimitFunc returned a limit that its policy cannot hold.
	ErrLimitFunc = errors.New("ratelimit: the LimitFunc returned a limit above what the policy can hold; return less, or Unlimited")
)

// Result is the answer of a limiter. All fields describe the same instant.
type Result struct {
	// Allowed says whether the request may go on.
	Allowed bool
	// Limit is the limit in force for this key, or Unlimited.
	Limit int
	// Remaining is how many units are left after this decision, never negative.
	Remaining int
	// Cost is the number of units asked for.
	Cost int
	// InFlight is the number of units in flight when they are all that stands in the
	// way of a denied decision. The handler may give them back at any moment.
	InFlight int
	// RetryAfter is the time until Cost fits: 0 when Allowed, Never when it cannot, and
	// at most a second when InFlight is not 0.
	RetryAfter time.Duration
	// Delay is how long an allowed caller must wait before it uses its units. It is 0
	// unless the Check has a Within.
	Delay time.Duration
	// NextAfter is the time until at least one more unit is free than now. It is 0 if no
	// unit is in use.
	NextAfter time.Duration
	// ResetAfter is the time until the whole limit is free again.
	ResetAfter time.Duration
	// Window is the Window of the policy.
	Window time.Duration
	// Policy is the Name of the policy.
	Policy string
	// Degraded means that the shared back-end did not answer, and that the policy's
	// OnFailure decided.
	Degraded bool
	// Shadowed means that the policy would have denied, but only watches.
	Shadowed bool
	// Unknown means that another limit has denied the decision before this one was asked.
	// Allowed is true, and the figures are 0.
	Unknown bool
}

// LimitFunc returns the limit of one key, such as that of a tenant's plan. Every decision
// calls it, so a limit may change at any time. Earlier uses of a key go on counting.
// It must be fast and safe for concurrent use. A limit of 0 blocks the key, Unlimited
// lets it through uncounted, and ok == false leaves the policy's own Limit. A limit that
// the policy cannot hold is ErrLimitFunc, and counted in Stats. A policy with Shadow counts it
// and uses its own Limit.
type LimitFunc func(ctx context.Context, key string) (limit int, ok bool)

// effectiveLimit returns the limit of key.
func effectiveLimit(ctx context.Context, p *Policy, f LimitFunc, key string) (int, error) {
	limit, ok := f(ctx, key)
	most := maxLimit
	if p.Algorithm == GCRA {
		most = int(min(p.Window, maxLimit)) // a unit takes a nanosecond to flow in at least
	}
	switch {
	case !ok:
		return p.Limit, nil
	case limit < Unlimited:
		return 0, nil
	case limit > most:
		return p.Limit, fmt.Errorf("%w: %d for policy %s, which holds at most %d", ErrLimitFunc, limit, p.Name, most)
	}
	return limit, nil
}

func init() {
	link.NewReservation = func(result, backend, token any) any {
		b, _ := backend.(Backend)
		return &Reservation{result: result.(Result), backend: b, token: token}
	}
	link.BackendOf = func(c any) any { return c.(*Check).by() }
	link.Wait = func(ctx context.Context, c any) (any, error) { return wait(ctx, *c.(*Check)) }
	link.Record = func(m any, key string, limit, cost int) any {
		return m.(*Memory).record(key, limit, cost)
	}
	link.Settle = func(ctx context.Context, r any, cost int) error {
		return settle(ctx, []*Reservation{r.(*Reservation)}, []int{cost}, true)
	}
	link.Admit = func(ctx context.Context, checks, free any) (any, error) {
		logger := slog.Default()
		a, err := admitRules(ctx, logger, checks.([]Check), free.([]Check), nil)
		noteMistake(ctx, logger, &a.decision, err)
		return a, err
	}
	link.ValidRules = func(name string, rules any) error { return validRules(name, rules.([]Rule)) }
	link.Guarded = func(admission, guard any, logger *slog.Logger, outcome func(int)) {
		a := admission.(*Admission)
		a.guard, a.logger, a.hook = guard, logger, outcome
	}
	link.Token = func(r any) any { return r.(*Reservation).token }
	link.Limit = func(ctx context.Context, p, f any, key string) (int, error) {
		return effectiveLimit(ctx, p.(*Policy), f.(LimitFunc), key)
	}
}
