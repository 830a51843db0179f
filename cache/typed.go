package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Typed is a cache of values of one type. It is safe for concurrent use. Create one for
// each kind of value, at the start of the service.
type Typed[V any] struct {
	name string
	ttl  time.Duration
	opts Options[V]

	store  driver.Store // nil if memory is the only tier
	bounds bool         // the store bounds its calls by StoreTimeout or less
	shared bool         // other processes use the same values
	memory *driver.Memory
	owner  uint64
	seed   uint64   // of the hashes of keys
	tags   []string // tags of keys without other tags
	hashes []uint64 // of tags
	schema string   // Options.Schema and the fingerprint of V
	weigh  func(V) int64

	calls      calls[V]
	offers     offers[V]
	scratches  sync.Pool
	background chan struct{} // one element for each load without a waiting caller
	stats      counters
	failing    stateLog
}

// maxBackground is the largest number of loads without a waiting caller.
const maxBackground = 16

// New returns a cache of values of type V. Each value lives for ttl in the store. Its key
// in the store is name, a colon and the key. Two caches with the same name on one store
// share their values and must have the same V.
//
// With a nil store the values exist in this process only, and are never encoded. opts may
// be nil.
func New[V any](store driver.Store, name string, ttl time.Duration, opts *Options[V]) (*Typed[V], error) {
	c := &Typed[V]{name: name, ttl: ttl, store: store, background: make(chan struct{}, maxBackground)}
	if opts != nil {
		c.opts = *opts
	}
	if err := c.opts.complete(name, ttl); err != nil {
		return nil, err
	}
	if strings.Contains(name, ":") {
		return nil, fmt.Errorf("cache: the name %q must not contain a colon", name)
	}
	switch {
	case c.opts.NoMemory && (store == nil || store.Capabilities().MemoryOnly):
		return nil, fmt.Errorf("cache: %s: NoMemory needs a store with another tier than memory", name)
	case store == nil:
		c.memory = driver.NewMemory(c.opts.MaxBytes)
	case c.opts.MaxBytes != 0:
		return nil, fmt.Errorf("cache: %s: the caches of one store share its memory: set MaxBytes of the store", name)
	default:
		caps := store.Capabilities()
		c.shared = caps.Shared
		c.bounds = caps.Timeout > 0 && caps.Timeout <= c.opts.StoreTimeout
		if c.memory = caps.Memory; caps.MemoryOnly {
			c.store = nil
		}
	}
	c.schema = c.opts.Schema + fingerprint[V](c.opts.Codec)
	c.weigh = weigher(c.opts.Weigh)
	c.seed, c.tags = xxh3.HashString(name), []string{clearTag(name)}
	c.hashes = []uint64{driver.TagHash(c.tags[0])}
	c.owner = c.memory.Register(c.tags[0])
	c.calls.memory = c.memory
	return c, nil
}

// Name returns the name that New received.
func (c *Typed[V]) Name() string { return c.name }

// Get returns the value of key, and false if there is none. A value that cannot be decoded
// is absent. The error is that of the store.
func (c *Typed[V]) Get(ctx context.Context, key string) (value V, found bool, err error) {
	if e, fresh := c.find(key); fresh {
		c.hitLocal(ctx, e)
		if e.Extra != nil && e.Extra.Absent {
			return value, false, nil
		}
		return c.valueOf(e), true, nil
	}
	w, err := c.want(key, nil)
	if err != nil {
		return value, false, err
	}
	if err := ctx.Err(); err != nil {
		return value, false, err
	}
	ticket := c.memory.Begin()
	defer c.memory.End(ticket)
	mem := c.borrow(w)
	defer c.giveBack(mem)
	r := &c.lookUp(ctx, ticket, mem.wants[:], mem)[0]
	if r.err != nil || !r.fresh || r.absent {
		return value, false, r.err
	}
	return c.clone(r.value), true, nil
}

// Set stores a value. No running load of the key, in any process, stores its value. In
// Redis it takes two round trips, so that a value that arrives late replaces no later write.
func (c *Typed[V]) Set(ctx context.Context, key string, value V, opts ...CallOption) error {
	return c.SetMany(ctx, map[string]V{key: value}, opts...)
}

// SetMany stores values in as many round trips as Set, or as many for each node. If a value cannot be
// stored, its key is deleted, so that no caller receives an older value. The other values
// are stored. The error joins the errors of all keys.
func (c *Typed[V]) SetMany(ctx context.Context, values map[string]V, opts ...CallOption) error {
	var errs []error
	var wants []want
	for key := range values {
		w, err := c.want(key, opts)
		switch {
		case err == nil:
			wants = append(wants, w)
		case key == "":
			errs = append(errs, err)
		default:
			errs = append(errs, err, c.Delete(ctx, key)) // the old value is deleted in any case
		}
	}
	if c.store == nil {
		for i := range wants {
			w := &wants[i]
			c.memory.InvalidateKey(w.hash)
			ticket := c.memory.Begin()
			c.keep(ticket, w, &reading[V]{value: c.clone(values[w.key]), fresh: true, freshFor: w.ttl, life: c.life(w.ttl)})
			c.memory.End(ticket)
		}
		return errors.Join(append(errs, ctx.Err())...)
	}
	if len(wants) == 0 {
		return errors.Join(errs...)
	}
	rs := make([]reading[V], len(wants))
	for i := range wants {
		rs[i] = reading[V]{value: values[wants[i].key], freshFor: wants[i].ttl, life: c.life(wants[i].ttl)}
	}
	c.ensureStates(ctx, wants, rs)
	ops := make([]driver.Op, len(wants))
	for i := range wants {
		w, r := &wants[i], &rs[i]
		ops[i] = driver.Op{Kind: driver.Delete, Key: c.key(w.key)}
		data, err := c.encode(w, r)
		switch {
		case r.err != nil && (errors.Is(r.err, ErrUnavailable) || ctx.Err() != nil): // Delete will return the same error
		case r.err != nil:
			errs = append(errs, fmt.Errorf("cache: %s: %w", c.name, r.err))
		case err != nil:
			errs = append(errs, err)
		default:
			ops[i] = driver.Op{Kind: driver.Set, Key: ops[i].Key, Value: data, TTL: r.life}
		}
	}
	for i, err := range c.write(ctx, ops) {
		if errors.Is(err, ErrPending) { // this process reads its own write
			ticket := c.memory.Begin()
			rs[i].value, rs[i].outage = c.clone(rs[i].value), true
			c.keep(ticket, &wants[i], &rs[i])
			c.memory.End(ticket)
		}
		errs = append(errs, c.written(err))
	}
	return errors.Join(errs...)
}

// Delete removes keys in one round trip, or one for each node. After it has returned nil,
// no caller in this process receives a value that was loaded before, and no process stores
// such a value. If it fails, old values may live until their time to live ends: repeat it,
// or report it. An empty key is an error, and the other keys are deleted. If ctx ends first,
// Delete returns its error at once, and still deletes the keys within StoreTimeout. So do
// all other writes.
func (c *Typed[V]) Delete(ctx context.Context, keys ...string) error {
	var empty error
	ops := make([]driver.Op, 0, len(keys))
	for _, key := range keys {
		switch {
		case key == "":
			empty = ErrEmptyKey
		case c.store == nil:
			c.memory.InvalidateKey(c.hash(key))
		default:
			ops = append(ops, driver.Op{Kind: driver.Delete, Key: c.key(key)})
		}
	}
	if len(ops) == 0 {
		return empty
	}
	return errors.Join(empty, c.join(c.write(ctx, ops)))
}

// Expire ends the freshness of a key but keeps its value for Options.StaleFor. The next
// reader loads the key again. It receives the old value if that fails or takes too long.
// Without StaleFor, Expire is Delete.
func (c *Typed[V]) Expire(ctx context.Context, key string) error {
	w, err := c.want(key, nil)
	if err != nil {
		return err
	}
	if c.opts.StaleFor == 0 {
		return c.Delete(ctx, key)
	}
	if c.store != nil {
		return c.join(c.write(ctx, []driver.Op{{Kind: driver.Expire, Key: c.key(key), TTL: c.opts.StaleFor}}))
	}
	c.memory.Expire(w.hash, c.opts.StaleFor)
	return ctx.Err()
}

// InvalidateTags makes all keys with any of the tags absent, in every cache on the same
// store. It takes the same time for any number of keys. After it has returned nil, the
// store and this process return no value that was loaded before.
func (c *Typed[V]) InvalidateTags(ctx context.Context, tags ...string) error {
	return c.invalidate(ctx, userTags(tags))
}

// Clear makes all keys of this cache absent, as InvalidateTags does. It frees no memory of
// Redis: the values stay there until their time to live ends.
func (c *Typed[V]) Clear(ctx context.Context) error { return c.invalidate(ctx, c.tags) }

func (c *Typed[V]) invalidate(ctx context.Context, tags []string) error {
	ops := make([]driver.Op, len(tags))
	for i, tag := range tags {
		if hash := driver.TagHash(tag); c.store == nil {
			c.memory.InvalidateTag(hash)
		} else {
			c.memory.Announce(hash)
		}
		ops[i] = driver.Op{Kind: driver.Invalidate, Key: tag}
	}
	if c.store == nil || len(tags) == 0 {
		return nil
	}
	return c.join(c.write(ctx, ops))
}

// write executes operations and returns their errors. Afterwards no value from an earlier
// read is kept in memory, even if the operations fail. If ctx ends first, the operations
// that failed are repeated without it, because the source has usually changed already. A
// Set becomes a Delete then: the caller may reuse the value.
func (c *Typed[V]) write(ctx context.Context, ops []driver.Op) []error {
	c.do(ctx, ops)
	errs := make([]error, len(ops))
	var again []driver.Op
	for i := range ops {
		op := &ops[i]
		if errs[i] = op.Err; op.Err == nil {
			continue
		}
		if op.Kind == driver.Invalidate {
			c.memory.InvalidateTag(driver.TagHash(op.Key))
		} else {
			c.memory.InvalidateKey(driver.KeyHash(op.Key))
		}
		if ctx.Err() != nil && !errors.Is(op.Err, ErrPending) {
			repeat := driver.Op{Kind: op.Kind, Key: op.Key, TTL: op.TTL}
			if op.Kind == driver.Set {
				repeat = driver.Op{Kind: driver.Delete, Key: op.Key}
			}
			again = append(again, repeat)
		}
	}
	if len(again) > 0 {
		go c.do(context.WithoutCancel(ctx), again)
	}
	return errs
}

// written converts the error of a write for the caller.
func (c *Typed[V]) written(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrPending) && !c.opts.Strict:
		return nil
	case errors.Is(err, ErrPending):
		return ErrPending
	}
	return fmt.Errorf("cache: %s: %w", c.name, err)
}

func (c *Typed[V]) join(errs []error) error {
	for i, err := range errs {
		errs[i] = c.written(err)
	}
	return errors.Join(errs...)
}

// NewMemory returns a store for caches that share at most maxBytes of the memory of this
// process and have no other tier. 0 means 64 MiB.
func NewMemory(maxBytes int64) driver.Store { return driver.InMemory(driver.NewMemory(maxBytes)) }
