package cache

import (
	"context"
	"errors"
	"fmt"
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
	c := &Typed[V]{abilities: abilitiesOf(store), name: name, ttl: ttl, stripes: newStripes(), base: time.Now(), refreshing: make(chan struct{}, maxRefreshing)}
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
	for _, from := range []any{store, c.near} {
		if s, ok := from.(Coherent); ok && c.coh == nil {
			c.coh = s.Coherence()
		}
	}
	if c.coh == nil {
		c.coh = NewCoherence()
	}
	return c, nil
}

func clearTag(name string) string { return "all:" + name }
func userTag(tag string) string   { return "tag:" + tag }

// Name returns the name that New was given.
func (c *Typed[V]) Name() string { return c.name }

func (c *Typed[V]) key(key string) string { return c.name + ":" + key }

func (c *Typed[V]) hash(key string) uint64 { return xxh3.HashStringSeed(key, c.seed) }

// tags are those of a key and the one of all keys, which Clear invalidates.
func (c *Typed[V]) tags(key string) ([]string, error) {
	if c.opts.Tags == nil {
		return c.ownTags, nil
	}
	own := c.opts.Tags(key)
	if len(own) > maxTags {
		return nil, fmt.Errorf("cache: %s: %d tags; a key has at most %d", c.name, len(own), maxTags)
	}
	tags := make([]string, 0, 1+len(own))
	tags = append(tags, c.ownTags...)
	for _, tag := range own {
		tags = append(tags, userTag(tag))
	}
	return tags, nil
}

// Get returns the value of key, and false if there is none. A value that cannot be read
// back is absent. The error is the store's.
func (c *Typed[V]) Get(ctx context.Context, key string) (value V, found bool, err error) {
	if e, fresh := c.fromNear(key); fresh {
		c.hit(ctx, key, true)
		return e.value, !e.absent, nil
	}
	r, err := c.lookUp(ctx, key)
	if err != nil || !r.fresh {
		return value, false, err
	}
	return r.value, !r.absent, nil
}

// lookUp reads the store and counts. Values of the store are kept near.
func (c *Typed[V]) lookUp(ctx context.Context, key string) (r reading[V], err error) {
	if key == "" {
		return r, ErrEmptyKey
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	tags, err := c.tags(key)
	if err != nil {
		return r, err
	}
	before := c.coh.stamp(c.hash(key), tags)
	r = c.read(ctx, key, tags)
	if r.err != nil {
		return r, fmt.Errorf("cache: %s: %w", c.name, r.err)
	}
	if r.fresh {
		c.keepNear(key, &r, before)
		c.hit(ctx, key, false)
	} else {
		c.stats.misses.Add(1)
		call(ctx, c.opts.Trace.Miss, c.name, key)
	}
	return r, nil
}

func (c *Typed[V]) hit(ctx context.Context, key string, near bool) {
	if near {
		c.stats.nearHits.add()
	} else {
		c.stats.hits.Add(1)
	}
	if hook := c.opts.Trace.Hit; hook != nil {
		hook(ctx, c.name, key)
	}
}

// Set stores a value. No load that runs now will replace it, in any process if the
// store is a [Leaser].
func (c *Typed[V]) Set(ctx context.Context, key string, value V) error {
	return c.put(ctx, key, value, c.ttl, c.ttl+c.opts.StaleFor)
}

// put stores a value that is fresh for some of its life.
func (c *Typed[V]) put(ctx context.Context, key string, value V, fresh, life time.Duration) error {
	if key == "" {
		return ErrEmptyKey
	}
	if c.store == nil {
		c.coh.HashChanged(c.hash(key))
		tags, err := c.tags(key)
		if err != nil {
			return err
		}
		c.keepNear(key, &reading[V]{value: value, freshFor: fresh, life: life}, c.coh.stamp(c.hash(key), tags))
		return ctx.Err()
	}
	tags, err := c.tags(key)
	if err != nil {
		return err
	}
	states, err := c.states(ctx, tags)
	if err != nil {
		return errors.Join(err, c.Delete(ctx, key)) // the old value must go all the same
	}
	data, err := c.encode(value, false, fresh, 0, states)
	if err != nil {
		return errors.Join(err, c.Delete(ctx, key))
	}
	return c.write(ctx, key, func(ctx context.Context) error { return c.store.Set(ctx, c.key(key), data, life) })
}

// states returns the states of tags.
func (c *Typed[V]) states(ctx context.Context, tags []string) ([]string, error) {
	if c.tagger == nil {
		return c.coh.localTags(tags), nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	_, states, err := c.tagger.Read(ctx, nil, tags)
	return states, err
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
	if c.opts.StaleFor == 0 {
		return c.Delete(ctx, key)
	}
	if c.store == nil {
		e, _ := c.fromNear(key)
		if e == nil || e.absent {
			return c.Delete(ctx, key)
		}
		return c.put(ctx, key, e.value, 0, c.opts.StaleFor)
	}
	r, err := c.lookUp(ctx, key)
	if err != nil || !r.found || r.absent {
		return errors.Join(err, c.Delete(ctx, key))
	}
	return c.put(ctx, key, r.value, 0, c.opts.StaleFor)
}

// InvalidateTags makes absent all keys that bear any of the tags, in every cache on the
// same store, in a time that does not depend on their number. Once it has returned nil
// no value that was loaded before is served by the store, nor by this process.
func (c *Typed[V]) InvalidateTags(ctx context.Context, tags ...string) error {
	full := make([]string, len(tags))
	for i, tag := range tags {
		full[i] = userTag(tag)
	}
	return c.invalidate(ctx, full)
}

// Clear makes all keys of this cache absent, as InvalidateTags does, and touches no
// other.
func (c *Typed[V]) Clear(ctx context.Context) error { return c.invalidate(ctx, c.ownTags) }

func (c *Typed[V]) invalidate(ctx context.Context, tags []string) (err error) {
	if len(tags) == 0 {
		return nil
	}
	if c.tagger != nil {
		storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
		defer cancel()
		err = c.tagger.InvalidateTags(storeCtx, tags...)
		c.observe(ctx, "", err)
	}
	for _, tag := range tags {
		c.coh.TagChanged(tag) // after the store: what was read during the call may be old
	}
	if err != nil {
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	return nil
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
