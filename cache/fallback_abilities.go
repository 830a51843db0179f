package cache

import (
	"context"
	"errors"
	"time"
)

// able tells [New] what the primary store can do, and so what this one can.
func (f *Fallback) able() abilities {
	d, a := degradable{f}, abilities{store: f}
	if f.can.leaser != nil {
		a.leaser = d
	}
	if f.can.tagger != nil {
		a.tagger = d
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

func (f degradable) Lease(ctx context.Context, key, token string, seen []byte, ttl time.Duration) (state LeaseState, err error) {
	err = f.try(ctx, func() error {
		state, err = f.can.leaser.Lease(ctx, key, token, seen, ttl)
		return err
	})
	if errors.Is(err, ErrUnavailable) {
		return LeaseGranted, nil
	}
	return state, err
}

func (f degradable) Fill(ctx context.Context, key, token string, value []byte, ttl time.Duration) (kept bool, err error) {
	if err := Validate(ctx, key, ttl); err != nil {
		return false, err
	}
	err = f.try(ctx, func() error {
		kept, err = f.can.leaser.Fill(ctx, key, token, value, ttl)
		return err
	})
	if !errors.Is(err, ErrUnavailable) {
		return kept, err
	}
	if err := f.remember(f.pending, key); err != nil {
		return false, errors.Join(err, f.secondary.Delete(ctx, key))
	}
	return true, f.secondary.Set(ctx, key, value, min(ttl, f.opts.TTL))
}

func (f degradable) Extend(ctx context.Context, key, token string, ttl time.Duration) error {
	return f.try(ctx, func() error { return f.can.leaser.Extend(ctx, key, token, ttl) })
}

func (f degradable) Release(ctx context.Context, key, token string) error {
	err := f.try(ctx, func() error { return f.can.leaser.Release(ctx, key, token) })
	if errors.Is(err, ErrUnavailable) {
		return nil // it ends by itself
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
		return f.remember(f.Fallback.tags, tags...)
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
