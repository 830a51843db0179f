package ratelimittest

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

func newConcurrency(t testing.TB, p concurrency.Policy) concurrency.Limiter {
	l, err := concurrency.New(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConcurrencyInMemory(t *testing.T) {
	t.Parallel()
	ConcurrencySuite{New: newConcurrency}.Run(t)
}

// brokenSlots is a limiter with one fault, over one that is right.
type brokenSlots struct {
	concurrency.Limiter
	fault string

	mu     sync.Mutex
	taken  int
	tokens int64
}

type brokenLease struct {
	release func() error
	held    bool
	lost    context.Context
	token   int64
}

func (l *brokenLease) Release() error        { return l.release() }
func (l *brokenLease) Held() bool            { return l.held }
func (l *brokenLease) Lost() context.Context { return l.lost }
func (l *brokenLease) Token() int64          { return l.token }

func (b *brokenSlots) Acquire(ctx context.Context, key string, weight int) (*concurrency.Slot, error) {
	switch b.fault {
	case "shares keys":
		if key != "" {
			key = "all"
		}
	case "accepts empty keys":
		key += "."
	case "ignores the context":
		ctx = context.Background()
	case "check, then act":
		b.mu.Lock()
		free := b.taken < 3
		b.mu.Unlock()
		runtime.Gosched()
		if !free {
			return concurrency.NewSlot(ratelimit.Result{}, nil), nil
		}
		b.mu.Lock()
		b.taken++
		b.mu.Unlock()
		return concurrency.NewSlot(ratelimit.Result{Allowed: true}, &brokenLease{held: true, lost: context.Background(), release: func() error {
			b.mu.Lock()
			b.taken--
			b.mu.Unlock()
			return nil
		}}), nil
	}
	if b.fault == "weighs nothing" {
		return b.Limiter.Acquire(ctx, key, min(weight, 1))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, err := b.Limiter.Acquire(ctx, key, weight)
	if err != nil {
		return slot, err
	}
	lease := &brokenLease{held: true, lost: context.Background(), release: slot.Release}
	b.tokens++
	lease.token = b.tokens
	switch b.fault {
	case "release does nothing":
		lease.release = func() error { return nil }
	case "release ends the context":
		lost, lose := context.WithCancel(context.Background())
		lease.lost = lost
		lease.release = func() error {
			lose()
			return slot.Release()
		}
	case "a refusal frees a slot":
		if !slot.Result().Allowed {
			return concurrency.NewSlot(slot.Result(), &brokenLease{lost: context.Background(), release: b.freeAll}), nil
		}
	case "never held":
		lease.held = false
	case "tokens stand still":
		lease.token = 1
	case "shadow refuses":
		r := slot.Result()
		r.Allowed = r.Allowed && !r.Shadowed
		return concurrency.NewSlot(r, lease), nil
	default:
		return slot, nil
	}
	return concurrency.NewSlot(slot.Result(), lease), nil
}

func (b *brokenSlots) freeAll() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Limiter, err = concurrency.New(concurrency.Policy{Name: "flights", Limit: 2}, nil)
	return err
}

func TestConcurrencySuiteFindsFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"shares keys", "accepts empty keys", "ignores the context", "check, then act", "release does nothing",
		"release ends the context", "a refusal frees a slot", "never held", "tokens stand still", "shadow refuses",
		"weighs nothing",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := &ConcurrencySuite{New: func(t testing.TB, p concurrency.Policy) concurrency.Limiter {
				return &brokenSlots{Limiter: newConcurrency(t, p), fault: fault}
			}}
			var found []string
			for _, c := range concurrencyChecks() {
				if c.name == "WaitersGetWhatIsReleased" && fault != "weighs nothing" {
					continue // it waits for what a fault may never release
				}
				r := &recorder{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.run(r, s)
				}()
				<-done
				if r.failed {
					found = append(found, c.name)
				}
			}
			if len(found) == 0 {
				t.Fatal("no check fails")
			}
			t.Log("found by", found)
		})
	}
}
