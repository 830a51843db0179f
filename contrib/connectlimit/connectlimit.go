// Package connectlimit limits the calls of Connect handlers with package ratelimit.
//
//	limit, err := connectlimit.New([]connectlimit.Rule{{Limiter: login, Key: byPeer, FailuresOnly: true}})
//	path, handler := loginv1connect.NewLoginServiceHandler(server, connect.WithInterceptors(limit))
//
// A method calls ratelimit.AdmissionFrom(ctx).Succeed() after a success. A denied call
// returns CodeResourceExhausted, with a RetryInfo and the header field Retry-After. If the
// limiter's back-end is not available, the code is CodeUnavailable.
package connectlimit

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// Call describes a call to the rules.
type Call struct {
	Spec   connect.Spec // the called method
	Peer   connect.Peer // the caller
	Header http.Header  // the header fields of the call
}

// Rule applies one limiter to calls.
type Rule = driver.Rule[Call]

// New returns an interceptor for handlers. If there are several rules, all must allow a
// call.
func New(rules []Rule) (connect.Interceptor, error) {
	checked, err := driver.NewRules("connectlimit", rules)
	if err != nil {
		return nil, err
	}
	return &interceptor{checked}, nil
}

type interceptor struct{ rules driver.Rules[Call] }

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

// WrapStreamingClient implements connect.Interceptor. It does not limit clients.
func (l *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor. A whole stream counts as one call.
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
	a, err := l.rules.Admit(ctx, call)
	d := a.Decision()
	code, text := connect.CodeInternal, "the service could not answer" // the cause stays hidden
	switch d.Status(err) {
	case http.StatusOK:
		return a, nil
	case http.StatusTooManyRequests:
		code, text = connect.CodeResourceExhausted, "too many calls: policy "+d.Binding().Policy
	case http.StatusServiceUnavailable:
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		code, text = connect.CodeUnavailable, "the service cannot answer right now"
	}
	e := connect.NewError(code, errors.New(text))
	if code == connect.CodeInternal {
		return nil, e
	}
	d.WriteHeaders(e.Meta())
	if retry := d.Binding().RetryAfter; retry > 0 {
		if detail, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}); err == nil {
			e.AddDetail(detail)
		}
	}
	return nil, e
}
