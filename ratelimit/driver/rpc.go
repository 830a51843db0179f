package driver

import (
	"context"
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/internal/link"
)

// Rule applies one limiter to the calls of a framework, such as gRPC or gin. A C describes a
// call.
type Rule[C any] struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "", such as of the peer, or of the user whom an
	// earlier interceptor has put into the context. Required.
	Key func(context.Context, C) string
	// Cost returns the units that a call needs. 0 allows it without counting, and
	// [ratelimit.Admission.Charge] can still charge it. Default: 1.
	Cost func(context.Context, C) int
	// FailuresOnly gives the units back when the method calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the maximum delay of a call before it is denied. Default: 0.
	Delay time.Duration
}

// Rules are the rules of one interceptor. A call goes on only if all allow.
type Rules[C any] []Rule[C]

// NewRules copies rules. It fails where [ratelimit.NewMiddleware] fails: a rule needs a Limiter
// and a Key, the policies need different names, and a Delay does not go with FailuresOnly. name
// begins the error.
func NewRules[C any](name string, rules []Rule[C]) (Rules[C], error) {
	same := make([]ratelimit.Rule, len(rules))
	for i, r := range rules {
		same[i] = ratelimit.Rule{Limiter: r.Limiter, FailuresOnly: r.FailuresOnly, Delay: r.Delay}
		if r.Key != nil {
			same[i].Key = func(*http.Request) string { return "" }
		}
	}
	if err := link.ValidRules(name, same); err != nil {
		return nil, err
	}
	return append(Rules[C](nil), rules...), nil
}

// Admit decides one call: see [ratelimit.Admit]. It logs a mistake of the service, such as an
// empty key, once a minute.
func (rules Rules[C]) Admit(ctx context.Context, call C) (*ratelimit.Admission, error) {
	checks := make([]ratelimit.Check, 0, len(rules))
	var free []ratelimit.Check
	for i := range rules {
		r, cost := &rules[i], 1
		if r.Cost != nil {
			cost = r.Cost(ctx, call)
		}
		c := ratelimit.Check{Limiter: r.Limiter, Cost: cost, Within: r.Delay, FailuresOnly: r.FailuresOnly}
		if cost != 0 {
			c.Key = r.Key(ctx, call)
			checks = append(checks, c)
		} else if !c.FailuresOnly {
			c.Key = r.Key(ctx, call)
			free = append(free, c)
		}
	}
	a, err := link.Admit(ctx, checks, free)
	return a.(*ratelimit.Admission), err
}
