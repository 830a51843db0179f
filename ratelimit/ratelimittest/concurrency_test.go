package ratelimittest

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func newConcurrency(t testing.TB, p ratelimit.ConcurrencyPolicy) ratelimit.ConcurrencyLimiter {
	l, err := ratelimit.NewConcurrency(p, nil)
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
	ratelimit.ConcurrencyLimiter
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

func (b *brokenSlots) Acquire(ctx context.Context, key string) (*ratelimit.Slot, error) {
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
			return ratelimit.NewSlot(ratelimit.Result{}, nil), nil
		}
		b.mu.Lock()
		b.taken++
		b.mu.Unlock()
		return ratelimit.NewSlot(ratelimit.Result{Allowed: true}, &brokenLease{held: true, lost: context.Background(), release: func() error {
			b.mu.Lock()
			b.taken--
			b.mu.Unlock()
			return nil
		}}), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, err := b.ConcurrencyLimiter.Acquire(ctx, key)
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
			return ratelimit.NewSlot(slot.Result(), &brokenLease{lost: context.Background(), release: b.freeAll}), nil
		}
	case "never held":
		lease.held = false
	case "tokens stand still":
		lease.token = 1
	case "shadow refuses":
		r := slot.Result()
		r.Allowed = r.Allowed && !r.Shadowed
		return ratelimit.NewSlot(r, lease), nil
	default:
		return slot, nil
	}
	return ratelimit.NewSlot(slot.Result(), lease), nil
}

func (b *brokenSlots) freeAll() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ConcurrencyLimiter, err = ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Name: "flights", Limit: 2}, nil)
	return err
}

func TestConcurrencySuiteFindsFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"shares keys", "accepts empty keys", "ignores the context", "check, then act", "release does nothing",
		"release ends the context", "a refusal frees a slot", "never held", "tokens stand still", "shadow refuses",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := &ConcurrencySuite{New: func(t testing.TB, p ratelimit.ConcurrencyPolicy) ratelimit.ConcurrencyLimiter {
				return &brokenSlots{ConcurrencyLimiter: newConcurrency(t, p), fault: fault}
			}}
			var found []string
			for _, c := range concurrencyChecks() {
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
