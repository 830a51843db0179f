// Package ratelimittest holds implementations of ratelimit.Limiter to their promise.
// Its adversary tries at the instants at which limiters are weakest and counts, over
// every window, how much it was let through.
package ratelimittest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Suite describes an implementation.
type Suite struct {
	// New returns a limiter for the policy that has no history. Of o, which may be nil, LimitFunc
	// applies. Required.
	New func(t testing.TB, p ratelimit.Policy, o *ratelimit.Options) ratelimit.Limiter
	// Algorithm is given to every policy. Default: Exact.
	Algorithm ratelimit.Algorithm
	// Virtual runs every check in a testing/synctest bubble, where hours pass in
	// milliseconds: for limiters that live in this process. Default: false; real time.
	Virtual bool
	// Window is the window in the checks that let one pass. Default: an hour if
	// Virtual, else a second. It should be many times longer than a decision.
	Window time.Duration
	// Bound is the maximum number of units in a window. Default: the limit, and the bound of
	// the algorithm for GCRA.
	Bound func(p ratelimit.Policy) int
	// Late is how much later than promised a unit may be free again. Default: 0 for
	// Exact, the delay of the algorithm for Buckets, and a little in real time.
	Late time.Duration
	// Sleep lets time pass. Default: time.Sleep; a fake server's clock may need more.
	Sleep func(d time.Duration)
}

// check is one promise. It takes a testing.TB so that the suite can be tested itself.
type check struct {
	name string
	run  func(t testing.TB, s *Suite)
}

// Run runs all checks as subtests of t.
func (s Suite) Run(t *testing.T) {
	s = s.withDefaults()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if s.Virtual {
				synctest.Test(t, func(t *testing.T) { c.run(t, &s) })
				return
			}
			c.run(t, &s)
		})
	}
}

func (s Suite) withDefaults() Suite {
	if s.Window == 0 {
		s.Window = time.Second
		if s.Virtual {
			s.Window = time.Hour
		}
	}
	if s.Sleep == nil {
		s.Sleep = time.Sleep
	}
	if s.Bound == nil {
		s.Bound = func(p ratelimit.Policy) int {
			if p.Algorithm == ratelimit.GCRA {
				return 2*p.Limit - 1
			}
			return p.Limit
		}
	}
	if s.Late == 0 {
		if s.Algorithm == ratelimit.Buckets {
			s.Late = s.Window/63 + time.Millisecond
		}
		if !s.Virtual {
			s.Late += 2 * time.Millisecond
		}
	}
	return s
}

func (s *Suite) policy(name string, limit int) ratelimit.Policy {
	return ratelimit.Policy{Name: name, Limit: limit, Window: s.Window, Algorithm: s.Algorithm}
}

// lasting is a policy whose units do not come back during a check.
func (s *Suite) lasting(name string, limit int) ratelimit.Policy {
	p := s.policy(name, limit)
	p.Window = time.Hour
	return p
}

// require ends the check when cond does not hold.
func require(t testing.TB, cond bool, format string, args ...any) {
	t.Helper()
	if !cond {
		t.Fatalf(format, args...)
	}
}

// must returns v, and ends the check when there is an error.
func must[V any](t testing.TB, v V, err error) V {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return v
}
