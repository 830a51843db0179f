package cache

import (
	"context"
	"time"
)

// Trace is a set of hooks. Hooks that are nil are skipped. A hook is called in the
// goroutine of its event, with no lock held. Cache, Tier and Reason of the events have few
// values, so they may be labels of a metric. Keys must not be labels.
type Trace struct {
	Hit        func(context.Context, HitEvent)        // a read found a value
	Miss       func(context.Context, MissEvent)       // a read found no value
	Stale      func(context.Context, StaleEvent)      // a value was served after its time to live
	Loaded     func(context.Context, LoadedEvent)     // a load ended
	Fenced     func(context.Context, MissEvent)       // a loaded value was not stored: its key or one of its tags was invalidated during the load
	BadPayload func(context.Context, StoreErrorEvent) // a stored value cannot be decoded
	StoreError func(context.Context, StoreErrorEvent) // a call of the store failed
	Audit      func(context.Context, AuditEvent)      // a hit was compared with the source
}

// The Cache of an event is the name given to New, and its Key is the key without that name.
type (
	// HitEvent reports a read that found a value.
	HitEvent struct {
		Cache, Key string // the name given to New, and the key without that name
		Tier       Tier   // where the value was found
	}
	// MissEvent names the key of a miss, or of a loaded value that was not stored.
	MissEvent struct {
		Cache, Key string // the name given to New, and the key without that name
	}
	// StaleEvent reports a value that was served after its time to live.
	StaleEvent struct {
		Cache, Key string      // the name given to New, and the key without that name
		Reason     StaleReason // why the old value was served
	}
	// LoadedEvent reports the load of a key.
	LoadedEvent struct {
		Cache, Key string        // the name given to New, and the key without that name
		Took       time.Duration // from the call of the loader to its return
		Err        error         // of the loader
	}
	// StoreErrorEvent reports a failure of the store.
	StoreErrorEvent struct {
		// Cache is the name given to New. Key is the key without that name, or the tag in
		// its internal form. It is "" if the failed operation has no key.
		Cache, Key string
		Err        error // of the store; in Trace.BadPayload: why the value cannot be decoded
	}
	// AuditEvent reports the comparison of a hit with its source. A stale value differs
	// from the source although the key was not written during the comparison.
	AuditEvent struct {
		Cache, Key string        // the name given to New, and the key without that name
		Stale      bool          // the value differs from the source
		Age        time.Duration // time since the value was loaded
	}
)

// Tier is the place where a value was found. TierLocal is the memory of this process.
type Tier string

// The tiers.
const (
	TierLocal Tier = "local"
	TierStore Tier = "store"
)

// StaleReason is why a value was served after its time to live. A load is throttled after a
// load that failed within Options.ThrottleFor, and slow after Options.SoftTimeout.
type StaleReason string

// The reasons.
const (
	StaleLoadFailed StaleReason = "load failed"
	StaleLoadSlow   StaleReason = "load slow"
	StaleThrottled  StaleReason = "throttled"
)
