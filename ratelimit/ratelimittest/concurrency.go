package ratelimittest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// ConcurrencySuite describes an implementation of concurrency.Limiter.
type ConcurrencySuite struct {
	// New returns a limiter for the policy, with all slots free. Required.
	New func(t testing.TB, p concurrency.Policy) concurrency.Limiter
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
		{"WeightsAddUp", checkWeights},
		{"WaitersGetWhatIsReleased", checkSlotWait},
		{"ReleaseFreesOnce", checkRelease},
		{"RefusalsHoldNothing", checkRefusals},
		{"KeysAreApart", checkSlotKeys},
		{"HeldTellsTheTruth", checkHeld},
		{"TokensGrow", checkTokens},
		{"ShadowRefusesNobody", checkShadow},
		{"MistakesAreErrors", checkSlotMistakes},
	}
}

func (s *ConcurrencySuite) limiter(t testing.TB, limit int) concurrency.Limiter {
	return s.New(t, concurrency.Policy{Name: "flights", Limit: limit})
}

func acquire(t testing.TB, l concurrency.Limiter, key string) *concurrency.Slot {
	t.Helper()
	slot, err := l.Acquire(background, key, 1)
	return must(t, slot, err)
}

func release(t testing.TB, slot *concurrency.Slot) {
	t.Helper()
	require(t, slot.Release() == nil, "Release failed")
}

// fill takes slots until it is refused, and returns those that it got.
func fill(t testing.TB, l concurrency.Limiter, key string) (slots []*concurrency.Slot) {
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
				slot, err := l.Acquire(background, "k", 1)
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
			return // slots that cannot be lost need no token
		}
		require(t, token > last, "token %d after %d", token, last)
		last = token
		release(t, slot)
	}
}

func checkShadow(t testing.TB, s *ConcurrencySuite) {
	l := s.New(t, concurrency.Policy{Name: "flights", Limit: 2, Shadow: true})
	for i := range 5 {
		r := acquire(t, l, "k").Result()
		require(t, r.Allowed && r.Shadowed == (i >= 2), "use %d: %+v", i, r)
	}
	slot, err := l.Acquire(background, "unused", 3)
	r := must(t, slot, err).Result()
	require(t, r.Allowed && r.Shadowed && r.RetryAfter == 0, "weight 3 of 2: %+v", r)
}

func checkSlotMistakes(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 1)
	slot, err := l.Acquire(background, "", 1)
	require(t, errors.Is(err, ratelimit.ErrEmptyKey) && slot != nil && !slot.Held(), "an empty key: %v", err)
	release(t, slot)
	ended, cancel := context.WithCancel(background)
	cancel()
	slot, err = l.Acquire(ended, "k", 1)
	require(t, errors.Is(err, context.Canceled) && slot != nil && !slot.Held(), "an ended context: %v", err)
	release(t, slot)
	require(t, len(fill(t, l, "k")) == 1, "mistakes hold slots")
}

func checkWeights(t testing.TB, s *ConcurrencySuite) {
	l := s.limiter(t, 5)
	three, err := l.Acquire(background, "k", 3)
	require(t, err == nil && three.Result().Allowed && three.Result().Remaining == 2, "3 of 5: %+v, %v", three.Result(), err)
	refused, err := l.Acquire(background, "k", 3)
	require(t, err == nil && !refused.Result().Allowed, "3 of 2: %+v, %v", refused.Result(), err)
	two, err := l.Acquire(background, "k", 2)
	require(t, err == nil && two.Result().Allowed && two.Result().Remaining == 0, "2 of 2: %+v, %v", two.Result(), err)
	release(t, three)
	require(t, len(fill(t, l, "k")) == 3, "releasing a weight of 3 does not free 3")
	_, err = l.Acquire(background, "k", 6)
	require(t, errors.Is(err, ratelimit.ErrCostExceedsLimit), "6 of 5: %v", err)
	_, err = l.Acquire(background, "k", 0)
	require(t, errors.Is(err, ratelimit.ErrInvalidCost), "a weight of 0: %v", err)
}

func checkSlotWait(t testing.TB, s *ConcurrencySuite) {
	l := s.New(t, concurrency.Policy{Name: "flights", Limit: 2, Wait: 10 * time.Second})
	var inFlight, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			slot, err := l.Acquire(background, "k", 1+i%2)
			if err != nil || !slot.Result().Allowed {
				t.Errorf("a waiter is refused: %+v, %v", slot.Result(), err)
				return
			}
			n := inFlight.Add(int64(1 + i%2))
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(2 * time.Millisecond)
			inFlight.Add(-int64(1 + i%2))
			if err := slot.Release(); err != nil {
				t.Errorf("Release: %v", err)
			}
		})
	}
	wg.Wait()
	require(t, most.Load() <= 2, "%d in flight, where the limit is 2", most.Load())
	ended, cancel := context.WithCancel(background)
	held := acquire(t, l, "k")
	more := acquire(t, l, "k")
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := l.Acquire(ended, "k", 1)
	require(t, errors.Is(err, context.Canceled), "a waiter that leaves: %v", err)
	release(t, held)
	release(t, more)
	require(t, acquire(t, l, "k").Result().Allowed, "a waiter that left holds a slot")
}
