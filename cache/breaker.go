package cache

import (
	"math/rand/v2"
	"sync"
	"time"
)

// breaker keeps calls away from something that has failed several times in a row, but
// for one probe now and then. The zero value is closed.
type breaker struct {
	mu       sync.Mutex
	failures int
	open     bool
	probing  bool
	retryAt  time.Time
	pause    time.Duration
}

const (
	breakerFailures = 3
	breakerPause    = time.Second
	breakerMaxPause = 15 * time.Second
)

// allow reports whether a call may be made; who gets true owes a report.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true
	}
	if b.probing || now.Before(b.retryAt) {
		return false
	}
	b.probing = true
	return true
}

// report tells how a call went, and returns whether that has opened or closed it. What
// did not answer within its own deadline is hung, and left alone after the first such
// call.
func (b *breaker) report(now time.Time, ok, hung bool) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if ok {
		changed = b.open
		b.failures, b.open, b.pause = 0, false, 0
		return changed
	}
	if b.failures++; b.failures < breakerFailures && !b.open && !hung {
		return false
	}
	changed = !b.open
	b.pause = min(max(2*b.pause, breakerPause), breakerMaxPause)
	// Replicas that lost the same server must not come back to it in step.
	b.retryAt = now.Add(b.pause - time.Duration(rand.Int64N(int64(b.pause/4))))
	b.open = true
	return changed
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// abandon gives back an allowance that was not used up to its end.
func (b *breaker) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}
