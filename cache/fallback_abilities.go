package cache

import (
	"context"
	"errors"
	"time"
)

// able tells [New] what the primary store can do, and so what this one can.
func (f *Fallback) able() (Leaser, Tagger) {
	d := degradable{f}
	switch {
	case f.leaser != nil && f.tagger != nil:
		return d, d
	case f.leaser != nil:
		return d, nil
	case f.tagger != nil:
		return nil, d
	}
	return nil, nil
}

// Coherence returns the primary's, or one of its own.
func (f *Fallback) Coherence() *Coherence { return f.coh }

// degradable has the primary's abilities. While it cannot be reached, this process
// decides for itself, as if it were alone.
type degradable struct{ *Fallback }

func (f degradable) Lease(ctx context.Context, key, token string, seen []byte, ttl time.Duration) (state LeaseState, err error) {
	err = f.try(ctx, func() error {
		state, err = f.leaser.Lease(ctx, key, token, seen, ttl)
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
		kept, err = f.leaser.Fill(ctx, key, token, value, ttl)
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
	return f.try(ctx, func() error { return f.leaser.Extend(ctx, key, token, ttl) })
}

func (f degradable) Release(ctx context.Context, key, token string) error {
	err := f.try(ctx, func() error { return f.leaser.Release(ctx, key, token) })
	if errors.Is(err, ErrUnavailable) {
		return nil // it ends by itself
	}
	return err
}

func (f degradable) Read(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error) {
	err = f.try(ctx, func() error {
		values, states, err = f.tagger.Read(ctx, keys, tags)
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
	err := f.try(ctx, func() error { return f.tagger.InvalidateTags(ctx, tags...) })
	if errors.Is(err, ErrUnavailable) {
		return f.remember(f.Fallback.tags, tags...)
	}
	return err
}
