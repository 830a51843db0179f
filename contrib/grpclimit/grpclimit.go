// Package grpclimit limits the calls of a gRPC server with package ratelimit.
//
//	limit, err := grpclimit.New([]grpclimit.Rule{{Limiter: login, Key: byPeer, FailuresOnly: true}})
//	server := grpc.NewServer(grpc.UnaryInterceptor(limit.Unary), grpc.StreamInterceptor(limit.Stream))
//
// A method calls ratelimit.AdmissionFrom(ctx).Succeed() after a success. A call that is refused
// ends with ResourceExhausted and a RetryInfo, and with Unavailable while the limiter's back-end
// is away.
package grpclimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Rule applies one limiter to calls.
type Rule struct {
	// Limiter decides. Required.
	Limiter ratelimit.Limiter
	// Key returns the key of the caller, never "", from the context of a call, such as its
	// peer or the user that an earlier interceptor has put there. Required.
	Key func(ctx context.Context, method string) string
	// Cost returns the units that a call needs; 0 lets it through uncounted. Default: 1.
	Cost func(ctx context.Context, method string) int
	// FailuresOnly gives the units back when the method calls Succeed. Default: false.
	FailuresOnly bool
	// Delay is the longest that a call is delayed before it is denied. Default: 0.
	Delay time.Duration
}

// Limit holds the interceptors.
type Limit struct{ rules []Rule }

// New returns the interceptors of rules. With several rules a call goes on only if all allow.
func New(rules []Rule) (*Limit, error) {
	for i, r := range rules {
		if r.Limiter == nil || r.Key == nil {
			return nil, fmt.Errorf("grpclimit: rule %d needs a Limiter and a Key", i)
		}
	}
	return &Limit{rules: append([]Rule(nil), rules...)}, nil
}

// Unary is a grpc.UnaryServerInterceptor.
func (l *Limit) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	a, err := l.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer a.End() // also after a panic
	return handler(a.Context(ctx), req)
}

// Stream is a grpc.StreamServerInterceptor. The stream as a whole is one call.
func (l *Limit) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	a, err := l.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer a.End()
	return handler(srv, &admitted{stream, a.Context(stream.Context())})
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *admitted) Context() context.Context { return s.ctx }

func (l *Limit) admit(ctx context.Context, method string) (*ratelimit.Admission, error) {
	checks := make([]ratelimit.Check, 0, len(l.rules))
	for i := range l.rules {
		r, cost := &l.rules[i], 1
		if r.Cost != nil {
			cost = r.Cost(ctx, method)
		}
		if cost != 0 {
			checks = append(checks, ratelimit.Check{Limiter: r.Limiter, Key: r.Key(ctx, method), Cost: cost, Within: r.Delay, FailuresOnly: r.FailuresOnly})
		}
	}
	a, err := ratelimit.Admit(ctx, checks...)
	d := a.Decision()
	if err == nil && d.Allowed {
		return a, nil
	}
	return nil, refusal(ctx, d, err)
}

// refusal is the status of a call that does not go on. It says nothing of an error's cause.
func refusal(ctx context.Context, d *ratelimit.Decision, err error) error {
	b := d.Binding()
	var st *status.Status
	switch {
	case err == nil, errors.Is(err, ratelimit.ErrCostExceedsLimit), errors.Is(err, ratelimit.ErrQueueFull):
		st = status.New(codes.ResourceExhausted, "too many calls: policy "+b.Policy)
	case errors.Is(err, ratelimit.ErrUnavailable):
		st = status.New(codes.Unavailable, "the service cannot answer right now")
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	default:
		return status.Error(codes.Internal, "the service could not answer")
	}
	if b.RetryAfter > 0 {
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(b.RetryAfter)}); err == nil {
			st = detailed
		}
		seconds := strconv.FormatInt(int64((b.RetryAfter+time.Second-1)/time.Second), 10)
		_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", seconds)) // outside of a call there is none
	}
	return st.Err()
}
