package rediscache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Stats are counters since New, and the state now.
type Stats struct {
	// Online reports whether Run receives the invalidations of all processes.
	Online bool
	// Tracking reports whether Run receives the writes of other software, see Options.Tracking.
	Tracking bool
	// Degraded reports whether the breaker of a node is open.
	Degraded bool
	// Pending is how many writes wait for a node that cannot be reached.
	Pending int
	// Events counts invalidations that were received, in Batches messages. Gaps counts how
	// often the log did not reach back, and Offline how often its connection failed.
	Events, Batches, Gaps, Offline uint64
	// Outages counts how often a node was given up, Refused the round trips that its
	// breaker spared, and Applied the pending writes that were made afterwards.
	Outages, Refused, Applied uint64
	// Tracked counts keys that the server said have changed.
	Tracked uint64
	// Retries counts round trips that were repeated because a connection was cut.
	Retries uint64
	// Memory describes the values in the memory of this process.
	Memory driver.MemoryStats
}

// Trace is a set of hooks; nil ones are skipped. They are called in the goroutine that they
// report on, with no lock held.
type Trace struct {
	Node     func(context.Context, NodeEvent)     // a node was given up, or is back
	Offline  func(context.Context, OfflineEvent)  // invalidations are not received for now
	Gap      func(context.Context, GapEvent)      // the log did not reach back, and memory was dropped
	Tracking func(context.Context, TrackingEvent) // the server begins to report writes, or a node does not any more
}

type (
	// NodeEvent reports that the breaker of a node opened or closed.
	NodeEvent struct {
		Addr string // "" for the only server
		Open bool
		Err  error
		At   time.Time
	}
	// OfflineEvent reports why invalidations are not received.
	OfflineEvent struct{ Err error }
	// GapEvent reports a stream that did not reach back.
	GapEvent struct{ Log string }
	// TrackingEvent reports that tracking works, or with an error that it does not.
	TrackingEvent struct{ Err error }
)

type counters struct {
	online, tracking               atomic.Bool
	events, batches, gaps, offline atomic.Uint64
	outages, refused, applied      atomic.Uint64
	tracked, retries               atomic.Uint64
}

// Stats returns the counters and the state.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Online: c.online.Load(), Tracking: c.tracking.Load(), Degraded: s.Degraded(), Pending: int(s.pending.count.Load()),
		Events: c.events.Load(), Batches: c.batches.Load(), Gaps: c.gaps.Load(), Offline: c.offline.Load(),
		Outages: c.outages.Load(), Refused: c.refused.Load(), Applied: c.applied.Load(),
		Tracked: c.tracked.Load(), Retries: c.retries.Load(), Memory: s.memory.Stats(),
	}
}

// Degraded reports whether a node has been given up for now.
func (s *Store) Degraded() bool {
	for _, n := range s.nodes.all() {
		if n.breaker.isOpen() {
			return true
		}
	}
	return false
}
