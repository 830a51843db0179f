package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"
	"time"
)

// FallbackOptions tune a [Fallback]. The zero value and nil work.
type FallbackOptions struct {
	// TTL caps how long a value lives in the fallback: how stale a read can be while
	// other processes write and nobody can tell this one. Default: 10 s.
	TTL time.Duration
	// MaxPending bounds the keys and tags that are remembered for deletion. Default:
	// 10,000.
	MaxPending int
	// Strict has Set, Delete and InvalidateTags return ErrDegraded while the primary cannot
	// be reached, so that a caller may tell its user that others still see the old value.
	// They do the same as without it, and loads are not concerned. Default: false, nil.
	Strict bool
	// Logger is told when the primary store is given up and when it is back. Default:
	// slog.Default().
	Logger *slog.Logger
	// Trace is told the same, and more. Default: nil.
	Trace *FallbackTrace
}

// FallbackTrace is a set of hooks; nil ones are skipped. They are called in the goroutine
// of the call that they report on, with no lock held.
type FallbackTrace struct {
	GivenUp  func(ctx context.Context, err error) // the primary: the breaker is open
	Restored func(ctx context.Context)            // the breaker is closed
	// Replayed tells that the primary was told of keys and tags that it had missed.
	Replayed func(ctx context.Context, keys, tags int)
	// Overflow tells that more was missed than is remembered one by one.
	Overflow func(ctx context.Context)
}

// FallbackStats are counters since NewFallback, and the state now.
type FallbackStats struct {
	// Degraded tells that the primary is given up: the breaker is open.
	Degraded bool
	// Pending is how many keys and tags the primary does not know to be old.
	Pending int
	// Outages counts how often the primary was given up, Fallbacks the calls that it
	// did not answer, Replayed the keys and tags that it was told of afterwards, and
	// Overflows how often there were more of them than MaxPending.
	Outages, Fallbacks, Replayed, Overflows uint64
}

// Fallback is a [Cache] that serves from a second store while the first cannot be
// reached: Redis first, memory meanwhile.
//
// After three failures in a row, or one call that it did not answer within its own
// deadline, the primary is left alone for a second, then for up to 15, but for one probe
// at a time; calls meanwhile cost no more than the fallback's. Keys and tags that were
// written meanwhile are deleted from the primary before it is trusted again, so that it
// brings back nothing that this process knows to be old. When they are more than
// MaxPending, whole caches are cleared there instead: those of the keys, or for tags all
// that this process has in this store. That needs a primary that is a [Tagger]; without
// one, and for keys of no [Typed], Set then keeps the value in no store and Delete fails
// with ErrUnavailable.
type Fallback struct {
	primary, secondary Cache
	opts               FallbackOptions
	breaker            breaker

	can, spare abilities // of the two
	coh        *Coherence

	missed *missed       // by the primary
	replay chan struct{} // held by whoever tells it

	outages, fallbacks, replayed atomic.Uint64
}

// NewFallback returns a store over two, the second of which should be memory of this
// process. opts may be nil.
func NewFallback(primary, secondary Cache, opts *FallbackOptions) (*Fallback, error) {
	if primary == nil || secondary == nil {
		return nil, errors.New("cache: NewFallback needs two stores")
	}
	f := &Fallback{primary: primary, secondary: secondary, replay: make(chan struct{}, 1)}
	for _, s := range []Cache{primary, secondary} {
		if _, nested := s.(*Fallback); nested {
			return nil, errors.New("cache: NewFallback over a Fallback: give the two stores to one")
		}
	}
	f.can, f.spare = abilitiesOf(primary, ""), abilitiesOf(secondary, "")
	if same(primary, secondary) {
		return nil, errors.New("cache: NewFallback has the same store twice: nothing would be left to fall back to")
	}
	if f.spare.leaser != nil || f.spare.tagger != nil {
		return nil, errors.New("cache: NewFallback has a store of several processes in the second place: it is what may fail, give it first and memory second")
	}
	if f.coh = coherenceOf(primary); f.coh == nil {
		f.coh = NewCoherence()
		f.coh.SetLimit(unheardLimit)
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
	if f.opts.Trace == nil {
		f.opts.Trace = &FallbackTrace{}
	}
	if f.opts.TTL < time.Millisecond || f.opts.MaxPending < 0 {
		return nil, errors.New("cache: NewFallback: TTL must be at least a millisecond and MaxPending not negative")
	}
	f.missed = newMissed(f.opts.MaxPending)
	return f, nil
}

func same(a, b Cache) bool {
	return reflect.TypeOf(a).Comparable() && a == b
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
	if err := f.remember(ctx, key); err != nil {
		return errors.Join(err, f.secondary.Delete(ctx, key))
	}
	if err := f.secondary.Set(ctx, key, value, min(ttl, f.opts.TTL)); err != nil {
		return err
	}
	return f.degraded()
}

// degraded is what a write returns that the primary is told of later.
func (f *Fallback) degraded() error {
	if f.opts.Strict {
		return ErrDegraded
	}
	return nil
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
	return cmp.Or(f.remember(ctx, keys...), f.degraded())
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
		if f.missed.size() > 0 {
			_ = f.try(ctx, func() error { return nil }) // logged where the state changes
		}
	}
}

// Degraded reports whether the primary has been given up for now.
func (f *Fallback) Degraded() bool { return f.breaker.isOpen() }

// Stats returns the counters and the state.
func (f *Fallback) Stats() FallbackStats {
	return FallbackStats{
		Degraded: f.Degraded(), Pending: f.missed.size(), Outages: f.outages.Load(),
		Fallbacks: f.fallbacks.Load(), Replayed: f.replayed.Load(), Overflows: f.missed.overflown(),
	}
}

// try calls the primary if it may be called, after whatever it has missed. Its error
// wraps ErrUnavailable where the fallback should be used.
func (f *Fallback) try(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !f.breaker.allow(time.Now()) {
		f.fallbacks.Add(1)
		return ErrUnavailable
	}
	err := f.catchUp(ctx)
	if err == nil {
		err = call()
	}
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		f.breaker.abandon() // the caller left: no news of the store
		return err
	}
	// The caller's deadline may just have been short; then it takes several to tell.
	var timeout interface{ Timeout() bool }
	hung := ctx.Err() == nil && errors.As(err, &timeout) && timeout.Timeout()
	failed := err != nil && !isUsage(err)
	changed := f.breaker.report(time.Now(), !failed, hung)
	switch {
	case changed && failed:
		f.outages.Add(1)
		f.opts.Logger.WarnContext(ctx, "cache: the primary store is given up for now; the fallback serves", "error", err)
		if hook := f.opts.Trace.GivenUp; hook != nil {
			hook(ctx, err)
		}
	case changed:
		f.opts.Logger.InfoContext(ctx, "cache: the primary store serves again")
		if hook := f.opts.Trace.Restored; hook != nil {
			hook(ctx)
		}
	}
	if failed {
		f.fallbacks.Add(1)
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// isUsage tells mistakes of the caller from failures of the store.
func isUsage(err error) bool {
	return errors.Is(err, ErrEmptyKey) || errors.Is(err, ErrInvalidTTL) || errors.Is(err, ErrTooLarge)
}

// remember notes keys of which the primary still has old values.
func (f *Fallback) remember(ctx context.Context, keys ...string) error {
	return f.remembered(ctx)(f.missed.noteKeys(keys...))
}

// rememberTags notes tags that the primary does not know to be invalid.
func (f *Fallback) rememberTags(ctx context.Context, tags ...string) error {
	return f.remembered(ctx)(f.missed.noteTags(tags...))
}

func (f *Fallback) remembered(ctx context.Context) func(ok, overflow bool) error {
	return func(ok, overflow bool) error {
		if hook := f.opts.Trace.Overflow; hook != nil && overflow {
			hook(ctx)
		}
		if !ok {
			return fmt.Errorf("%w, and MaxPending keys wait for deletion already", ErrUnavailable)
		}
		return nil
	}
}

// catchUp tells the primary what it has missed. Nobody reads it before that.
func (f *Fallback) catchUp(ctx context.Context) error {
	if f.missed.size() == 0 {
		return nil
	}
	select {
	case f.replay <- struct{}{}:
		defer func() { <-f.replay }()
	case <-ctx.Done():
		return ctx.Err()
	}
	keys, tags := f.missed.all()
	const batch = 500
	for part := range slices.Chunk(tags, batch) {
		if err := f.can.tagger.InvalidateTags(ctx, names(part)...); err != nil {
			return err
		}
		f.missed.done(f.missed.tags, part)
		f.replayed.Add(uint64(len(part)))
	}
	for part := range slices.Chunk(keys, batch) {
		if err := f.primary.Delete(ctx, names(part)...); err != nil {
			return err
		}
		f.missed.done(f.missed.keys, part)
		f.replayed.Add(uint64(len(part)))
	}
	// What memory was filled with during the outage may be older than others' writes.
	f.coh.AllChanged()
	if hook := f.opts.Trace.Replayed; hook != nil {
		hook(ctx, len(keys), len(tags))
	}
	return nil
}
