package ratelimit

import "context"

// Options are what a limiter of any back-end may be told besides its policy.
type Options struct {
	// LimitFunc gives keys limits of their own. Default: nil; the policy's Limit.
	LimitFunc LimitFunc
	// MaxKeys bounds the keys that this process keeps. A key takes about 110 bytes
	// with Exact and up to 4 units in use, and 8 to 16 bytes a unit with more; about
	// 350 with Buckets and 70 with GCRA. When all places are taken, the least used keys are
	// forgotten first and those at their limit never. From 2048 on the places are in several
	// parts, of which some are full a little before the others. Default: 1,000,000.
	MaxKeys int
	// NearLimit is the share of the limit whose crossing Trace.NearLimit reports.
	// Default: 0.8.
	NearLimit float64
	// Trace is told what happens. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks; nil ones are skipped. They run in the deciding goroutine
// with no lock held, so they should be fast; they may be called concurrently.
type Trace struct {
	// Decided is called after every decision, not after Peek.
	Decided func(ctx context.Context, key string, r Result)
	// NearLimit is called when a decision takes a key across Options.NearLimit.
	NearLimit func(ctx context.Context, key string, r Result)
}

// Stats counts what a limiter did since it was made.
type Stats struct {
	// Keys is how many keys this process keeps now.
	Keys int
	// Allowed and Denied count decisions.
	Allowed, Denied uint64
	// Evicted counts keys forgotten early because MaxKeys was reached: more than a
	// few mean that MaxKeys is too small for the traffic, or an attack.
	Evicted uint64
	// Crowded counts decisions on the entry that keys share when MaxKeys is reached
	// and every candidate is blocked.
	Crowded uint64
}
