package ratelimittest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func checks() []check {
	return []check{
		{"NeverMoreThanTheBoundInAnyWindow", checkAdversary},
		{"AWellBehavedBurstIsServedWhole", checkWellBehaved},
		{"WaitingAsToldSucceeds", checkRetryAfter},
		{"DeniedUsesNothing", checkDenied},
		{"CostFitsWholeOrNotAtAll", checkCost},
		{"PeekChangesNothing", checkPeek},
		{"CancelGivesBackOnce", checkCancel},
		{"CancelInALaterWindowTakesNothing", checkLateCancel},
		{"ResetForgets", checkReset},
		{"KeysAreApart", checkKeys},
		{"ParallelCallersGetTheLimit", checkParallel},
		{"WaitWaits", checkWait},
		{"WaitersComeInTurn", checkTurns},
		{"HopelessWaitersAreRefusedAtOnce", checkHopeless},
		{"DebtIsPaidBack", checkDebt},
		{"ACostCanBeSettled", checkSettle},
		{"ACostCanBeChangedAgain", checkCharge},
		{"ACostOf0CanBeCharged", checkChargeOf0},
		{"NoChargeIsTooLarge", checkHugeDebt},
		{"WhatAResetFreedIsNotFreedAgain", checkResetThenCancel},
		{"BlockRefusesForAWhile", checkBlock},
		{"ADenialThatCountsFreesNothing", checkCountDenied},
		{"UnitsInFlightSaySo", checkFlight},
		{"DecideTakesAllOrNothing", checkDecide},
		{"ShadowRefusesAndDelaysNobody", checkShadowed},
		{"ALimitOf0RefusesEveryQuestion", checkLimit0},
		{"MistakesAreErrors", checkMistakes},
	}
}

var background = context.Background()

func burst(t testing.TB, l subject, key string, n int) (allowed int) {
	t.Helper()
	for range n {
		if must2(t)(l.Allow(background, key)).Allowed {
			allowed++
		}
	}
	return allowed
}

func must2(t testing.TB) func(ratelimit.Result, error) ratelimit.Result {
	return func(r ratelimit.Result, err error) ratelimit.Result {
		t.Helper()
		return must(t, r, err)
	}
}

func checkCost(t testing.TB, s *Suite) {
	p := s.lasting("cost", 10)
	l := s.make(t, p)
	r := must2(t)(l.AllowN(background, "k", 7))
	require(t, r.Allowed && r.Remaining == 3 && r.Cost == 7 && r.Limit == 10, "cost 7 of 10: %+v", r)
	r = must2(t)(l.AllowN(background, "k", 4))
	require(t, !r.Allowed && r.Remaining == 3, "cost 4 of 3: %+v", r)
	r = must2(t)(l.AllowN(background, "k", 3))
	require(t, r.Allowed && r.Remaining == 0, "cost 3 of 3 after a denial: %+v", r)
	r, err := l.AllowN(background, "k", 11)
	require(t, errors.Is(err, ratelimit.ErrCostExceedsLimit) && !r.Allowed && r.RetryAfter == ratelimit.Never, "cost 11 of 10: %+v, %v", r, err)
	r = must2(t)(l.AllowN(background, "whole", 10))
	require(t, r.Allowed && r.Remaining == 0, "the whole limit at once: %+v", r)
}

func checkPeek(t testing.TB, s *Suite) {
	p := s.lasting("peek", 3)
	l := s.make(t, p)
	for range 20 {
		r := must2(t)(l.Peek(background, "k"))
		require(t, r.Allowed && r.Remaining == 3 && r.Limit == 3, "peek at an unused key: %+v", r)
	}
	require(t, burst(t, l, "k", 3) == 3, "peeks used the limit up")
	for range 20 {
		r := must2(t)(l.Peek(background, "k"))
		require(t, !r.Allowed && r.Remaining == 0 && r.RetryAfter > 0, "peek at an exhausted key: %+v", r)
	}
	r := must2(t)(l.AllowN(background, "k", 0))
	require(t, !r.Allowed && r.RetryAfter > 0, "a cost of 0: %+v", r)
}

func checkCancel(t testing.TB, s *Suite) {
	p := s.lasting("cancel", 5)
	l := s.make(t, p)
	require(t, must2(t)(l.AllowN(background, "k", 2)).Allowed, "denied within the limit")
	res, err := l.Reserve(background, "k", 3)
	require(t, err == nil && res.Result().Allowed && res.Result().Remaining == 0, "Reserve: %+v, %v", res.Result(), err)
	require(t, !must2(t)(l.Allow(background, "k")).Allowed, "a reservation does not count")
	for range 3 {
		require(t, res.Cancel(background) == nil, "Cancel failed")
	}
	r := must2(t)(l.Peek(background, "k"))
	require(t, r.Remaining == 3, "%d left after cancelling 3 of 5 three times", r.Remaining)
	denied, err := l.Reserve(background, "k", 4)
	require(t, err == nil && !denied.Result().Allowed, "Reserve beyond the limit: %+v, %v", denied.Result(), err)
	require(t, denied.Cancel(background) == nil, "cancelling what was denied failed")
	r = must2(t)(l.Peek(background, "k"))
	require(t, r.Remaining == 3, "cancelling what was denied gave %d", r.Remaining-3)

	whole, err := l.Reserve(background, "whole", 5) // the last unit back empties the key
	require(t, err == nil && whole.Cancel(background) == nil, "Reserve and Cancel: %v", err)
	got := s.left(t, l, "whole", 5)
	require(t, got == 5, "%d of 5 after cancelling all", got)
}

// left returns the units that a lasting policy has left for key, which should be want. A token
// bucket gets units back later by the duration of the decision, and the machine may be slow.
func (s *Suite) left(t testing.TB, l subject, key string, want int) int {
	t.Helper()
	for start := time.Now(); ; s.Sleep(s.Late) {
		got := must2(t)(l.Peek(background, key)).Remaining
		if got == want || s.Virtual || time.Since(start) > 10*time.Second {
			return got
		}
	}
}

func checkReset(t testing.TB, s *Suite) {
	p := s.lasting("reset", 2)
	l := s.make(t, p)
	require(t, burst(t, l, "k", 3) == 2, "not the limit")
	require(t, l.Reset(background, "k") == nil, "Reset failed")
	require(t, burst(t, l, "k", 3) == 2, "not the limit after Reset")
	require(t, l.Reset(background, "never seen") == nil, "Reset of an unknown key failed")
}

func checkKeys(t testing.TB, s *Suite) {
	p := s.lasting("keys", 1)
	l := s.make(t, p)
	keys := []string{
		"a", "b", "a:b", "a:b:c", "ip:2001-db8--", "{a}", "a}:keys", "a b", "a\nb", "a\r\nDEL x", "ünïcode", "\x00", "\xff\xfe",
		strings.Repeat("x", 300), strings.Repeat("x", 301), "*", "a*", "~", "%s", "..", "/",
	}
	for _, k := range keys {
		require(t, burst(t, l, k, 2) == 1, "key %q shares its limit with another", k)
	}
}

func checkParallel(t testing.TB, s *Suite) {
	l := s.make(t, s.lasting("parallel", 50))
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if r, err := l.Allow(background, "k"); err != nil {
					t.Errorf("Allow: %v", err)
				} else if r.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require(t, allowed.Load() == 50, "%d of 50 let through in parallel", allowed.Load())
}

func checkDecide(t testing.TB, s *Suite) {
	loose, tight := s.lasting("loose", 10), s.lasting("tight", 2)
	a, b := s.make(t, loose), s.make(t, tight)
	for i := range 5 {
		d, err := ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "k", Cost: 1}, ratelimit.Check{Limiter: b, Key: "k", Cost: 1})
		require(t, err == nil && d.Allowed == (i < 2), "decision %d: %+v, %v", i, d, err)
		if !d.Allowed {
			require(t, d.Binding().Policy == "tight", "the policy that denies binds, not %+v", d.Binding())
		}
	}
	r := must2(t)(a.Peek(background, "k"))
	require(t, r.Remaining == 8, "denied decisions used %d of the policy that would have allowed", 8-r.Remaining)

	d, err := ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "x", Cost: 4}, ratelimit.Check{Limiter: b, Key: "y", Cost: 2})
	require(t, err == nil && d.Allowed, "two subjects: %+v, %v", d, err)
	for range 2 {
		require(t, d.Cancel(background) == nil, "Cancel failed")
	}
	require(t, s.left(t, a, "x", 10) == 10 && s.left(t, b, "y", 2) == 2, "Cancel did not give all back")

	d, err = ratelimit.Decide(background, ratelimit.Check{Limiter: b, Key: "y", Cost: 2}, ratelimit.Check{Limiter: b, Key: "k", Cost: 1})
	require(t, err == nil && !d.Allowed, "one limiter, one exhausted key: %+v, %v", d, err)
	require(t, s.left(t, b, "y", 2) == 2, "a denied decision over two keys used one")

	_, err = ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "z", Cost: 1}, ratelimit.Check{Limiter: a, Key: "z", Cost: 1})
	require(t, errors.Is(err, ratelimit.ErrDuplicateCheck), "one key twice: %v", err)
	_, err = ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "z", Cost: 1}, ratelimit.Check{Limiter: b, Key: "", Cost: 1})
	require(t, errors.Is(err, ratelimit.ErrEmptyKey), "an empty key: %v", err)
	require(t, s.left(t, a, "z", 10) == 10, "a decision that failed used something")
}

func checkShadowed(t testing.TB, s *Suite) {
	p := s.lasting("watching", 2)
	p.Shadow = true
	l := s.make(t, p)
	for i := range 4 {
		r := must2(t)(l.Allow(background, "k"))
		require(t, r.Allowed && r.Shadowed == (i >= 2), "use %d of 2: %+v", i+1, r)
	}
	for _, key := range []string{"k", "unused"} {
		r := must2(t)(l.AllowN(background, key, 3))
		require(t, r.Allowed && r.Shadowed && r.RetryAfter == 0, "cost 3 of 2: %+v", r)
		a, err := ratelimit.Admit(background, ratelimit.Check{Limiter: l.Limiter, Key: key, Cost: 3, Within: time.Minute})
		require(t, err == nil && a.Decision().Allowed, "cost 3 of 2 that may wait: %+v, %v", a.Decision(), err)
	}
	for _, within := range []time.Duration{time.Minute, 24 * time.Hour} {
		d, err := ratelimit.Decide(background, ratelimit.Check{Limiter: l.Limiter, Key: "k", Cost: 1, Within: within})
		require(t, err == nil && d.Allowed && d.Results[0].Shadowed && d.Results[0].Delay == 0, "a use that may wait for %v: %+v, %v", within, d, err)
	}
}

// checkLimit0: a LimitFunc that returns 0 blocks a key, whatever the question.
func checkLimit0(t testing.TB, s *Suite) {
	var limit atomic.Int64
	p := s.lasting("limit-0", 5)
	l := subject{s.New(t, p, &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return int(limit.Load()), true }})}
	questions := map[string]ratelimit.Check{
		"a look": {}, "a use": {Cost: 1}, "more than the policy's limit": {Cost: 9}, "debt": {Cost: 5, Debt: true}, "debt above the limit": {Cost: 50, Debt: true},
		"a wait": {Cost: 1, Within: time.Hour}, "in flight": {Cost: 1, FailuresOnly: true},
	}
	for _, used := range []string{"unused ", "used "} {
		for name, q := range questions {
			q.Key = used + name
			limit.Store(5)
			var old *ratelimit.Reservation
			if used == "used " {
				r, err := l.Reserve(background, q.Key, 2)
				require(t, err == nil && r.Result().Allowed, "Reserve: %v", err)
				old = r
			}
			limit.Store(0)
			r, err := l.reserve(background, q)
			res := r.Result()
			require(t, err == nil && !res.Allowed && res.Remaining == 0 && res.RetryAfter == ratelimit.Never, "%s: %+v, %v", q.Key, res, err)
			require(t, r.Settle(background, 3) == nil && r.Cancel(background) == nil, "%s: Settle failed", q.Key)
			if old != nil {
				require(t, old.Settle(background, 4) == nil, "%s: Settle of an earlier reservation failed", q.Key)
			}
			_, err = l.Wait(background, q.Key, 1)
			require(t, errors.Is(err, ratelimit.ErrCostExceedsLimit) || errors.Is(err, ratelimit.ErrWouldExceedDeadline), "%s: Wait: %v", q.Key, err)
			limit.Store(5)
			want := 5
			if old != nil {
				want = 1
			}
			got := s.left(t, l, q.Key, want)
			require(t, got == want, "%s: %d left under a limit of 5, want %d", q.Key, got, want)
		}
	}
	limit.Store(0)
	require(t, l.Block(background, "blocked", time.Hour) == nil && l.Reset(background, "blocked") == nil, "Block or Reset failed")
}

func checkMistakes(t testing.TB, s *Suite) {
	l := s.make(t, s.lasting("mistakes", 5))
	_, err := l.Allow(background, "")
	require(t, errors.Is(err, ratelimit.ErrEmptyKey), "an empty key: %v", err)
	_, err = l.Peek(background, "")
	require(t, errors.Is(err, ratelimit.ErrEmptyKey), "peek at an empty key: %v", err)
	require(t, errors.Is(l.Reset(background, ""), ratelimit.ErrEmptyKey), "reset of an empty key")
	_, err = l.AllowN(background, "k", -1)
	require(t, errors.Is(err, ratelimit.ErrInvalidCost), "a negative cost: %v", err)
	_, err = l.Reserve(background, "k", -1)
	require(t, errors.Is(err, ratelimit.ErrInvalidCost), "a negative reservation: %v", err)
	ended, cancel := context.WithCancel(background)
	cancel()
	_, err = l.Allow(ended, "k")
	require(t, errors.Is(err, context.Canceled), "an ended context: %v", err)
	r := must2(t)(l.Peek(background, "k"))
	require(t, r.Remaining == 5, "mistakes used the limit: %+v", r)
}
