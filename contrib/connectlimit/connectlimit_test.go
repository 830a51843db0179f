package connectlimit_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mainstay-go/mainstay/contrib/connectlimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

type (
	text   = wrapperspb.StringValue
	client = connect.Client[text, text]
)

// answer is the method: it fails in the way that the kind says.
func answer(kind string) (*text, error) {
	switch kind {
	case "status":
		return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("wrong password"))
	case "panic":
		panic(http.ErrAbortHandler)
	}
	return wrapperspb.String("auth=0"), nil
}

// reply is what a client sees of an error.
func reply(t testing.TB, err error) ratelimittest.Reply {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ratelimittest.Reply{}
	}
	r := ratelimittest.Reply{Text: e.Message()}
	switch e.Code() { //nolint:exhaustive // others are the handler's
	case connect.CodeResourceExhausted:
		r.Status = http.StatusTooManyRequests
	case connect.CodeUnavailable:
		r.Status = http.StatusServiceUnavailable
	case connect.CodeInternal:
		r.Status = http.StatusInternalServerError
	}
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if info, ok := v.(*errdetails.RetryInfo); ok {
				r.Retry = info.RetryDelay.AsDuration()
			}
		}
	}
	if r.Status == http.StatusTooManyRequests && r.Retry > 0 {
		if s, _ := strconv.Atoi(e.Meta().Get("Retry-After")); time.Duration(s)*time.Second < r.Retry {
			t.Errorf("Retry-After says %d, RetryInfo %v", s, r.Retry)
		}
	}
	return r
}

// Calls and streams of each kind, by each protocol.
func TestOutcomes(t *testing.T) {
	const path = "/test.Logins/Login"
	type reaches = func(context.Context, string)
	for name, c := range map[string]struct {
		handler func(reaches, connect.HandlerOption) http.Handler
		call    func(context.Context, *client, string) error
	}{
		"call": {
			func(reached reaches, o connect.HandlerOption) http.Handler {
				return connect.NewUnaryHandler(path, func(ctx context.Context, r *connect.Request[text]) (*connect.Response[text], error) {
					reached(ctx, r.Msg.Value)
					out, err := answer(r.Msg.Value)
					if err != nil {
						return nil, err
					}
					return connect.NewResponse(out), nil
				}, o)
			},
			func(ctx context.Context, c *client, kind string) error {
				_, err := c.CallUnary(ctx, connect.NewRequest(wrapperspb.String(kind)))
				return err
			},
		},
		"server's stream": {
			func(reached reaches, o connect.HandlerOption) http.Handler {
				return connect.NewServerStreamHandler(path, func(ctx context.Context, r *connect.Request[text], s *connect.ServerStream[text]) error {
					reached(ctx, r.Msg.Value)
					out, err := answer(r.Msg.Value)
					if err != nil {
						return err
					}
					return s.Send(out)
				}, o)
			},
			func(ctx context.Context, c *client, kind string) error {
				s, err := c.CallServerStream(ctx, connect.NewRequest(wrapperspb.String(kind)))
				if err != nil {
					return err
				}
				defer s.Close()
				for s.Receive() {
				}
				return s.Err()
			},
		},
		"client's stream": {
			func(reached reaches, o connect.HandlerOption) http.Handler {
				return connect.NewClientStreamHandler(path, func(ctx context.Context, s *connect.ClientStream[text]) (*connect.Response[text], error) {
					s.Receive()
					kind := s.Msg().Value
					reached(ctx, kind)
					out, err := answer(kind)
					if err != nil {
						return nil, err
					}
					return connect.NewResponse(out), nil
				}, o)
			},
			func(ctx context.Context, c *client, kind string) error {
				s := c.CallClientStream(ctx)
				_ = s.Send(wrapperspb.String(kind)) // CloseAndReceive reports what becomes of it
				_, err := s.CloseAndReceive()
				return err
			},
		},
		"both streams": {
			func(reached reaches, o connect.HandlerOption) http.Handler {
				return connect.NewBidiStreamHandler(path, func(ctx context.Context, s *connect.BidiStream[text, text]) error {
					in, err := s.Receive()
					if err != nil {
						return err
					}
					reached(ctx, in.Value)
					out, err := answer(in.Value)
					if err != nil {
						return err
					}
					if err := s.Send(out); err != nil || in.Value != "answers, then an error" {
						return err
					}
					return connect.NewError(connect.CodeUnauthenticated, errors.New("wrong password"))
				}, o)
			},
			func(ctx context.Context, c *client, kind string) error {
				s := c.CallBidiStream(ctx)
				_ = s.Send(wrapperspb.String(kind)) // Receive reports what becomes of it
				_ = s.CloseRequest()
				defer s.CloseResponse()
				for {
					if _, err := s.Receive(); errors.Is(err, io.EOF) {
						return nil
					} else if err != nil {
						return err
					}
				}
			},
		},
	} {
		for protocol, options := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				ratelimittest.OutcomeSuite{
					Kinds: []string{"status", "answer that says no", "answers, then an error", "panic"},
					New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) ratelimittest.Reply {
						limit, err := connectlimit.New([]connectlimit.Rule{{Limiter: l, FailuresOnly: true, Key: func(_ context.Context, c connectlimit.Call) string {
							host, _, _ := net.SplitHostPort(c.Peer.Addr)
							return ratelimit.Key("ip", host)
						}}})
						if err != nil {
							t.Fatal(err)
						}
						mux := http.NewServeMux()
						mux.Handle(path, c.handler(reached, connect.WithInterceptors(limit)))
						server := httptest.NewUnstartedServer(mux)
						server.Config.ErrorLog = log.New(io.Discard, "", 0)
						server.EnableHTTP2 = true
						server.StartTLS()
						t.Cleanup(server.Close)
						to := connect.NewClient[text, text](server.Client(), server.URL+path, options...)
						return func(kind string) ratelimittest.Reply { return reply(t, c.call(t.Context(), to, kind)) }
					},
				}.Run(t)
			})
		}
	}
	if _, err := connectlimit.New([]connectlimit.Rule{{}}); err == nil {
		t.Fatal("a rule without a limiter")
	}
}
