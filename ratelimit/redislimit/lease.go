package redislimit

import (
	"context"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// lease is a slot that this process holds on Redis. A timer renews it; there is no
// goroutine without a due slot.
type lease struct {
	c      *Concurrency
	keys   []string // one
	name   string
	weight int
	token  int64

	mu       sync.Mutex
	until    time.Time // by this clock, which may not see the slot run out too late
	timer    *time.Timer
	released bool
	isLost   bool
	lost     context.Context // made on demand
	lose     context.CancelFunc
}

// until is when a lease that Redis gave or renewed after sent surely still lasts: what
// the question took is on the safe side, and a hundredth is for clocks of other speeds.
func (c *Concurrency) until(sent time.Time) time.Time {
	return sent.Add(c.opts.Lease - c.opts.Lease/100)
}

func (l *lease) begin(sent time.Time, token int64) {
	l.c.held.Add(int64(l.weight))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token, l.until = token, l.c.until(sent)
	l.timer = time.AfterFunc(l.c.opts.Lease/3, l.tick)
}

// tick renews the lease, or ends it when it has run out.
func (l *lease) tick() {
	l.mu.Lock()
	over, until := l.released || l.isLost, l.until
	l.mu.Unlock()
	if over {
		return
	}
	sent := time.Now()
	if !sent.Before(until) {
		l.end()
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	kept, err := l.c.store.integers(ctx, 1, renewScript, l.keys, l.c.opts.Lease.Microseconds(), l.weight, l.name)
	if err == nil && kept[0] == 0 {
		l.end()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return
	}
	next := l.c.opts.Lease / 3
	if err != nil {
		next = min(l.c.opts.Lease/12, max(time.Until(l.until), 0))
	} else {
		l.until = l.c.until(sent)
	}
	l.timer.Reset(next)
}

// end marks the slot as lost, unless it has been released.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released || l.isLost {
		return
	}
	l.isLost = true
	l.c.lost.Add(1)
	if l.lose != nil {
		l.lose()
	}
}

// Held implements concurrency.Lease.
func (l *lease) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.released && !l.isLost && time.Now().Before(l.until)
}

// Lost implements concurrency.Lease.
func (l *lease) Lost() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost, l.lose = context.WithCancel(context.Background())
		if l.isLost {
			l.lose()
		}
	}
	return l.lost
}

// Token implements concurrency.Lease.
func (l *lease) Token() int64 { return l.token }

// Release implements concurrency.Lease. It sends a command also when the slot is lost by this
// clock, since Redis may still hold it. While Redis does not respond, it tries again until
// the slot has run out.
func (l *lease) Release() error {
	l.c.held.Add(-int64(l.weight))
	l.mu.Lock()
	l.released = true
	l.timer.Stop()
	until := l.until
	l.mu.Unlock()
	found, err := l.free()
	l.c.turns.wake(l.keys[0])
	switch {
	case err != nil:
		l.freeLater(until)
		return wrap(err)
	case found < int64(l.weight):
		return concurrency.ErrSlotLost
	}
	return nil
}

func (l *lease) free() (int64, error) {
	got, err := l.c.store.integers(context.Background(), 1, freeScript, l.keys, l.weight, l.name)
	if err != nil {
		return 0, err
	}
	return got[0], nil
}

// freeLater frees a slot that Redis may hold, as soon as Redis responds and while the slot
// has not run out.
func (l *lease) freeLater(until time.Time) {
	pause := l.c.store.opts.BreakerOpen
	if time.Until(until) < pause {
		return
	}
	time.AfterFunc(pause, func() {
		if _, err := l.free(); err != nil {
			l.freeLater(until)
		}
	})
}

var (
	_ concurrency.Lease = (*lease)(nil)
	_ concurrency.Lease = localSlot{}
)
