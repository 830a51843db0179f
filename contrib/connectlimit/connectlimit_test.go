package connectlimit_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mainstay-go/mainstay/contrib/connectlimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{"connect": nil, "grpc-web": {connect.WithGRPCWeb()}} {
		t.Run(name, func(t *testing.T) {
			ratelimittest.OutcomeSuite{
				Kinds: []string{"status", "answer that says no", "panic"},
				New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) (bool, time.Duration) {
					limit, err := connectlimit.New([]connectlimit.Rule{{Limiter: l, FailuresOnly: true, Key: func(_ context.Context, c connectlimit.Call) string {
						host, _, _ := net.SplitHostPort(c.Peer.Addr)
						return ratelimit.Key("ip", host)
					}}})
					if err != nil {
						t.Fatal(err)
					}
					const path = "/test.Logins/Login"
					login := func(ctx context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
						reached(ctx, req.Msg.Value)
						switch req.Msg.Value {
						case "status":
							return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("wrong password"))
						case "panic":
							panic(http.ErrAbortHandler)
						}
						return connect.NewResponse(wrapperspb.String("auth=0")), nil
					}
					mux := http.NewServeMux()
					mux.Handle(path, connect.NewUnaryHandler(path, login, connect.WithInterceptors(limit)))
					server := httptest.NewServer(mux)
					t.Cleanup(server.Close)
					client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+path, options...)
					return func(kind string) (bool, time.Duration) {
						_, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(kind)))
						e, ok := errors.AsType[*connect.Error](err)
						if !ok || e.Code() != connect.CodeResourceExhausted {
							return false, 0
						}
						if e.Meta().Get("Retry-After") == "" {
							t.Error("no Retry-After")
						}
						for _, d := range e.Details() {
							if v, err := d.Value(); err == nil {
								if info, ok := v.(*errdetails.RetryInfo); ok {
									return true, info.RetryDelay.AsDuration()
								}
							}
						}
						t.Error("no RetryInfo")
						return true, 0
					}
				},
			}.Run(t)
		})
	}
}
