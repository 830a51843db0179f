package grpclimit_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mainstay-go/mainstay/contrib/grpclimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

type logins interface {
	Login(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
}

type service struct {
	reached func(context.Context, string)
}

func (s *service) Login(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	s.reached(ctx, in.Value)
	switch in.Value {
	case "status":
		return nil, status.Error(codes.Unauthenticated, "wrong password")
	case "panic":
		panic("wrong")
	}
	return wrapperspb.String("auth=0"), nil
}

// desc is what protoc would make of one method of each kind.
var desc = grpc.ServiceDesc{
	ServiceName: "test.Logins",
	HandlerType: (*logins)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Login", Handler: func(srv any, ctx context.Context, dec func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, req any) (any, error) {
			return srv.(logins).Login(ctx, req.(*wrapperspb.StringValue))
		}
		return i(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.Logins/Login"}, handle)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
		in := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		out, err := srv.(logins).Login(stream.Context(), in)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(out); err != nil || in.Value != "answers, then an error" {
			return err
		}
		return status.Error(codes.Unauthenticated, "wrong password")
	}}},
}

func dial(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) *grpc.ClientConn {
	limit, err := grpclimit.New([]grpclimit.Rule{{Limiter: l, FailuresOnly: true, Key: func(ctx context.Context, _ string) string {
		p, _ := peer.FromContext(ctx)
		host, _, _ := net.SplitHostPort(p.Addr.String())
		return ratelimit.Key("ip", host)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
			defer func() {
				if recover() != nil {
					err = status.Error(codes.Internal, "panic")
				}
			}()
			return h(ctx, req)
		}, limit.Unary),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) (err error) {
			defer func() {
				if recover() != nil {
					err = status.Error(codes.Internal, "panic")
				}
			}()
			return h(srv, s)
		}, limit.Stream))
	server.RegisterService(&desc, &service{reached})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reply is what a client sees of an error.
func reply(err error) ratelimittest.Reply {
	st := status.Convert(err)
	r := ratelimittest.Reply{Text: st.Message()}
	switch st.Code() { //nolint:exhaustive // others are the handler's
	case codes.ResourceExhausted:
		r.Status = http.StatusTooManyRequests
	case codes.Unavailable:
		r.Status = http.StatusServiceUnavailable
	case codes.Internal:
		r.Status = http.StatusInternalServerError
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			r.Retry = info.RetryDelay.AsDuration()
		}
	}
	return r
}

func TestOutcomesOfCalls(t *testing.T) {
	ratelimittest.OutcomeSuite{
		Kinds: []string{"status", "answer that says no", "panic"},
		New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) ratelimittest.Reply {
			conn := dial(t, l, reached)
			return func(kind string) ratelimittest.Reply {
				return reply(conn.Invoke(t.Context(), "/test.Logins/Login", wrapperspb.String(kind), new(wrapperspb.StringValue)))
			}
		},
	}.Run(t)
}

func TestOutcomesOfStreams(t *testing.T) {
	ratelimittest.OutcomeSuite{
		Kinds: []string{"status", "answer that says no", "answers, then an error", "panic"},
		New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) ratelimittest.Reply {
			conn := dial(t, l, reached)
			return func(kind string) ratelimittest.Reply {
				s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Logins/Stream")
				if err != nil {
					return reply(err)
				}
				_ = s.SendMsg(wrapperspb.String(kind))
				_ = s.CloseSend()
				out := new(wrapperspb.StringValue)
				for err == nil {
					err = s.RecvMsg(out)
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return reply(err)
			}
		},
	}.Run(t)
	if _, err := grpclimit.New([]grpclimit.Rule{{}}); err == nil {
		t.Fatal("a rule without a limiter")
	}
}
