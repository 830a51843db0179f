package ratelimittest

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// checkTurns: waiters are served in the order of their coming, with one decision each, and
// no faster than the limit.
func checkTurns(t testing.TB, s *Suite) {
	p := s.policy("turns", 4)
	l := s.make(t, p)
	require(t, burst(t, l, "k", 4) == 4, "not the limit")
	const waiters = 12
	start := time.Now()
	var earliest, latest []time.Duration // of each turn, since start
	for range waiters {
		asked := time.Since(start)
		r, err := l.reserve(background, ratelimit.Check{Key: "k", Cost: 1, Within: 10 * p.Window})
		require(t, err == nil && r.Result().Allowed, "a waiter is refused: %+v, %v", r.Result(), err)
		delay := r.Result().Delay
		earliest, latest = append(earliest, asked+delay), append(latest, time.Since(start)+delay)
		require(t, delay <= 4*p.Window, "12 waiters on 4 in a window of %v take %v", p.Window, delay)
	}
	for i := 1; i < waiters; i++ {
		require(t, latest[i]+s.Late >= earliest[i-1], "waiter %d comes before the one in front of it: %v, %v", i, earliest, latest)
	}
	if last := latest[waiters-1]; s.Algorithm != ratelimit.GCRA {
		require(t, last > 2*p.Window-p.Window/2, "12 waiters on 4 in a window of %v come within %v", p.Window, last)
	}
	require(t, !must2(t)(l.Allow(background, "k")).Allowed, "a caller that does not wait overtakes")
}

func checkHopeless(t testing.TB, s *Suite) {
	p := s.lasting("hopeless", 2)
	l := s.make(t, p)
	require(t, burst(t, l, "k", 2) == 2, "not the limit")
	ctx, cancel := context.WithTimeout(background, p.Window/100)
	defer cancel()
	start := time.Now()
	for range 20 {
		_, err := l.Wait(ctx, "k", 1)
		require(t, errors.Is(err, ratelimit.ErrWouldExceedDeadline), "a hopeless wait: %v", err)
	}
	require(t, time.Since(start) < p.Window/100, "hopeless waiters waited for %v", time.Since(start))
}

func checkDebt(t testing.TB, s *Suite) {
	p := s.policy("debt", 10)
	l := s.make(t, p)
	start := time.Now()
	r, err := l.reserve(background, ratelimit.Check{Key: "k", Cost: 35, Debt: true})
	require(t, err == nil && r.Result().Allowed && r.Result().Remaining == 0, "debt: %+v, %v", r.Result(), err)
	denied := must2(t)(l.Allow(background, "k"))
	require(t, !denied.Allowed, "let in while in debt")
	over := time.Since(start) + denied.RetryAfter
	require(t, over > p.Window, "a debt of two and a half limits is over after %v", over)
	s.Sleep(denied.RetryAfter + s.Late)
	require(t, must2(t)(l.Allow(background, "k")).Allowed, "denied after waiting as told")
}

func checkSettle(t testing.TB, s *Suite) {
	p := s.lasting("settle", 100)
	l := s.make(t, p)
	r, err := l.Reserve(background, "k", 30)
	require(t, err == nil && r.Result().Allowed, "Reserve: %v", err)
	require(t, r.Settle(background, 10) == nil, "Settle failed")
	require(t, r.Settle(background, 0) == nil, "a second Settle failed")
	require(t, s.left(t, l, "k", 90) == 90, "after settling 30 for 10: %d left", s.left(t, l, "k", 90))
	r, err = l.Reserve(background, "k", 1)
	require(t, err == nil && r.Settle(background, 41) == nil, "Settle: %v", err)
	require(t, s.left(t, l, "k", 49) == 49, "after settling 1 for 41: %d left", s.left(t, l, "k", 49))
	r, err = l.Reserve(background, "k", 1)
	require(t, err == nil && errors.Is(r.Settle(background, -1), ratelimit.ErrInvalidCost), "a negative cost")
	require(t, r.Settle(background, 1) == nil, "Settle of the same cost")
	require(t, s.left(t, l, "k", 48) == 48, "settling the same cost changed it")
}

// checkCharge: each Charge sets the cost of the request.
func checkCharge(t testing.TB, s *Suite) {
	l := s.make(t, s.lasting("charge", 100))
	for key, totals := range map[string][]int{"rises": {11, 30, 70}, "falls": {6, 3, 0}, "falls and rises": {4, 8, 20}, "stays": {10, 10}} {
		a, err := ratelimit.Admit(background, ratelimit.Check{Limiter: l.Limiter, Key: key, Cost: 10})
		require(t, err == nil && a.Decision().Allowed, "Admit: %v", err)
		for _, total := range totals {
			require(t, a.Charge(total) == nil, "Charge failed")
			got := s.left(t, l, key, 100-total)
			require(t, got == 100-total, "%s: after a charge of %d: %d left, want %d", key, total, got, 100-total)
		}
		a.End()
		require(t, s.left(t, l, key, 100-totals[len(totals)-1]) == 100-totals[len(totals)-1], "%s: End changed the cost", key)
	}

	l = s.make(t, s.lasting("charge-back", 100))
	used := burst(t, l, "k", 50)
	a, err := ratelimit.Admit(background, ratelimit.Check{Limiter: l.Limiter, Key: "k", Cost: 1})
	require(t, err == nil && a.Decision().Allowed, "Admit: %v", err)
	for _, step := range [][2]int{{40, 40}, {20, 39}, {40, 40}, {1, 40}} { // the total, and what can be
		require(t, a.Charge(step[0]) == nil, "Charge failed")
		got, want := s.left(t, l, "k", 50-step[1]), 50-step[1]
		require(t, got == want, "after 50 uses and a charge of %d: %d left, want %d", step[0], got, want)
	}
	require(t, a.Charge(500) == nil && a.Charge(1) == nil, "Charge failed")
	got := used + burst(t, l, "k", 100)
	require(t, got <= 60, "%d of 100 are let in beside 40 charged units, after a charge of 500 that was lowered again", got)
}

// checkChargeOf0: a reservation of no units uses none, and can be settled for some.
func checkChargeOf0(t testing.TB, s *Suite) {
	l := s.make(t, s.lasting("charge-0", 100))
	r, err := l.Reserve(background, "k", 0)
	require(t, err == nil && r.Result().Allowed && r.Result().Remaining == 100, "Reserve: %+v, %v", r.Result(), err)
	require(t, r.Settle(background, 30) == nil && r.Settle(background, 0) == nil, "Settle failed")
	got := s.left(t, l, "k", 70)
	require(t, got == 70, "after settling 0 for 30: %d left", got)
	r, err = l.Reserve(background, "k", 0)
	require(t, err == nil && r.Cancel(background) == nil, "Cancel: %v", err)
	require(t, s.left(t, l, "k", 70) == 70, "canceling a reservation of 0 changed something")
	a, err := ratelimit.Admit(background, ratelimit.Check{Limiter: l.Limiter, Key: "k"})
	require(t, err == nil && a.Charge(60) == nil && a.Charge(200) == nil, "Charge: %v", err)
	require(t, !must2(t)(l.Allow(background, "k")).Allowed, "let in while in debt")
	r, err = l.Reserve(background, "k", 0)
	require(t, err == nil && !r.Result().Allowed, "Reserve of 0 units in debt: %+v, %v", r.Result(), err)
}

func checkResetThenCancel(t testing.TB, s *Suite) {
	p := s.lasting("reset-cancel", 5)
	l := s.make(t, p)
	old, err := l.Reserve(background, "k", 5)
	require(t, err == nil && old.Result().Allowed, "Reserve: %v", err)
	s.Sleep(s.Window / 2) // a cancellation may look as much later as it was under way
	require(t, l.Reset(background, "k") == nil, "Reset failed")
	require(t, burst(t, l, "k", 5) == 5, "not the limit after Reset")
	require(t, old.Cancel(background) == nil, "Cancel failed")
	got := burst(t, l, "k", 5)
	require(t, got == 0, "a reservation from before the reset gave back %d units of others", got)
}

func checkBlock(t testing.TB, s *Suite) {
	p := s.lasting("block", 5)
	l := s.make(t, p)
	require(t, burst(t, l, "k", 2) == 2, "not the limit")
	require(t, l.Block(background, "k", 3*p.Window) == nil, "Block failed")
	for range 3 {
		r := must2(t)(l.Allow(background, "k"))
		require(t, !r.Allowed && r.Remaining == 0 && r.RetryAfter > p.Window, "a blocked key: %+v", r)
	}
	require(t, must2(t)(l.Allow(background, "other")).Allowed, "another key is blocked")
	require(t, l.Block(background, "k", 0) == nil, "unlocking failed")
	require(t, burst(t, l, "k", 6) == 5, "not the limit after the key is unlocked")

	p = s.policy("block-soon", 5)
	l = s.make(t, p)
	s.drain(t, l, "k", 1)
	start, wait := time.Now(), p.Window/4
	require(t, l.Block(background, "k", wait) == nil, "Block failed")
	r := must2(t)(l.Allow(background, "k"))
	if r.Allowed { // a machine that stops for as long as the block finds its end
		require(t, time.Since(start)+s.Late >= wait, "let in during a block: %+v", r)
		return
	}
	require(t, r.RetryAfter <= wait+s.Late, "a short block: %+v", r)
	s.Sleep(r.RetryAfter + s.Late)
	require(t, must2(t)(l.Allow(background, "k")).Allowed, "denied after the block")
}

// checkCountDenied: a denial that counts replaces earlier uses only, and neither a block nor debt
// nor the units of a waiter.
func checkCountDenied(t testing.TB, s *Suite) {
	if s.Algorithm != ratelimit.Exact {
		return
	}
	p := s.policy("count-denied", 5)
	p.CountDenied = true
	l := s.make(t, p)
	denied := func(l subject, key string, cost int) ratelimit.Result {
		t.Helper()
		r := must2(t)(l.AllowN(background, key, cost))
		require(t, !r.Allowed && !r.Degraded, "%s: a cost of %d is allowed: %+v", key, cost, r)
		return r
	}
	require(t, l.Block(background, "blocked", 24*time.Hour) == nil, "Block failed")
	must(t, 0, errOfReserve(l.reserve(background, ratelimit.Check{Key: "in debt", Cost: 250, Debt: true})))
	for range 3 {
		r := denied(l, "blocked", 5)
		require(t, r.RetryAfter > 20*time.Hour, "a key that is blocked for a day: %+v", r)
		r = denied(l, "in debt", 5)
		require(t, r.RetryAfter > 10*p.Window, "a key in debt of 50 limits: %+v", r)
		s.Sleep(p.Window + s.Late)
	}

	p = s.lasting("count-denied-long", 5)
	p.CountDenied = true
	l = s.make(t, p)
	require(t, l.Block(background, "blocked", p.Window/2) == nil, "Block failed")
	for _, cost := range []int{1, 5, 3} {
		r := denied(l, "blocked", cost)
		require(t, r.RetryAfter <= p.Window/2+s.Late, "a block of half a window: %+v", r)
	}
	require(t, burst(t, l, "waiters", 5) == 5, "not the limit")
	for i := range 3 {
		r, err := l.reserve(background, ratelimit.Check{Key: "waiters", Cost: 5, Within: 10 * p.Window})
		turn := time.Duration(i+1) * p.Window
		require(t, err == nil && r.Result().Allowed && r.Result().Delay > turn-p.Window/2, "waiter %d: %+v, %v", i, r.Result(), err)
		for _, cost := range []int{1, 5, 3} {
			denied(l, "waiters", cost)
		}
	}
	require(t, burst(t, l, "uses", 4) == 4, "not the limit")
	for range 3 {
		r := denied(l, "uses", 3)
		require(t, r.Remaining == 0, "a denied cost of 3 of 5 counts: %+v", r)
	}
}

func errOfReserve(_ *ratelimit.Reservation, err error) error { return err }

func checkFlight(t testing.TB, s *Suite) {
	if s.Algorithm == ratelimit.GCRA && !s.Virtual {
		return // redis_rate keeps one number, without units in flight
	}
	p := s.lasting("flight", 3)
	l := s.make(t, p)
	var flying []*ratelimit.Reservation
	for range 3 {
		r, err := l.reserve(background, ratelimit.Check{Key: "k", Cost: 1, FailuresOnly: true})
		require(t, err == nil && r.Result().Allowed, "Reserve: %v", err)
		flying = append(flying, r)
	}
	r, err := l.reserve(background, ratelimit.Check{Key: "k", Cost: 1, FailuresOnly: true})
	res := r.Result()
	require(t, err == nil && !res.Allowed && res.InFlight == 3 && res.RetryAfter <= 5*time.Second, "a refusal by units in flight: %+v, %v", res, err)
	require(t, flying[0].Settle(background, 0) == nil, "Settle failed")
	r, err = l.reserve(background, ratelimit.Check{Key: "k", Cost: 1, FailuresOnly: true})
	require(t, err == nil && r.Result().Allowed, "what came back is denied: %+v", r.Result())
	for _, f := range append(flying[1:], r) {
		require(t, f.Settle(background, 1) == nil, "Settle failed")
	}
	r, err = l.reserve(background, ratelimit.Check{Key: "k", Cost: 1, FailuresOnly: true})
	res = r.Result()
	require(t, err == nil && !res.Allowed && res.InFlight == 0 && res.RetryAfter > 5*time.Second, "a refusal by failures: %+v, %v", res, err)
	if !s.Virtual {
		return
	}
	// What is never settled is a failure after a minute or two. What is settled then still gives its units back.
	var late *ratelimit.Reservation
	for range 3 {
		late, err = l.reserve(background, ratelimit.Check{Key: "late", Cost: 1, FailuresOnly: true})
		require(t, err == nil && late.Result().Allowed, "Reserve: %v", err)
	}
	for _, want := range []int{3, 3, 0} {
		r, err = l.reserve(background, ratelimit.Check{Key: "late", Cost: 1, FailuresOnly: true})
		require(t, err == nil && !r.Result().Allowed && r.Result().InFlight == want, "%d in flight are wanted: %+v, %v", want, r.Result(), err)
		time.Sleep(time.Minute)
		if want == 0 {
			require(t, late.Settle(background, 0) == nil, "Settle failed")
		}
	}
	r, err = l.reserve(background, ratelimit.Check{Key: "late", Cost: 1, FailuresOnly: true})
	require(t, err == nil && r.Result().Allowed, "what came back late is denied: %+v, %v", r.Result(), err)
	r, err = l.reserve(background, ratelimit.Check{Key: "late", Cost: 1, FailuresOnly: true})
	require(t, err == nil && !r.Result().Allowed && r.Result().InFlight == 1, "one in flight is wanted: %+v, %v", r.Result(), err)
}

// A charge of any size leaves a used-up key used up.
func checkHugeDebt(t testing.TB, s *Suite) {
	l := s.make(t, s.lasting("huge", 5))
	for i, cost := range []int{1000, 20_000_000, math.MaxInt32, math.MaxInt / 4096, math.MaxInt} {
		charged, settled := "charged"+strconv.Itoa(i), "settled"+strconv.Itoa(i)
		require(t, burst(t, l, charged, 5) == 5, "not the limit")
		_, err := l.reserve(background, ratelimit.Check{Key: charged, Cost: cost, Debt: true})
		require(t, err == nil, "a charge of %d: %v", cost, err)
		got := burst(t, l, charged, 10)
		require(t, got == 0, "a charge of %d freed %d units", cost, got)
		res, err := l.Reserve(background, settled, 1)
		require(t, err == nil && res.Settle(background, cost) == nil, "settling for %d failed: %v", cost, err)
		got = burst(t, l, settled, 10)
		require(t, got == 0, "%d units are free after a cost of %d of 5", got, cost)
	}
}
