package redislimit

import (
	"sync"
	"time"
)

// breaker leaves a node alone for a while once it has failed often enough and for long
// enough, then lets one call try.
type breaker struct {
	limit int           // failures without an answer between them
	span  time.Duration // minimum time from the first to the last failure
	pause time.Duration

	mu       sync.Mutex
	failures int
	first    time.Time // when the first failed call was sent
	until    time.Time // the next call may try then; zero: closed
}

// allow reports whether a call may go out, and otherwise for how long not. probe says that
// it is the one that tries.
func (b *breaker) allow(now time.Time) (wait time.Duration, ok, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return 0, true, false
	}
	if left := b.until.Sub(now); left > 0 {
		return max(left, time.Millisecond), false, false
	}
	b.until = now.Add(b.pause)
	return 0, true, true
}

func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero()
}

// failing reports whether there are failures without an answer since.
func (b *breaker) failing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures > 0
}

// succeeded reports whether this closed the breaker.
func (b *breaker) succeeded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
	closed := !b.until.IsZero()
	b.until = time.Time{}
	return closed
}

// failed reports whether this opened the breaker. sent is when the call that failed was. A
// failure that is certain needs no span.
func (b *breaker) failed(sent, now time.Time, certain bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 || sent.Before(b.first) {
		b.first = sent
	}
	b.failures++
	if b.until.IsZero() && (b.failures < b.limit || !certain && now.Sub(b.first) < b.span) {
		return false
	}
	opened := b.until.IsZero()
	b.until = now.Add(b.pause)
	return opened
}
