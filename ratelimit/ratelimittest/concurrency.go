package ratelimittest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// ConcurrencySuite describes an implementation of ratelimit.ConcurrencyLimiter.
type ConcurrencySuite struct {
	// New returns a limiter for the policy none of whose slots is in use. Required.
	New func(t testing.TB, p ratelimit.ConcurrencyPolicy) ratelimit.ConcurrencyLimiter
}

// Run runs all checks as subtests of t.
func (s ConcurrencySuite) Run(t *testing.T) {
	for _, c := range concurrencyChecks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, &s)
		})
	}
}

type concurrencyCheck struct {
	name string
	run  func(t testing.TB, s *ConcurrencySuite)
}

func concurrencyChecks() []concurrencyCheck {
	return []concurrencyCheck{
		{"NeverMoreThanTheLimitInFlight", checkInFlight},
		{"EverySlotServes", checkSlots},
		{"ReleaseFreesOnce", checkRelease},
		{"RefusalsHoldNothing", checkRefusals},
		{"KeysAreApart", checkSlotKeys},
		{"HeldTellsTheTruth", checkHeld},
		{"TokensGrow", checkTokens},
		{"ShadowRefusesNobody", checkShadow},
		{"MistakesAreErrors", checkSlotMistakes},
	}
}

func (s *ConcurrencySuite) limiter(t testing.TB, limit int) ratelimit.ConcurrencyLimiter {
	return s.New(t, ratelimit.ConcurrencyPolicy{Name: "flights", Limit: limit})
}

func acquire(t testing.TB, l ratelimit.ConcurrencyLimiter, key string) *ratelimit.Slot {
	t.Helper()
	slot, err := l.Acquire(background, key)
	return must(t, slot, err)
}

func release(t testing.TB, slot *ratelimit.Slot) {
	t.Helper()
	require(t, slot.Release() == nil, "Release failed")
}

// fill takes slots until it is refused, and returns those that it got.
func fill(t testing.TB, l ratelimit.ConcurrencyLimiter, key string) (slots []*ratelimit.Slot) {
	t.Helper()
	for len(slots) < 100 {
		slot := acquire(t, l, key)
		if !slot.Result().Allowed {
			return slots
		}
		slots = append(slots, slot)
	}
	t.Fatalf("%d slots and no refusal", len(slots))
	return nil
}

func checkInFlight(t testing.TB, s *ConcurrencySuite) {
	const limit = 3
	l := s.limiter(t, limit)
	var inFlight, most, served atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				slot, err := l.Acquire(background, "k")
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				if slot.Result().Allowed {
					served.Add(1)
					n := inFlight.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					for range 3 {
						runtime.Gosched()
					}
					inFlight.Add(-1)
				}
				if err := slot.Release(); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	wg.Wait()
	require(t, most.Load() <= limit, "%d in flight, where the limit is %d", most.Load(), limit)
	require(t, served.Load() >= limit, "only %d served", served.Load())
	got := len(fill(t, l, "k"))
	require(t, got == limit, "%d slots of %d are left when all have been released", got, limit)
}

func checkSlots(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 3)
	for i := range 3 {
		r := acquire(t, l, "k").Result()
		require(t, r.Allowed && r.Remaining == 2-i && r.Limit == 3 && r.Cost == 1 && r.Policy == "flights" && r.RetryAfter == 0, "slot %d: %+v", i, r)
	}
	r := acquire(t, l, "k").Result()
	require(t, !r.Allowed && r.Remaining == 0 && r.RetryAfter > 0, "beyond the limit: %+v", r)
}

func checkRelease(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 4)
	slots := fill(t, l, "k")
	require(t, len(slots) == 4, "%d slots of 4", len(slots))
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := slots[0].Release(); err != nil {
				t.Errorf("Release: %v", err)
			}
		})
	}
	wg.Wait()
	again := fill(t, l, "k")
	require(t, len(again) == 1, "%d free after one was released five times", len(again))
	release(t, slots[0])
	require(t, len(fill(t, l, "k")) == 0, "releasing a slot again freed another's")
	for _, slot := range append(slots, again...) {
		release(t, slot)
	}
	require(t, len(fill(t, l, "k")) == 4, "not all are free after all have been released")
}

func checkRefusals(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 2)
	slots := fill(t, l, "k")
	for range 20 {
		refused := acquire(t, l, "k")
		require(t, !refused.Result().Allowed, "let in beyond the limit")
		release(t, refused)
	}
	require(t, len(fill(t, l, "k")) == 0, "releasing a refusal freed another's slot")
	for _, slot := range slots {
		release(t, slot)
	}
	require(t, len(fill(t, l, "k")) == 2, "refusals hold slots")
}

func checkSlotKeys(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 1)
	for _, k := range []string{"a", "b", "a:b", "{a}", "a}:flights", "a b", "a\r\nDEL x", "\x00", "\xff\xfe", "*", "%s", "last"} {
		require(t, len(fill(t, l, k)) == 1, "key %q shares its slots with another", k)
	}
}

func checkHeld(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 1)
	slot := acquire(t, l, "k")
	ctx, cancel := slot.Context(background)
	defer cancel()
	require(t, slot.Held() && ctx.Err() == nil, "not held right after Acquire")
	refused := acquire(t, l, "k")
	require(t, !refused.Held(), "a refusal is held")
	parent, end := context.WithCancel(background)
	child, cancelChild := slot.Context(parent)
	defer cancelChild()
	end()
	<-child.Done()
	require(t, errors.Is(context.Cause(child), context.Canceled), "the parent's end looks like %v", context.Cause(child))
	release(t, slot)
	require(t, !slot.Held(), "held after Release")
	after, cancelAfter := slot.Context(background)
	defer cancelAfter()
	require(t, ctx.Err() == nil && after.Err() == nil, "a slot that was released counts as lost")
}

func checkTokens(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 2)
	last := int64(0)
	for range 20 {
		slot := acquire(t, l, "k")
		token := slot.Token()
		if token == 0 {
			return // slots that cannot be lost need none
		}
		require(t, token > last, "token %d after %d", token, last)
		last = token
		release(t, slot)
	}
}

func checkShadow(t testing.TB, s *ConcurrencySuite) {
	l := s.New(t, ratelimit.ConcurrencyPolicy{Name: "flights", Limit: 2, Shadow: true})
	for i := range 5 {
		r := acquire(t, l, "k").Result()
		require(t, r.Allowed && r.Shadowed == (i >= 2), "use %d: %+v", i, r)
	}
}

func checkSlotMistakes(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 1)
	slot, err := l.Acquire(background, "")
	require(t, errors.Is(err, ratelimit.ErrEmptyKey) && slot != nil && !slot.Held(), "an empty key: %v", err)
	release(t, slot)
	ended, cancel := context.WithCancel(background)
	cancel()
	slot, err = l.Acquire(ended, "k")
	require(t, errors.Is(err, context.Canceled) && slot != nil && !slot.Held(), "an ended context: %v", err)
	release(t, slot)
	require(t, len(fill(t, l, "k")) == 1, "mistakes hold slots")
}
