package ratelimit

import "context"

// Options configure a limiter of any back-end.
type Options struct {
	// LimitFunc gives keys limits of their own. Default: nil; the policy's Limit.
	LimitFunc LimitFunc
	// MaxKeys bounds the keys that this process keeps. A key takes about 140 bytes
	// with Exact and up to 3 uses, and 16 to 32 bytes a use with more. With GCRA it takes
	// 70 bytes. When there is no room, the least used keys are forgotten first, and keys at
	// their limit never. From 2048 keys on the room has several parts, and some parts are
	// full a little before the others. Default: 1,000,000.
	MaxKeys int
	// MaxQueue bounds the units of one key that wait. Default: 10,000.
	MaxQueue int
	// NearLimit is the share of the limit whose crossing Trace.NearLimit reports.
	// Default: 0.8.
	NearLimit float64
	// Trace receives decisions. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks; nil ones are skipped. They run in the deciding goroutine
// without a lock, so they should be fast. They may be called concurrently.
type Trace struct {
	// Decided is called after every decision, not after Peek.
	Decided func(context.Context, DecidedEvent)
	// NearLimit is called when a decision takes a key across Options.NearLimit.
	NearLimit func(context.Context, DecidedEvent)
}

// DecidedEvent is one decision about one key.
type DecidedEvent struct {
	// Key is the key that was decided about.
	Key string
	// Result is the decision.
	Result Result
}

// Stats counts decisions of a limiter since its constructor.
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
	// BadLimits counts limits of the LimitFunc that the policy cannot hold.
	BadLimits uint64
}
