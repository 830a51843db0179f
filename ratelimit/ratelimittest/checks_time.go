package ratelimittest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// The checks of this file let time pass. In real time a machine may stop for any while
// between two lines. So no check depends on an instant: it uses units up again before it
// relies on a denial, and a condition after a wait holds after a longer wait too.

func checkAdversary(t testing.TB, s *Suite) {
	limits := []int{5, 30, 100, 200}
	if !s.Virtual {
		limits = []int{20}
	}
	for _, limit := range limits {
		p := s.policy("adversary", limit)
		list := Adversary{Limiter: s.make(t, p), Policy: p, Key: "user:mallory", Sleep: s.Sleep}.Attack(t)
		most := MostInAnyWindow(list, p.Window)
		require(t, most <= s.Bound(p), "%d let through in one window, where the bound is %d", most, s.Bound(p))
		require(t, len(list) >= 2*limit, "only %d let through in several windows of %d", len(list), limit)
	}
}

func checkWellBehaved(t testing.TB, s *Suite) {
	p := s.policy("polite", 20)
	l := s.make(t, p)
	for round := range 3 {
		got := burst(t, l, "user:polite", p.Limit)
		require(t, got == p.Limit, "burst %d: %d of %d served a whole window after the last", round, got, p.Limit)
		s.Sleep(p.Window + s.Late)
	}
}

// drain takes units of cost until a denial, which it returns. It also uses up units that
// come back during the check.
func (s *Suite) drain(t testing.TB, l subject, key string, cost int) ratelimit.Result {
	t.Helper()
	for range 1000 {
		if r := must2(t)(l.AllowN(background, key, cost)); !r.Allowed {
			return r
		}
	}
	t.Fatalf("a cost of %d was allowed 1000 times within %v", cost, s.Window)
	return ratelimit.Result{}
}

func checkRetryAfter(t testing.TB, s *Suite) {
	p := s.policy("retry", 4)
	l := s.make(t, p)
	require(t, must2(t)(l.Allow(background, "k")).Allowed, "denied within the limit")
	s.Sleep(p.Window / 4) // the others are of another instant
	for _, cost := range []int{1, 3, 4} {
		r := s.drain(t, l, "k", cost)
		require(t, r.RetryAfter > 0 && r.RetryAfter <= p.Window+s.Late, "RetryAfter %v in a window of %v", r.RetryAfter, p.Window)
		require(t, r.NextAfter > 0 && r.NextAfter <= r.RetryAfter, "NextAfter %v is after RetryAfter %v", r.NextAfter, r.RetryAfter)
		require(t, r.ResetAfter >= r.RetryAfter, "ResetAfter %v is before RetryAfter %v", r.ResetAfter, r.RetryAfter)
		s.Sleep(r.RetryAfter + s.Late)
		require(t, must2(t)(l.AllowN(background, "k", cost)).Allowed, "denied after waiting RetryAfter for cost %d", cost)
	}
	r := must2(t)(l.Peek(background, "k"))
	s.Sleep(r.ResetAfter + s.Late)
	r = must2(t)(l.Peek(background, "k"))
	require(t, r.Remaining == p.Limit && r.NextAfter == 0 && r.ResetAfter == 0, "after ResetAfter: %+v", r)
}

func checkDenied(t testing.TB, s *Suite) {
	p := s.lasting("denied", 3)
	l := s.make(t, p)
	require(t, burst(t, l, "k", 3) == 3, "denied within the limit")
	first := must2(t)(l.Allow(background, "k"))
	for range 50 {
		r := must2(t)(l.Allow(background, "k"))
		require(t, !r.Allowed && r.Remaining == 0, "beyond the limit: %+v", r)
		require(t, r.RetryAfter <= first.RetryAfter, "a denied try put RetryAfter off from %v to %v", first.RetryAfter, r.RetryAfter)
	}

	p = s.policy("denied-soon", 3)
	l = s.make(t, p)
	first = s.drain(t, l, "k", 1)
	told, allowed := time.Now(), 0
	for time.Since(told) < first.RetryAfter+s.Late { // a client that does not wait
		allowed += burst(t, l, "k", 1)
		s.Sleep(p.Window / 50)
	}
	allowed += burst(t, l, "k", 1)
	require(t, allowed > 0, "denied tries put off the next allowed one beyond RetryAfter")
}

func checkLateCancel(t testing.TB, s *Suite) {
	p := s.policy("cancel-late", 5)
	l := s.make(t, p)
	soonest := p.Window // until the first of the units in use comes back
	if s.Algorithm == ratelimit.GCRA {
		soonest /= time.Duration(p.Limit)
	}
	for _, key := range []string{"k1", "k2", "k3", "k4", "k5"} {
		old, err := l.Reserve(background, key, 5)
		require(t, err == nil && old.Result().Allowed, "Reserve: %+v, %v", old.Result(), err)
		s.Sleep(p.Window + s.Late)
		start := time.Now()
		require(t, must2(t)(l.AllowN(background, key, 3)).Allowed, "denied a window later")
		require(t, old.Cancel(background) == nil, "a late Cancel failed")
		r := must2(t)(l.Peek(background, key))
		if time.Since(start) < soonest {
			// A leased block may hold units back for a moment.
			require(t, r.Remaining <= 2, "a late Cancel gave back units that others use: %d left, want 2", r.Remaining)
			return
		}
	}
	t.Log("no verdict: this machine is too busy")
}

func checkWait(t testing.TB, s *Suite) {
	p := s.lasting("wait-long", 2)
	l := s.make(t, p)
	for range 2 {
		must(t, 0, errOf(l.Wait(background, "k", 1)))
	}
	soon, cancel := context.WithTimeout(background, s.Window/50)
	defer cancel()
	_, err := l.Wait(soon, "k", 2)
	require(t, errors.Is(err, ratelimit.ErrWouldExceedDeadline) || errors.Is(err, context.DeadlineExceeded), "Wait past its deadline: %v", err)
	_, err = l.Wait(background, "k", 3)
	require(t, errors.Is(err, ratelimit.ErrCostExceedsLimit), "Wait for more than the limit: %v", err)

	p = s.policy("wait", 2)
	l = s.make(t, p)
	start := time.Now()
	must(t, 0, errOf(l.Wait(background, "k", 2)))
	must(t, 0, errOf(l.Wait(background, "k", 2)))
	took := time.Since(start)
	require(t, took >= p.Window-s.Late, "Wait took %v in a window of %v", took, p.Window)
	require(t, !s.Virtual || took <= p.Window+s.Late+time.Millisecond, "Wait took %v in a window of %v", took, p.Window)
}

func errOf(_ ratelimit.Result, err error) error { return err }
