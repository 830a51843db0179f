package cache

import (
	"context"
	"time"
)

// Trace is a set of hooks; nil ones are skipped. They are called in the goroutine that
// they report on, with no lock held. name is that of the cache. Of name, tier and reason
// there are few, so that they may be labels; keys may not.
type Trace struct {
	Hit    func(ctx context.Context, name, key string, tier Tier)
	Miss   func(ctx context.Context, name, key string)
	Stale  func(ctx context.Context, name, key string, why StaleReason) // a value was served after its time
	Loaded func(ctx context.Context, name, key string, took time.Duration, err error)
	// Fenced tells that a load was not kept: its key was written meanwhile, or one of its
	// tags invalidated.
	Fenced     func(ctx context.Context, name, key string)
	BadPayload func(ctx context.Context, name, key string, reason error)
	StoreError func(ctx context.Context, name, key string, err error)
}

// Tier is where a value was found.
type Tier string

// The tiers.
const (
	TierNear  Tier = "near"  // Options.Near
	TierStore Tier = "store" // the store, or what it falls back to
)

// StaleReason is why a value was served after its time.
type StaleReason string

// The reasons.
const (
	StaleLoadFailed StaleReason = "load failed"
	StaleLoadSlow   StaleReason = "load slow" // longer than Options.SoftTimeout
	StaleThrottled  StaleReason = "throttled" // a load failed within Options.ThrottleFor
)
