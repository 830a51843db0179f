package ratelimittest

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// OutcomeSuite tests an adapter of a framework. A request counts unless the handler states a
// success, and errors other than a denial have responses of their own.
type OutcomeSuite struct {
	// New serves a handler of the framework behind a rule with FailuresOnly on limiter, for
	// one key. The handler calls reached with its request's context and the kind of the
	// request, and then answers as the kind says. send sends one request of a kind. Required.
	New func(t testing.TB, limiter ratelimit.Limiter, reached func(ctx context.Context, kind string)) (send func(kind string) Reply)
	// Kinds are the ways in which the handler can answer a failure, such as "status",
	// "error", "form with 200", "redirect", "panic" and "hijack". Required.
	Kinds []string
}

// Reply is a response as the client sees it.
type Reply struct {
	// Status is the HTTP status, or the one that an RPC's code stands for: 429
	// (ResourceExhausted), 503 (Unavailable), 500 (Internal).
	Status int
	// Retry is the time until the client may retry, or 0.
	Retry time.Duration
	// Text is the body, or the message of an RPC's status.
	Text string
}

// Right is the kind of a request that succeeds.
const Right = "right"

// HTTP returns a New for an adapter on net/http. handler serves POST /{kind}. Panics are
// part of the test, so it should not log.
func HTTP(handler func(t testing.TB, limiter ratelimit.Limiter, reached func(ctx context.Context, kind string)) http.Handler) func(testing.TB, ratelimit.Limiter, func(context.Context, string)) func(string) Reply {
	return func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) Reply {
		server := httptest.NewUnstartedServer(handler(t, l, reached))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		t.Cleanup(server.Close)
		client := server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return func(kind string) Reply {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL+"/"+kind, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				return Reply{} // the handler has hijacked the connection, or panicked
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			return Reply{resp.StatusCode, time.Duration(seconds) * time.Second, string(body)}
		}
	}
}

// Run runs all checks as subtests of t.
func (s OutcomeSuite) Run(t *testing.T) {
	start := func(t testing.TB, l ratelimit.Limiter) (func(string) Reply, *atomic.Int64) {
		handled := new(atomic.Int64)
		send := s.New(t, l, func(ctx context.Context, kind string) {
			handled.Add(1)
			if kind == Right {
				ratelimit.AdmissionFrom(ctx).Succeed()
			}
		})
		return send, handled
	}
	login := func(t testing.TB) ratelimit.Limiter {
		l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, kind := range s.Kinds {
		t.Run(kind, func(t *testing.T) {
			send, handled := start(t, login(t))
			refusals := 0
			for range 100 {
				r := send(kind)
				if r.Status == http.StatusTooManyRequests {
					refusals++
					if r.Retry <= 0 || r.Retry > time.Hour {
						t.Fatalf("a refused client is told to come again in %v", r.Retry)
					}
				}
			}
			// A connection that a handler took over and closed may fail a later request.
			if handled.Load() != 5 || refusals < 90 {
				t.Fatalf("%d of 100 failures reached the handler and %d were refused, want 5 and 95", handled.Load(), refusals)
			}
		})
	}
	t.Run(Right, func(t *testing.T) {
		send, handled := start(t, login(t))
		for range 50 {
			if r := send(Right); r.Status == http.StatusTooManyRequests {
				t.Fatal("a success is refused")
			}
		}
		if handled.Load() != 50 {
			t.Fatalf("%d of 50 successes reached the handler", handled.Load())
		}
	})
	for name, c := range map[string]struct {
		limiter ratelimit.Limiter
		want    Reply
	}{
		"back-end away":     {scripted{retry: 2 * time.Second, err: ratelimit.ErrUnavailable}, Reply{Status: 503, Retry: 2 * time.Second}},
		"mistake":           {scripted{err: errors.New("secret.internal:6379")}, Reply{Status: 500}},
		"cost never fits":   {scripted{retry: ratelimit.Never, err: ratelimit.ErrCostExceedsLimit}, Reply{Status: 429}},
		"too many waiting":  {scripted{retry: 3 * time.Second, err: ratelimit.ErrQueueFull}, Reply{Status: 429, Retry: 3 * time.Second}},
		"switched off":      {scripted{allowed: true}, Reply{Status: 0}},
		"denied, in flight": {scripted{retry: time.Second}, Reply{Status: 429, Retry: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			send, handled := start(t, c.limiter)
			got := send(Right)
			if c.want.Status == 0 {
				if handled.Load() != 1 {
					t.Fatalf("not let through: %+v", got)
				}
				return
			}
			if got.Status != c.want.Status || got.Retry != c.want.Retry || handled.Load() != 0 {
				t.Fatalf("got %+v, want %+v; %d reached the handler", got, c.want, handled.Load())
			}
			if strings.Contains(got.Text, "secret") {
				t.Fatalf("the client sees the cause of an error: %s", got.Text)
			}
		})
	}
}

// scripted is a limiter with a fixed decision.
type scripted struct {
	retry   time.Duration
	allowed bool
	err     error
}

func (b scripted) Policy() ratelimit.Policy {
	return ratelimit.Policy{Name: "broken", Limit: 5, Window: time.Hour}
}

func (b scripted) result() ratelimit.Result {
	return ratelimit.Result{Policy: "broken", Limit: 5, Cost: 1, Window: time.Hour, Allowed: b.allowed, RetryAfter: b.retry}
}

func (b scripted) AllowN(context.Context, string, int) (ratelimit.Result, error) {
	return b.result(), b.err
}

func (b scripted) Block(context.Context, string, time.Duration) error { return b.err }

func (b scripted) Backend() ratelimit.Backend { return b }

func (b scripted) Group() any { return "broken" }

func (b scripted) Take(_ context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	list := make([]*ratelimit.Reservation, len(checks))
	for i := range list {
		list[i] = driver.NewReservation(b.result(), nil, nil)
	}
	return list, b.err
}

func (b scripted) Settle(context.Context, []*ratelimit.Reservation, []int) error { return b.err }
