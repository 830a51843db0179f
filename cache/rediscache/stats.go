package rediscache

import (
	"context"
	"sync/atomic"
	"time"
)

// Stats are counters since New, and the state now.
type Stats struct {
	// Listening tells whether the writes of other processes are heard of.
	Listening bool
	// Tracking tells whether the writes of everybody else are, see Options.Tracking.
	Tracking bool
	// BusLag is how long the last beat that came back to this process was on its way;
	// the next is sent a second later. 0 before the first.
	BusLag time.Duration
	// Heard counts messages of other processes, Lost how often some did not come and
	// all memory was dropped for it, Deaf how often listening ended without being told
	// to.
	Heard, Lost, Deaf uint64
	// Tracked counts keys that the server said have changed.
	Tracked uint64
	// Retries counts calls that were made again because a connection was cut.
	Retries uint64
}

// Trace is a set of hooks; nil ones are skipped. They are called in the goroutines of Run.
type Trace struct {
	Listening func(ctx context.Context)            // the writes of others are heard of, again or for the first time
	Deaf      func(ctx context.Context, err error) // they are not any more
	Lost      func(ctx context.Context)            // messages did not come, so memory was dropped
	// Tracking is called when the server begins to tell of all writes (nil), and with
	// the reason when one of its nodes does not any more.
	Tracking func(ctx context.Context, err error)
	BusLag   func(ctx context.Context, lag time.Duration)
}

type counters struct {
	listening, tracking        atomic.Bool
	lag                        atomic.Int64
	heard, lost, deaf, retries atomic.Uint64
	tracked                    atomic.Uint64
}

// Stats returns the counters and the state.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Listening: c.listening.Load(), Tracking: c.tracking.Load(), Tracked: c.tracked.Load(), BusLag: time.Duration(c.lag.Load()),
		Heard: c.heard.Load(), Lost: c.lost.Load(), Deaf: c.deaf.Load(), Retries: c.retries.Load(),
	}
}

func (s *Store) heardItself(ctx context.Context, lag time.Duration) {
	s.stats.lag.Store(int64(lag))
	if hook := s.opts.Trace.BusLag; hook != nil {
		hook(ctx, lag)
	}
}
