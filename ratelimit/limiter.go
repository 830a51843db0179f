package ratelimit

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// Limiter decides whether a key may use some of its limit. All implementations
// behave alike; package ratelimittest holds them to it.
//
// A key names whoever is limited, such as "user:42"; [Key] builds safe ones. A cost
// is a number of units. What is denied uses nothing, unless the policy says
// CountDenied. Errors are those of this package, the context's, and for a shared
// back-end ErrUnavailable, which only FailClosed lets out; the Result is valid beside
// ErrCostExceedsLimit and ErrUnavailable.
type Limiter interface {
	// Allow is AllowN with a cost of 1.
	Allow(ctx context.Context, key string) (Result, error)
	// AllowN uses cost units if all of them fit now. A cost of 0 is Peek.
	AllowN(ctx context.Context, key string, cost int) (Result, error)
	// Peek returns what Allow would find and changes nothing. Allowed says whether
	// one more unit would fit.
	Peek(ctx context.Context, key string) (Result, error)
	// Reserve is AllowN whose use can be taken back.
	Reserve(ctx context.Context, key string, cost int) (*Reservation, error)
	// Reset forgets what key has used.
	Reset(ctx context.Context, key string) error
	// Wait blocks until cost units fit and uses them. It returns at once, with
	// ErrWouldExceedDeadline, when ctx would end before that. Waiters on one key
	// are not served in order.
	Wait(ctx context.Context, key string, cost int) (Result, error)
}

// Errors that callers may ask for with errors.Is.
var (
	// ErrEmptyKey means that the key was "": a mistake that would make all such
	// callers share one limit.
	ErrEmptyKey = errors.New("ratelimit: the key is empty; give callers without an identity a key of their own kind")
	// ErrInvalidCost means that the cost was negative.
	ErrInvalidCost = errors.New("ratelimit: the cost is negative; use Reserve and Cancel to give units back")
	// ErrCostExceedsLimit means that the cost is above the limit and can never fit.
	ErrCostExceedsLimit = errors.New("ratelimit: the cost is above the limit and can never fit; split the work or raise the limit")
	// ErrUnavailable means that the back-end did not answer and the policy is FailClosed.
	ErrUnavailable = errors.New("ratelimit: the limit's back-end does not answer and the policy fails closed; try again after RetryAfter")
	// ErrWouldExceedDeadline means that Wait's context would end before the units fit.
	ErrWouldExceedDeadline = errors.New("ratelimit: the context ends before the cost fits")
	// ErrDuplicateCheck means that Decide was handed one limiter and key twice.
	ErrDuplicateCheck = errors.New("ratelimit: the same limiter and key twice in one decision; add their costs up")
)

// Never is the RetryAfter of a cost that can never fit.
const Never = time.Duration(math.MinInt64)

// Result is what a limiter found, all of it at one instant.
type Result struct {
	// Allowed says whether the request may go on.
	Allowed bool
	// Limit is the limit in force for this key, or Unlimited.
	Limit int
	// Remaining is how many units are left after this decision, never negative.
	Remaining int
	// Cost is what was asked for.
	Cost int
	// RetryAfter is the time until Cost fits: 0 when Allowed, Never when it cannot.
	RetryAfter time.Duration
	// NextAfter is the time until at least one more unit is free than now; 0 when
	// none is in use.
	NextAfter time.Duration
	// ResetAfter is the time until the whole limit is free again.
	ResetAfter time.Duration
	// Window and Policy repeat the policy's Window and Name.
	Window time.Duration
	Policy string
	// Degraded means that the shared back-end did not answer, and that the policy's
	// OnFailure decided.
	Degraded bool
	// Shadowed means that the policy would have denied, but only watches.
	Shadowed bool
}

// LimitFunc gives the limit of one key, such as what a tenant's plan allows. It is
// asked on every decision, so a limit may change at any time, and what a key has
// used already goes on counting. It must be fast and safe for concurrent use.
// A limit of 0 blocks the key, Unlimited lets it through uncounted, and ok == false
// leaves the policy's own Limit.
type LimitFunc func(ctx context.Context, key string) (limit int, ok bool)

// Reservation is a use that can be taken back, once.
type Reservation struct {
	result Result
	mu     sync.Mutex
	cancel func(context.Context) error
}

// NewReservation is for implementations of Limiter. cancel gives the units back; it
// is not called again once it has returned nil. A nil cancel means that there is
// nothing to give back.
func NewReservation(result Result, cancel func(context.Context) error) *Reservation {
	return &Reservation{result: result, cancel: cancel}
}

// Result returns the decision. A denied reservation is not an error.
func (r *Reservation) Result() Result { return r.result }

// Cancel gives the units back, as if they had not been used. It may be called any
// number of times, at any time and on a denied reservation, and gives back at most
// once. Units that the window has meanwhile left behind are not given back again.
func (r *Reservation) Cancel(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil {
		return nil
	}
	if err := r.cancel(ctx); err != nil {
		return err
	}
	r.cancel = nil
	return nil
}

// Wait is the Wait method of any Limiter, in terms of its AllowN.
func Wait(ctx context.Context, l Limiter, key string, cost int) (Result, error) {
	for {
		res, err := l.AllowN(ctx, key, cost)
		if err != nil || res.Allowed || cost == 0 {
			return res, err
		}
		if res.RetryAfter == Never {
			return res, ErrCostExceedsLimit
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < res.RetryAfter {
			return res, ErrWouldExceedDeadline
		}
		timer := time.NewTimer(max(res.RetryAfter, time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return res, ctx.Err()
		case <-timer.C:
		}
	}
}
