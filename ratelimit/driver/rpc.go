package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Rule applies one limiter to the calls of a remote procedure call framework. A C describes a
// call.
type Rule[C any] struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "", such as of the peer, or of the user whom an
	// earlier interceptor has put into the context. Required.
	Key func(context.Context, C) string
	// Cost returns the units that a call needs; 0 allows it without counting. Default: 1.
	Cost func(context.Context, C) int
	// FailuresOnly gives the units back when the method calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the maximum delay of a call before it is denied. Default: 0.
	Delay time.Duration
}

// Rules are the rules of one interceptor. A call goes on only if all allow.
type Rules[C any] []Rule[C]

// NewRules copies rules. It fails if one lacks a Limiter or a Key. name begins the error.
func NewRules[C any](name string, rules []Rule[C]) (Rules[C], error) {
	for i, r := range rules {
		if r.Limiter == nil || r.Key == nil {
			return nil, fmt.Errorf("%s: rule %d needs a Limiter and a Key", name, i)
		}
	}
	return append(Rules[C](nil), rules...), nil
}

// Admit decides one call: see [ratelimit.Admit].
func (rules Rules[C]) Admit(ctx context.Context, call C) (*ratelimit.Admission, error) {
	checks := make([]ratelimit.Check, 0, len(rules))
	for i := range rules {
		r, cost := &rules[i], 1
		if r.Cost != nil {
			cost = r.Cost(ctx, call)
		}
		if cost != 0 {
			checks = append(checks, ratelimit.Check{Limiter: r.Limiter, Key: r.Key(ctx, call), Cost: cost, Within: r.Delay, FailuresOnly: r.FailuresOnly})
		}
	}
	return ratelimit.Admit(ctx, checks...)
}
