package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// ErrNotFound is what a load returns, wrapped or not, when there is no such thing; that
// is remembered for Options.NotFoundTTL, and GetOrLoad returns it meanwhile.
var ErrNotFound = errors.New("cache: there is no such thing")

// Typed keeps values of one type under keys of its own name. It is safe for concurrent
// use; make one for each kind of value, at start.
type Typed[V any] struct {
	name string
	ttl  time.Duration
	opts Options

	abilities      // store is nil if Near is all there is
	near      Near // nil if there is none
	coh       *Coherence
	seed      uint64    // of the hashes of keys
	base      time.Time // of the times in memory
	ownTags   []string  // of keys without others

	reads      reads
	flights    flights[V]
	refreshing chan struct{} // one for each background load
	stripes    *stripes
	stats      counters
	failing    stateLog
}

// maxRefreshing bounds the loads that nobody waits for.
const maxRefreshing = 16

// New returns a cache of values of type V in store, under the name and a colon before
// each key, for ttl each. Two of one name in one store share their values and must have
// the same V. The store may be nil if opts.Near is given: then values are kept in this
// process only, and never encoded. opts may be nil.
func New[V any](store Cache, name string, ttl time.Duration, opts *Options) (*Typed[V], error) {
	c := &Typed[V]{name: name, ttl: ttl, stripes: newStripes(), base: time.Now(), refreshing: make(chan struct{}, maxRefreshing)}
	if opts != nil {
		c.opts = *opts
	}
	if err := c.opts.complete(name, ttl); err != nil {
		return nil, err
	}
	if strings.Contains(name, ":") {
		return nil, fmt.Errorf("cache: the name %q must not contain a colon", name)
	}
	c.near, c.seed, c.ownTags = c.opts.Near, xxh3.HashString(name), []string{clearTag(name)}
	if store == nil && c.near == nil {
		return nil, fmt.Errorf("cache: %s: New needs a store, or Options.Near", name)
	}
	c.abilities = abilitiesOf(store, name)
	if c.coh = coherenceOf(store); c.coh == nil {
		if store != nil && (opts == nil || opts.NearTTL == 0) {
			c.opts.NearTTL = min(c.opts.NearTTL, unheardLimit)
		}
		c.coh = cmp.Or(coherenceOf(c.near), NewCoherence())
	}
	return c, nil
}

// Name returns the name that New was given.
func (c *Typed[V]) Name() string { return c.name }

func (c *Typed[V]) key(key string) string { return c.name + ":" + key }

func (c *Typed[V]) hash(key string) uint64 { return xxh3.HashStringSeed(key, c.seed) }

// Get returns the value of key, and false if there is none. A value that cannot be read
// back is absent. The error is the store's.
func (c *Typed[V]) Get(ctx context.Context, key string) (value V, found bool, err error) {
	if e, fresh := c.fromNear(key); fresh {
		c.hit(ctx, key, true)
		return e.value, !e.absent, nil
	}
	w, err := c.want(key, nil)
	if err != nil {
		return value, false, err
	}
	r, err := c.lookUp(ctx, &w)
	if err != nil || !r.fresh {
		return value, false, err
	}
	return r.value, !r.absent, nil
}

// lookUp reads the store and counts. Values of the store are kept near.
func (c *Typed[V]) lookUp(ctx context.Context, w *want) (r reading[V], err error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	r = c.lookUpAll(ctx, []want{*w})[0]
	if r.err != nil {
		return r, fmt.Errorf("cache: %s: %w", c.name, r.err)
	}
	return r, nil
}

func (c *Typed[V]) lookUpAll(ctx context.Context, wants []want) []reading[V] {
	before := make([]stamp, len(wants))
	for i := range wants {
		before[i] = c.stamp(&wants[i])
	}
	rs := c.read(ctx, wants, false)
	for i := range rs {
		switch r, key := &rs[i], wants[i].key; {
		case r.err != nil:
		case r.fresh:
			c.keepNear(key, r, before[i])
			c.hit(ctx, key, false)
		default:
			c.stats.misses.Add(1)
			call(ctx, c.opts.Trace.Miss, c.name, key)
		}
	}
	return rs
}

func (c *Typed[V]) hit(ctx context.Context, key string, near bool) {
	tier := TierStore
	if near {
		tier = TierNear
		c.stats.nearHits.add()
	} else {
		c.stats.hits.Add(1)
	}
	if hook := c.opts.Trace.Hit; hook != nil {
		hook(ctx, c.name, key, tier)
	}
}

// Set stores a value. No load that runs now will replace it, in any process if the
// store is a [Leaser].
func (c *Typed[V]) Set(ctx context.Context, key string, value V, opts ...CallOption) error {
	w, err := c.want(key, opts)
	if err != nil {
		if key == "" {
			return err
		}
		return errors.Join(err, c.Delete(ctx, key)) // the old value must go all the same
	}
	if c.store == nil {
		c.coh.HashChanged(c.hash(key))
		c.keepNear(key, &reading[V]{value: value, freshFor: w.ttl, life: w.ttl + c.opts.StaleFor}, c.stamp(&w))
		return ctx.Err()
	}
	states, err := c.states(ctx, slices.Concat(w.own, w.call))
	if err != nil {
		return errors.Join(err, c.Delete(ctx, key))
	}
	data, err := c.encode(&reading[V]{value: value, freshFor: w.ttl, states: states[:len(w.own)], named: named(w.call, states[len(w.own):])})
	if err != nil {
		return errors.Join(err, c.Delete(ctx, key))
	}
	return c.write(ctx, key, func(ctx context.Context) error {
		return c.store.Set(ctx, c.key(key), data, w.ttl+c.opts.StaleFor)
	})
}

// Delete removes keys. Once it has returned nil, nobody in this process gets a value
// that was loaded before, and with a store that is a [Leaser] nobody stores one. When
// it fails, old values may live until their time ends: the caller should say so or try
// again.
func (c *Typed[V]) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	for _, key := range keys {
		if key == "" {
			return ErrEmptyKey
		}
		if c.store == nil {
			c.coh.HashChanged(c.hash(key))
			c.near.Remove(c.hash(key))
			continue
		}
		errs = append(errs, c.write(ctx, key, func(ctx context.Context) error { return c.store.Delete(ctx, c.key(key)) }))
	}
	return errors.Join(errs...)
}

// Expire ends the time of a key but keeps its value for StaleFor: the next reader loads
// it again, and gets the old value if that fails or takes too long.
func (c *Typed[V]) Expire(ctx context.Context, key string) error {
	w, err := c.want(key, nil)
	if err != nil {
		return err
	}
	if c.opts.StaleFor == 0 {
		return c.Delete(ctx, key)
	}
	if c.store == nil {
		e, _ := c.fromNear(key)
		if e == nil || e.absent {
			return c.Delete(ctx, key)
		}
		// With its own stamp: it bears its tags as before.
		c.coh.HashChanged(c.hash(key))
		before := c.stamp(&w)
		before.tags = e.stamp.tags
		c.keepNear(key, &reading[V]{value: e.value, life: c.opts.StaleFor}, before)
		return ctx.Err()
	}
	r, err := c.lookUp(ctx, &w)
	if err != nil || !r.found || r.absent {
		return errors.Join(err, c.Delete(ctx, key))
	}
	seen := r.data
	r.freshFor = 0
	data, err := c.encode(&r)
	if err != nil {
		return errors.Join(err, c.Delete(ctx, key))
	}
	return c.write(ctx, key, func(ctx context.Context) error {
		if c.comparer == nil {
			return c.store.Set(ctx, c.key(key), data, c.opts.StaleFor)
		}
		// What has come in its place meanwhile is not to be expired.
		_, err := c.comparer.Swap(ctx, c.key(key), seen, data, c.opts.StaleFor)
		return err
	})
}

// write changes a key in the store and makes what was read of it until now invalid.
func (c *Typed[V]) write(ctx context.Context, key string, f func(context.Context) error) error {
	unlock, err := c.stripes.lock(ctx, key)
	if err != nil {
		// Not written, but no load may bring back what the caller knows to be old.
		c.coh.HashChanged(c.hash(key))
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	defer unlock()
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	err = f(storeCtx)
	c.coh.HashChanged(c.hash(key)) // after the write: a load that began during it may have read the old value
	c.observe(ctx, key, err)
	if err != nil {
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	return nil
}

// observe counts what the store answered and logs changes of its state.
func (c *Typed[V]) observe(ctx context.Context, key string, err error) {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrUnavailable) {
		return // the caller left; that says nothing about the store
	}
	if errors.Is(err, ErrDegraded) {
		return // the fallback has done it
	}
	if err != nil {
		c.stats.storeErrors.Add(1)
		if hook := c.opts.Trace.StoreError; hook != nil {
			hook(ctx, c.name, key, err)
		}
	}
	if c.failing.changed(err != nil) {
		if err != nil {
			c.opts.Logger.WarnContext(ctx, "cache: the store fails; values are loaded instead", "cache", c.name, "error", err)
		} else {
			c.opts.Logger.InfoContext(ctx, "cache: the store works again", "cache", c.name)
		}
	}
}

func call(ctx context.Context, hook func(context.Context, string, string), name, key string) {
	if hook != nil {
		hook(ctx, name, key)
	}
}
