package cache

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// able tells [New] what the primary store can do, and so what this one can.
func (f *Fallback) able(name string) abilities {
	d, a := degradable{f}, abilities{store: f}
	if f.can.leaser != nil {
		a.leaser = d
	}
	if f.can.tagger != nil {
		a.tagger = d
		f.missed.bears(name)
	}
	if f.can.comparer != nil {
		a.comparer = d
	}
	return a
}

// Coherence returns the primary's, or one of its own.
func (f *Fallback) Coherence() *Coherence { return f.coh }

// degradable has the primary's abilities. While it cannot be reached, this process
// decides for itself, as if it were alone.
type degradable struct{ *Fallback }

func (f degradable) Lease(ctx context.Context, ttl time.Duration, leases ...Lease) (states []LeaseState, err error) {
	err = f.try(ctx, func() error {
		states, err = f.can.leaser.Lease(ctx, ttl, leases...)
		return err
	})
	if !errors.Is(err, ErrUnavailable) {
		return states, err
	}
	states = make([]LeaseState, len(leases))
	for i := range states {
		states[i] = LeaseGranted
	}
	return states, nil
}

func (f degradable) Fill(ctx context.Context, fills ...Fill) (kept []bool, err error) {
	for _, fill := range fills {
		if err := Validate(ctx, fill.Key, fill.TTL); err != nil {
			return nil, err
		}
	}
	err = f.try(ctx, func() error {
		kept, err = f.can.leaser.Fill(ctx, fills...)
		return err
	})
	if !errors.Is(err, ErrUnavailable) {
		return kept, err
	}
	kept = make([]bool, len(fills))
	for i, fill := range fills {
		if err := f.remember(ctx, fill.Key); err != nil {
			return kept, errors.Join(err, f.secondary.Delete(ctx, fill.Key))
		}
		if err := f.secondary.Set(ctx, fill.Key, fill.Value, min(fill.TTL, f.opts.TTL)); err != nil {
			return kept, err
		}
		kept[i] = true
	}
	return kept, nil
}

func (f degradable) Extend(ctx context.Context, ttl time.Duration, leases ...Lease) error {
	return f.try(ctx, func() error { return f.can.leaser.Extend(ctx, ttl, leases...) })
}

func (f degradable) Release(ctx context.Context, leases ...Lease) error {
	err := f.try(ctx, func() error { return f.can.leaser.Release(ctx, leases...) })
	if errors.Is(err, ErrUnavailable) {
		return nil // they end by themselves
	}
	return err
}

func (f degradable) Read(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error) {
	err = f.try(ctx, func() error {
		values, states, err = f.can.tagger.Read(ctx, keys, tags)
		return err
	})
	if !errors.Is(err, ErrUnavailable) {
		return values, states, err
	}
	states = f.coh.localTags(tags)
	values = make([][]byte, len(keys))
	for i, key := range keys {
		value, found, err := f.secondary.Get(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		if found {
			values[i] = append([]byte{}, value...)
		}
	}
	return values, states, nil
}

func (f degradable) InvalidateTags(ctx context.Context, tags ...string) error {
	err := f.try(ctx, func() error { return f.can.tagger.InvalidateTags(ctx, tags...) })
	if errors.Is(err, ErrUnavailable) {
		return cmp.Or(f.rememberTags(ctx, tags...), f.degraded())
	}
	return err
}

// Discard removes the value from whichever store it was read.
func (f degradable) Discard(ctx context.Context, key string, seen []byte) (done bool, err error) {
	err = f.try(ctx, func() error {
		done, err = f.can.comparer.Discard(ctx, key, seen)
		return err
	})
	switch {
	case !errors.Is(err, ErrUnavailable):
		return done, err
	case f.spare.comparer == nil:
		return false, nil
	}
	return f.spare.comparer.Discard(ctx, key, seen)
}

// Swap fails where the primary cannot be reached: to compare with the fallback's value
// would decide nothing.
func (f degradable) Swap(ctx context.Context, key string, seen, value []byte, ttl time.Duration) (done bool, err error) {
	err = f.try(ctx, func() error {
		done, err = f.can.comparer.Swap(ctx, key, seen, value, ttl)
		return err
	})
	if err == nil && done {
		err = f.secondary.Delete(ctx, key)
	}
	return done, err
}
