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
		{"ResetForgets", checkReset},
		{"KeysAreApart", checkKeys},
		{"ParallelCallersGetTheLimit", checkParallel},
		{"WaitWaits", checkWait},
		{"DecideTakesAllOrNothing", checkDecide},
		{"MistakesAreErrors", checkMistakes},
	}
}

var background = context.Background()

func checkAdversary(t testing.TB, s *Suite) {
	limits := []int{5, 30, 100, 200}
	if !s.Virtual {
		limits = []int{20}
	}
	for _, limit := range limits {
		p := s.policy("adversary", limit)
		list := Adversary{Limiter: s.New(t, p), Policy: p, Key: "user:mallory", Sleep: s.Sleep}.Attack(t)
		most := MostInAnyWindow(list, p.Window)
		require(t, most <= s.Bound(p), "%d let through in one window, where the bound is %d", most, s.Bound(p))
		require(t, len(list) >= 2*limit, "only %d let through in several windows of %d", len(list), limit)
	}
}

func burst(t testing.TB, l ratelimit.Limiter, key string, n int) (allowed int) {
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

func checkWellBehaved(t testing.TB, s *Suite) {
	p := s.policy("polite", 20)
	l := s.New(t, p)
	for round := range 3 {
		got := burst(t, l, "user:polite", p.Limit)
		require(t, got == p.Limit, "burst %d: %d of %d served a whole window after the last", round, got, p.Limit)
		s.Sleep(p.Window + s.Late)
	}
}

func checkRetryAfter(t testing.TB, s *Suite) {
	p := s.policy("retry", 4)
	l := s.New(t, p)
	start := time.Now()
	for range p.Limit {
		require(t, must2(t)(l.Allow(background, "k")).Allowed, "denied within the limit")
		s.Sleep(p.Window / 50)
	}
	for _, cost := range []int{1, 3} {
		r := must2(t)(l.AllowN(background, "k", cost))
		if s.stalled(t, start) {
			return
		}
		require(t, !r.Allowed, "allowed beyond the limit")
		require(t, r.RetryAfter > 0 && r.RetryAfter <= p.Window+s.Late, "RetryAfter %v in a window of %v", r.RetryAfter, p.Window)
		require(t, r.NextAfter > 0 && r.NextAfter <= r.RetryAfter, "NextAfter %v is after RetryAfter %v", r.NextAfter, r.RetryAfter)
		require(t, r.ResetAfter >= r.RetryAfter, "ResetAfter %v is before RetryAfter %v", r.ResetAfter, r.RetryAfter)
		s.Sleep(r.RetryAfter + s.Late)
		require(t, must2(t)(l.AllowN(background, "k", cost)).Allowed, "denied after waiting RetryAfter for cost %d", cost)
		start = time.Now()
	}
	r := must2(t)(l.Peek(background, "k"))
	s.Sleep(r.ResetAfter + s.Late)
	r = must2(t)(l.Peek(background, "k"))
	require(t, r.Remaining == p.Limit && r.NextAfter == 0 && r.ResetAfter == 0, "after ResetAfter: %+v", r)
}

func checkDenied(t testing.TB, s *Suite) {
	p := s.policy("denied", 3)
	l := s.New(t, p)
	start := time.Now()
	require(t, burst(t, l, "k", 3) == 3, "denied within the limit")
	first := must2(t)(l.Allow(background, "k"))
	for range 50 {
		r := must2(t)(l.Allow(background, "k"))
		if s.Algorithm != ratelimit.GCRA && s.stalled(t, start) {
			return
		}
		require(t, !r.Allowed && r.Remaining == 0, "beyond the limit: %+v", r)
		require(t, r.RetryAfter <= first.RetryAfter, "a denied try put RetryAfter off from %v to %v", first.RetryAfter, r.RetryAfter)
	}
	s.Sleep(first.RetryAfter + s.Late)
	require(t, must2(t)(l.Allow(background, "k")).Allowed, "denied tries put off the next allowed one")
}

func checkCost(t testing.TB, s *Suite) {
	p := s.lasting("cost", 10)
	l := s.New(t, p)
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
	l := s.New(t, p)
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
	l := s.New(t, p)
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
	r = must2(t)(l.Peek(background, "whole"))
	require(t, r.Remaining == 5, "%d of 5 after cancelling all", r.Remaining)

	short := s.policy("cancel-late", 5)
	l = s.New(t, short)
	old, err := l.Reserve(background, "old", 5)
	require(t, err == nil, "Reserve: %v", err)
	s.Sleep(short.Window + s.Late)
	start := time.Now()
	require(t, must2(t)(l.AllowN(background, "old", 3)).Allowed, "denied a window later")
	require(t, old.Cancel(background) == nil, "a late Cancel failed")
	r = must2(t)(l.Peek(background, "old"))
	if s.Algorithm == ratelimit.GCRA && !s.Virtual {
		return // in real time a unit may have come back
	}
	require(t, r.Remaining == 2 || s.stalled(t, start), "a late Cancel gave back what others use: %d left, want 2", r.Remaining)
}

func checkReset(t testing.TB, s *Suite) {
	p := s.lasting("reset", 2)
	l := s.New(t, p)
	require(t, burst(t, l, "k", 3) == 2, "not the limit")
	require(t, l.Reset(background, "k") == nil, "Reset failed")
	require(t, burst(t, l, "k", 3) == 2, "not the limit after Reset")
	require(t, l.Reset(background, "never seen") == nil, "Reset of an unknown key failed")
}

func checkKeys(t testing.TB, s *Suite) {
	p := s.lasting("keys", 1)
	l := s.New(t, p)
	keys := []string{
		"a", "b", "a:b", "a:b:c", "ip:2001-db8--", "{a}", "a}:keys", "a b", "a\nb", "a\r\nDEL x", "ünïcode", "\x00", "\xff\xfe",
		strings.Repeat("x", 300), strings.Repeat("x", 301), "*", "a*", "~", "%s", "..", "/",
	}
	for _, k := range keys {
		require(t, burst(t, l, k, 2) == 1, "key %q shares its limit with another", k)
	}
}

func checkParallel(t testing.TB, s *Suite) {
	l := s.New(t, s.lasting("parallel", 50))
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

func checkWait(t testing.TB, s *Suite) {
	p := s.policy("wait", 2)
	l := s.New(t, p)
	start := time.Now()
	for range 2 {
		must(t, 0, errOf(l.Wait(background, "k", 1)))
	}
	soon, cancel := context.WithTimeout(background, p.Window/50)
	defer cancel()
	_, err := l.Wait(soon, "k", 2)
	require(t, errors.Is(err, ratelimit.ErrWouldExceedDeadline) || errors.Is(err, context.DeadlineExceeded), "Wait past its deadline: %v", err)
	_, err = l.Wait(background, "k", 3)
	require(t, errors.Is(err, ratelimit.ErrCostExceedsLimit), "Wait for more than the limit: %v", err)
	if s.Virtual {
		must(t, 0, errOf(l.Wait(background, "k", 2)))
		took := time.Since(start)
		require(t, took >= p.Window && took <= p.Window+s.Late+time.Millisecond, "Wait took %v in a window of %v", took, p.Window)
	}
}

func errOf(_ ratelimit.Result, err error) error { return err }

func checkDecide(t testing.TB, s *Suite) {
	loose, tight := s.lasting("loose", 10), s.lasting("tight", 2)
	a, b := s.New(t, loose), s.New(t, tight)
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
	require(t, must2(t)(a.Peek(background, "x")).Remaining == 10 && must2(t)(b.Peek(background, "y")).Remaining == 2, "Cancel did not give all back")

	d, err = ratelimit.Decide(background, ratelimit.Check{Limiter: b, Key: "y", Cost: 2}, ratelimit.Check{Limiter: b, Key: "k", Cost: 1})
	require(t, err == nil && !d.Allowed, "one limiter, one exhausted key: %+v, %v", d, err)
	require(t, must2(t)(b.Peek(background, "y")).Remaining == 2, "a denied decision over two keys used one")

	_, err = ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "z", Cost: 1}, ratelimit.Check{Limiter: a, Key: "z", Cost: 1})
	require(t, errors.Is(err, ratelimit.ErrDuplicateCheck), "one key twice: %v", err)
	_, err = ratelimit.Decide(background, ratelimit.Check{Limiter: a, Key: "z", Cost: 1}, ratelimit.Check{Limiter: b, Key: "", Cost: 1})
	require(t, errors.Is(err, ratelimit.ErrEmptyKey), "an empty key: %v", err)
	require(t, must2(t)(a.Peek(background, "z")).Remaining == 10, "a decision that failed used something")
}

func checkMistakes(t testing.TB, s *Suite) {
	l := s.New(t, s.lasting("mistakes", 5))
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
