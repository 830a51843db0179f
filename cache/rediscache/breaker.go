package rediscache

import (
	"math/rand/v2"
	"sync"
	"time"
)

// breaker stops calls to a node whose connections failed several times in a row. It lets an
// occasional probe through. The zero value is closed.
type breaker struct {
	mu       sync.Mutex
	failures int
	open     bool
	probing  bool
	retryAt  time.Time
	pause    time.Duration
	silent   time.Time // when the first caller left without a reply, since the last reply
}

const (
	breakerFailures = 3
	breakerPause    = 500 * time.Millisecond
	breakerMaxPause = 10 * time.Second
)

// allow reports whether a call may be made. If it returns true, the caller must call report
// or abandon.
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

// report counts a call, and returns whether the breaker has opened or closed. A call
// without a response within its deadline opens it at once.
func (b *breaker) report(now time.Time, ok, hung bool) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if ok {
		b.silent = time.Time{}
		changed = b.open
		b.failures, b.open, b.pause = 0, false, 0
		return changed
	}
	if b.failures++; b.failures < breakerFailures && !b.open && !hung {
		return false
	}
	changed = !b.open
	b.pause = min(max(2*b.pause, breakerPause), breakerMaxPause)
	// Processes that lost the same server must not reconnect at the same moment.
	b.retryAt = now.Add(b.pause - time.Duration(rand.Int64N(int64(b.pause/4))))
	b.open = true
	return changed
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// abandon ends an allowed call without a result: its caller left before timeout. It reports
// false if no call had a reply for that time. The caller of abandon must then call report.
func (b *breaker) abandon(now time.Time, timeout time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent.IsZero() {
		b.silent = now
	}
	if now.Sub(b.silent) >= timeout {
		return false
	}
	b.probing = false
	return true
}
