package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// FallbackOptions tune a [Fallback]. The zero value and nil work.
type FallbackOptions struct {
	// TTL caps how long a value lives in the fallback: how stale a read can be while
	// other processes write and nobody can tell this one. Default: 10 s.
	TTL time.Duration
	// MaxPending bounds the keys that are remembered for deletion. Default: 10,000.
	MaxPending int
	// Logger is told when the primary store is given up and when it is back. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Fallback is a [Cache] that serves from a second store while the first cannot be
// reached: Redis first, memory meanwhile.
//
// After three failures in a row, or one call that it did not answer within its own
// deadline, the primary is left alone for a second, then for up to 15, but for one probe at a time; calls meanwhile cost no more than the fallback's.
// Keys that were written or deleted meanwhile are deleted from the primary before it is
// trusted again, so that it brings back nothing that this process knows to be old. When
// too many keys are pending, Set keeps the value in no store and Delete fails with
// ErrUnavailable.
type Fallback struct {
	primary, secondary Cache
	opts               FallbackOptions
	breaker            breaker

	can, spare abilities // of the two
	coh        *Coherence

	mu      sync.Mutex
	pending map[string]struct{} // keys whose primary value is not to be trusted
	tags    map[string]struct{} // tags that the primary does not know to be invalid
	replay  chan struct{}       // held by whoever deletes them
}

// NewFallback returns a store over two. opts may be nil.
func NewFallback(primary, secondary Cache, opts *FallbackOptions) (*Fallback, error) {
	if primary == nil || secondary == nil {
		return nil, errors.New("cache: NewFallback needs two stores")
	}
	f := &Fallback{primary: primary, secondary: secondary, pending: make(map[string]struct{}), tags: make(map[string]struct{}), replay: make(chan struct{}, 1)}
	for _, s := range []Cache{primary, secondary} {
		if _, nested := s.(*Fallback); nested {
			return nil, errors.New("cache: NewFallback over a Fallback: give the two stores to one")
		}
	}
	f.can, f.spare = abilitiesOf(primary), abilitiesOf(secondary)
	if c, ok := primary.(Coherent); ok {
		f.coh = c.Coherence()
	}
	if f.coh == nil {
		f.coh = NewCoherence()
	}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.TTL == 0 {
		f.opts.TTL = 10 * time.Second
	}
	if f.opts.MaxPending == 0 {
		f.opts.MaxPending = 10_000
	}
	if f.opts.Logger == nil {
		f.opts.Logger = slog.Default()
	}
	if f.opts.TTL < time.Millisecond || f.opts.MaxPending < 0 {
		return nil, errors.New("cache: NewFallback: TTL must be at least a millisecond and MaxPending not negative")
	}
	return f, nil
}

// Get asks the primary, or the fallback while that cannot be reached.
func (f *Fallback) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	err = f.try(ctx, func() error {
		value, found, err = f.primary.Get(ctx, key)
		return err
	})
	if !errors.Is(err, ErrUnavailable) {
		return value, found, err
	}
	return f.secondary.Get(ctx, key)
}

// Set stores in the primary, or in the fallback while that cannot be reached.
func (f *Fallback) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := Validate(ctx, key, ttl); err != nil {
		return err
	}
	err := f.try(ctx, func() error { return f.primary.Set(ctx, key, value, ttl) })
	if err == nil || errors.Is(err, ErrTooLarge) {
		// What an earlier outage left there must not be served in the next.
		return errors.Join(err, f.secondary.Delete(ctx, key))
	}
	if !errors.Is(err, ErrUnavailable) {
		return err
	}
	if err := f.remember(f.pending, key); err != nil {
		return errors.Join(err, f.secondary.Delete(ctx, key))
	}
	return f.secondary.Set(ctx, key, value, min(ttl, f.opts.TTL))
}

// Delete removes keys from both stores.
func (f *Fallback) Delete(ctx context.Context, keys ...string) error {
	if err := f.secondary.Delete(ctx, keys...); err != nil {
		return err
	}
	err := f.try(ctx, func() error { return f.primary.Delete(ctx, keys...) })
	if !errors.Is(err, ErrUnavailable) {
		return err
	}
	return f.remember(f.pending, keys...)
}

// Run brings the primary up to date as soon as it answers again, until ctx ends; then it
// returns nil. Without Run that is left to the next call that needs the primary, which
// may come late where most reads are answered from memory, and until then other
// processes read what this one has deleted.
func (f *Fallback) Run(ctx context.Context) error {
	ticker := time.NewTicker(breakerPause / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		f.mu.Lock()
		waiting := len(f.pending)+len(f.tags) > 0
		f.mu.Unlock()
		if waiting {
			_ = f.try(ctx, func() error { return nil }) // logged where the state changes
		}
	}
}

// Degraded reports whether the primary has been given up for now.
func (f *Fallback) Degraded() bool {
	f.breaker.mu.Lock()
	defer f.breaker.mu.Unlock()
	return f.breaker.open
}

// try calls the primary if it may be called, after whatever it has missed. Its error
// wraps ErrUnavailable where the fallback should be used.
func (f *Fallback) try(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	was := f.Degraded()
	if !f.breaker.allow(time.Now()) {
		return ErrUnavailable
	}
	err := f.catchUp(ctx)
	if err == nil {
		err = call()
	}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		f.breaker.abandon() // the caller left: no news of the store
		return err
	case isUsage(err):
		f.breaker.report(time.Now(), true, false)
		return err
	}
	// The caller's deadline may just have been short; then it takes several to tell.
	var timeout interface{ Timeout() bool }
	hung := ctx.Err() == nil && errors.As(err, &timeout) && timeout.Timeout()
	f.breaker.report(time.Now(), err == nil, hung)
	if is := f.Degraded(); is != was {
		if is {
			f.opts.Logger.WarnContext(ctx, "cache: the primary store is given up for now; the fallback serves", "error", err)
		} else {
			f.opts.Logger.InfoContext(ctx, "cache: the primary store serves again")
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// isUsage tells mistakes of the caller from failures of the store.
func isUsage(err error) bool {
	return errors.Is(err, ErrEmptyKey) || errors.Is(err, ErrInvalidTTL) || errors.Is(err, ErrTooLarge)
}

// remember notes keys of which the primary still holds old values, or tags.
func (f *Fallback) remember(in map[string]struct{}, keys ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending)+len(f.tags)+len(keys) > f.opts.MaxPending {
		return fmt.Errorf("%w, and %d keys wait for deletion already", ErrUnavailable, len(f.pending))
	}
	for _, key := range keys {
		in[key] = struct{}{}
	}
	return nil
}

// catchUp deletes the pending keys from the primary. Nobody reads it before that.
func (f *Fallback) catchUp(ctx context.Context) error {
	f.mu.Lock()
	none := len(f.pending)+len(f.tags) == 0
	f.mu.Unlock()
	if none {
		return nil
	}
	select {
	case f.replay <- struct{}{}:
		defer func() { <-f.replay }()
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	keys, tags := slices.Collect(maps.Keys(f.pending)), slices.Collect(maps.Keys(f.tags))
	f.mu.Unlock()
	if len(tags) > 0 {
		if err := f.can.tagger.InvalidateTags(ctx, tags...); err != nil {
			return err
		}
		f.mu.Lock()
		for _, tag := range tags {
			delete(f.tags, tag)
		}
		f.mu.Unlock()
	}
	const batch = 500
	for len(keys) > 0 {
		n := min(batch, len(keys))
		if err := f.primary.Delete(ctx, keys[:n]...); err != nil {
			return err
		}
		f.mu.Lock()
		for _, key := range keys[:n] {
			delete(f.pending, key)
		}
		f.mu.Unlock()
		keys = keys[n:]
	}
	// What memory was filled with during the outage may be older than others' writes.
	f.coh.AllChanged()
	return nil
}
