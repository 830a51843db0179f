package redislimit

import (
	"sync/atomic"
	"time"
)

// breaker leaves Redis alone for a while after failures in a row, then lets one call
// try. The zero open is closed.
type breaker struct {
	base     time.Time
	limit    int32
	pause    time.Duration
	failures atomic.Int32
	open     atomic.Int64 // nanoseconds since base at which the next call may try; 0: closed
}

// allow reports whether a call may go out, and otherwise for how long not.
func (b *breaker) allow() (wait time.Duration, ok bool) {
	until := b.open.Load()
	if until == 0 {
		return 0, true
	}
	now := int64(time.Since(b.base))
	if now >= until && b.open.CompareAndSwap(until, now+int64(b.pause)) {
		return 0, true // the one that tries
	}
	return time.Duration(max(until-now, int64(time.Millisecond))), false
}

// succeeded reports whether this closed the breaker.
func (b *breaker) succeeded() bool {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
	return b.open.Load() != 0 && b.open.Swap(0) != 0
}

// failed reports whether this opened the breaker.
func (b *breaker) failed() bool {
	if b.failures.Add(1) < b.limit && b.open.Load() == 0 {
		return false
	}
	return b.open.Swap(int64(time.Since(b.base)+b.pause)) == 0
}
