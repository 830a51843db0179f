package ratelimittest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// OutcomeSuite tests an adapter of a framework: only what the handler calls a success is one,
// however it answers.
type OutcomeSuite struct {
	// New serves a handler of the framework behind a rule with FailuresOnly on limiter, for
	// one key. The handler calls reached with its request's context and the kind of the
	// request, and then answers as the kind says. send sends one request of a kind; it
	// reports whether the adapter refused it, and when the client is told to come again.
	// Required.
	New func(t testing.TB, limiter ratelimit.Limiter, reached func(ctx context.Context, kind string)) (send func(kind string) (refused bool, retry time.Duration))
	// Kinds are the ways in which the handler can answer a failure, such as "status",
	// "error", "form with 200", "redirect", "panic" and "hijack". Required.
	Kinds []string
}

// Right is the kind of a request that succeeds.
const Right = "right"

// Run runs all checks as subtests of t.
func (s OutcomeSuite) Run(t *testing.T) {
	start := func(t testing.TB) (func(string) (bool, time.Duration), *atomic.Int64) {
		l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
		if err != nil {
			t.Fatal(err)
		}
		handled := new(atomic.Int64)
		send := s.New(t, l, func(ctx context.Context, kind string) {
			handled.Add(1)
			if kind == Right {
				ratelimit.AdmissionFrom(ctx).Succeed()
			}
		})
		return send, handled
	}
	for _, kind := range s.Kinds {
		t.Run(kind, func(t *testing.T) {
			send, handled := start(t)
			refusals := 0
			for range 100 {
				refused, retry := send(kind)
				if refused {
					refusals++
					if retry <= 0 || retry > time.Hour {
						t.Fatalf("a refused client is told to come again in %v", retry)
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
		send, handled := start(t)
		for range 50 {
			if refused, _ := send(Right); refused {
				t.Fatal("a success is refused")
			}
		}
		if handled.Load() != 50 {
			t.Fatalf("%d of 50 successes reached the handler", handled.Load())
		}
	})
}
