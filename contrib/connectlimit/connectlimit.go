// Package connectlimit limits the calls of Connect handlers with package ratelimit.
//
//	limit, err := connectlimit.New([]connectlimit.Rule{{Limiter: login, Key: byPeer, FailuresOnly: true}})
//	path, handler := loginv1connect.NewLoginServiceHandler(server, connect.WithInterceptors(limit))
//
// A method calls ratelimit.AdmissionFrom(ctx).Succeed() after a success. A call that is refused
// ends with CodeResourceExhausted, a RetryInfo and the field Retry-After, and with
// CodeUnavailable while the limiter's back-end is away.
package connectlimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Call is what a rule may look at.
type Call struct {
	// Spec says which method is called, Peer by whom, and Header what it sent.
	Spec   connect.Spec
	Peer   connect.Peer
	Header http.Header
}

// Rule applies one limiter to calls.
type Rule struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "". Required.
	Key func(context.Context, Call) string
	// Cost returns the units that a call needs; 0 lets it through uncounted. Default: 1.
	Cost func(context.Context, Call) int
	// FailuresOnly gives the units back when the method calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the longest that a call is delayed before it is denied. Default: 0.
	Delay time.Duration
}

// New returns an interceptor for handlers. With several rules a call goes on only if all allow.
func New(rules []Rule) (connect.Interceptor, error) {
	for i, r := range rules {
		if r.Limiter == nil || r.Key == nil {
			return nil, fmt.Errorf("connectlimit: rule %d needs a Limiter and a Key", i)
		}
	}
	return &interceptor{append([]Rule(nil), rules...)}, nil
}

type interceptor struct{ rules []Rule }

// WrapUnary implements connect.Interceptor.
func (l *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient {
			return next(ctx, req)
		}
		a, err := l.admit(ctx, Call{req.Spec(), req.Peer(), req.Header()})
		if err != nil {
			return nil, err
		}
		defer a.End() // also after a panic
		return next(a.Context(ctx), req)
	}
}

// WrapStreamingClient implements connect.Interceptor: clients are not limited.
func (l *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor. The stream as a whole is one call.
func (l *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		a, err := l.admit(ctx, Call{conn.Spec(), conn.Peer(), conn.RequestHeader()})
		if err != nil {
			return err
		}
		defer a.End()
		return next(a.Context(ctx), conn)
	}
}

func (l *interceptor) admit(ctx context.Context, call Call) (*ratelimit.Admission, error) {
	checks := make([]ratelimit.Check, 0, len(l.rules))
	for i := range l.rules {
		r, cost := &l.rules[i], 1
		if r.Cost != nil {
			cost = r.Cost(ctx, call)
		}
		if cost != 0 {
			checks = append(checks, ratelimit.Check{Limiter: r.Limiter, Key: r.Key(ctx, call), Cost: cost, Within: r.Delay, FailuresOnly: r.FailuresOnly})
		}
	}
	a, err := ratelimit.Admit(ctx, checks...)
	d := a.Decision()
	if err == nil && d.Allowed {
		return a, nil
	}
	return nil, refusal(ctx, d, err)
}

// refusal is the error of a call that does not go on. It says nothing of an error's cause.
func refusal(ctx context.Context, d *ratelimit.Decision, err error) error {
	b := d.Binding()
	var e *connect.Error
	switch {
	case err == nil, errors.Is(err, ratelimit.ErrCostExceedsLimit), errors.Is(err, ratelimit.ErrQueueFull):
		e = connect.NewError(connect.CodeResourceExhausted, errors.New("too many calls: policy "+b.Policy))
	case errors.Is(err, ratelimit.ErrUnavailable):
		e = connect.NewError(connect.CodeUnavailable, errors.New("the service cannot answer right now"))
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return connect.NewError(connect.CodeInternal, errors.New("the service could not answer"))
	}
	d.WriteHeaders(e.Meta())
	if b.RetryAfter > 0 {
		if detail, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(b.RetryAfter)}); err == nil {
			e.AddDetail(detail)
		}
	}
	return e
}
