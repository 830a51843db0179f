package ratelimit

import (
	"sync/atomic"
	"time"
)

// wallClock converts instants of a monotonic clock to wall time. The monotonic clock began
// at base. It looks at the wall clock once a second, for that costs as much as a
// decision; so it follows one that is set within a second.
type wallClock struct {
	base   time.Time
	offset atomic.Int64 // Unix nanoseconds at base
	read   atomic.Int64 // one after the instant of the last look; 0 before the first
}

// at returns Unix nanoseconds. now is in nanoseconds since base.
func (c *wallClock) at(now int64) int64 {
	if read := c.read.Load(); read == 0 || now+1-read >= int64(time.Second) {
		t := time.Now()
		c.offset.Store(t.UnixNano() - int64(t.Sub(c.base)))
		c.read.Store(now + 1)
	}
	return c.offset.Load() + now
}
