package rediscache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Stats are counters since New, and the current state.
type Stats struct {
	// Online reports whether Run receives the invalidations of all processes.
	Online bool
	// Tracking reports whether Run receives the writes of other software, see Options.Tracking.
	Tracking bool
	// Degraded reports whether the breaker of a node is open.
	Degraded bool
	// Pending is the number of writes that wait for a node that cannot be reached.
	Pending int
	// Events counts received invalidations, and Batches the messages that contained them.
	// Gaps counts how often the log did not have all missing entries. Offline counts how
	// often its connection failed.
	Events, Batches, Gaps, Offline uint64
	// Unannounced counts the messages that were given up, because the user may not append to
	// the log. Other processes see those writes late.
	Unannounced uint64
	// Outages counts how often the breaker of a node opened. Refused counts the round trips
	// that an open breaker prevented. Applied counts the pending writes that were applied
	// later.
	Outages, Refused, Applied uint64
	// Tracked counts the changed keys that the server reported.
	Tracked uint64
	// Retries counts round trips that were repeated after a connection broke.
	Retries uint64
	// Memory describes the values in the memory of this process.
	Memory driver.MemoryStats
}

// Trace is a set of hooks. Hooks that are nil are skipped. A hook is called in the
// goroutine of its event, with no lock held.
type Trace struct {
	Node     func(context.Context, NodeEvent)     // the breaker of a node opened or closed
	Offline  func(context.Context, OfflineEvent)  // invalidations are not received at the moment
	Gap      func(context.Context, GapEvent)      // the log did not have all missing entries, and memory was dropped
	Tracking func(context.Context, TrackingEvent) // the server begins to report writes, or a node has stopped reporting
}

type (
	// NodeEvent reports that the breaker of a node opened or closed.
	NodeEvent struct {
		Addr string    // "" for the only server
		Open bool      // no call is sent to the node
		Err  error     // why it opened
		At   time.Time // time of the change
	}
	// OfflineEvent reports with Err why invalidations are not received.
	OfflineEvent struct {
		Err error // the cause, never nil
	}
	// GapEvent reports the key of a Log without all missing entries.
	GapEvent struct {
		Log string // the key of the log in Redis
	}
	// TrackingEvent reports that tracking works (Err is nil), or why it does not.
	TrackingEvent struct {
		Err error // nil if tracking works
	}
)

type counters struct {
	online, tracking               atomic.Bool
	events, batches, gaps, offline atomic.Uint64
	outages, refused, applied      atomic.Uint64
	tracked, retries, unannounced  atomic.Uint64
}

// Stats returns the counters and the state.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Online: c.online.Load(), Tracking: c.tracking.Load(), Degraded: s.Degraded(), Pending: int(s.pending.count.Load()),
		Events: c.events.Load(), Batches: c.batches.Load(), Gaps: c.gaps.Load(), Offline: c.offline.Load(),
		Unannounced: c.unannounced.Load(),
		Outages:     c.outages.Load(), Refused: c.refused.Load(), Applied: c.applied.Load(),
		Tracked: c.tracked.Load(), Retries: c.retries.Load(), Memory: s.memory.Stats(),
	}
}

// Degraded reports whether the breaker of a node is open.
func (s *Store) Degraded() bool {
	for _, n := range s.nodes.all() {
		if n.breaker.isOpen() {
			return true
		}
	}
	return false
}
