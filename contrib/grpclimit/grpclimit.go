// Package grpclimit limits the calls of a gRPC server with package ratelimit.
//
//	limit, err := grpclimit.New([]grpclimit.Rule{{Limiter: login, Key: byPeer, FailuresOnly: true}})
//	server := grpc.NewServer(grpc.UnaryInterceptor(limit.Unary), grpc.StreamInterceptor(limit.Stream))
//
// A method calls ratelimit.AdmissionFrom(ctx).Succeed() after a success. A denied call
// returns ResourceExhausted with a RetryInfo. If the limiter's back-end is not available,
// the code is Unavailable.
package grpclimit

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// Rule applies one limiter to calls. Its functions receive the full name of the method.
type Rule = driver.Rule[string]

// Limit holds the interceptors.
type Limit struct{ rules driver.Rules[string] }

// New returns the interceptors for rules. If there are several rules, all must allow a
// call.
func New(rules []Rule) (*Limit, error) {
	checked, err := driver.NewRules("grpclimit", rules)
	if err != nil {
		return nil, err
	}
	return &Limit{checked}, nil
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

// Stream is a grpc.StreamServerInterceptor. A whole stream counts as one call.
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
	a, err := l.rules.Admit(ctx, method)
	d := a.Decision()
	st := status.New(codes.Internal, "the service could not answer") // the cause stays hidden
	switch d.Status(err) {
	case http.StatusOK:
		return a, nil
	case http.StatusTooManyRequests:
		st = status.New(codes.ResourceExhausted, "too many calls: policy "+d.Binding().Policy)
	case http.StatusServiceUnavailable:
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		st = status.New(codes.Unavailable, "the service cannot answer right now")
	}
	if retry := d.Binding().RetryAfter; retry > 0 && st.Code() != codes.Internal {
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}); err == nil {
			st = detailed
		}
		seconds := strconv.FormatInt(int64((retry+time.Second-1)/time.Second), 10)
		_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", seconds)) // it fails outside of a call
	}
	return nil, st.Err()
}
