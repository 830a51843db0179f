package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options tune a [Typed]. The zero value and nil work.
type Options struct {
	// Codec stores the values. Default: Msgpack().
	Codec Codec
	// Schema names the form of V, such as "2": values of another schema are misses, so
	// raise it when V changes its meaning. Up to 32 bytes. Default: "".
	Schema string
	// LoadTimeout bounds one load. Default: 30 s.
	LoadTimeout time.Duration
	// StoreTimeout bounds one call of the store. Default: 500 ms.
	StoreTimeout time.Duration
	// Logger is told when the store begins to fail and when it works again, and of
	// values that cannot be read. Default: slog.Default().
	Logger *slog.Logger
	// Trace is told what happens. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks; nil ones are skipped. They are called in the goroutine that
// they report on, with no lock held.
type Trace struct {
	Hit        func(ctx context.Context, name, key string)
	Miss       func(ctx context.Context, name, key string)
	Loaded     func(ctx context.Context, name, key string, took time.Duration, err error)
	Fenced     func(ctx context.Context, name, key string) // a load was not kept: its key was written meanwhile
	BadPayload func(ctx context.Context, name, key string, reason error)
	StoreError func(ctx context.Context, name, key string, err error)
}

// Typed keeps values of one type under keys of its own name. It is safe for concurrent
// use; make one for each kind of value, at start.
type Typed[V any] struct {
	store   Cache
	name    string
	ttl     time.Duration
	opts    Options
	flights flights[V]
	stripes *stripes
	stats   counters
	failing stateLog
}

// New returns a cache of values of type V in store, under the name and a colon before
// each key, for ttl each. Two of one name in one store share their values and must have
// the same V. opts may be nil.
func New[V any](store Cache, name string, ttl time.Duration, opts *Options) (*Typed[V], error) {
	c := &Typed[V]{store: store, name: name, ttl: ttl, stripes: newStripes()}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Codec == nil {
		c.opts.Codec = Msgpack()
	}
	if c.opts.LoadTimeout == 0 {
		c.opts.LoadTimeout = 30 * time.Second
	}
	if c.opts.StoreTimeout == 0 {
		c.opts.StoreTimeout = 500 * time.Millisecond
	}
	if c.opts.Logger == nil {
		c.opts.Logger = slog.Default()
	}
	if c.opts.Trace == nil {
		c.opts.Trace = &Trace{}
	}
	codec := c.opts.Codec.Name()
	switch {
	case store == nil:
		return nil, errors.New("cache: New needs a store")
	case name == "":
		return nil, errors.New("cache: New needs a name; it keeps the keys of different caches apart")
	case ttl < time.Millisecond:
		return nil, fmt.Errorf("cache: %s: %w", name, ErrInvalidTTL)
	case codec == "" || len(codec) > 16:
		return nil, fmt.Errorf("cache: %s: the codec's name %q must have 1 to 16 bytes", name, codec)
	case len(c.opts.Schema) > 32:
		return nil, fmt.Errorf("cache: %s: Schema must have at most 32 bytes", name)
	case c.opts.LoadTimeout < 0 || c.opts.StoreTimeout < 0:
		return nil, fmt.Errorf("cache: %s: a timeout is negative", name)
	}
	return c, nil
}

// Name returns the name that New was given.
func (c *Typed[V]) Name() string { return c.name }

// Get returns the value of key, and false if there is none. A value that cannot be read
// back is absent. The error is the store's.
func (c *Typed[V]) Get(ctx context.Context, key string) (value V, found bool, err error) {
	if key == "" {
		return value, false, ErrEmptyKey
	}
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	data, found, err := c.store.Get(storeCtx, c.key(key))
	c.observe(ctx, key, err)
	if err != nil {
		return value, false, fmt.Errorf("cache: %s: %w", c.name, err)
	}
	if found {
		value, found = c.decode(ctx, key, data)
	}
	if found {
		c.stats.hits.Add(1)
		call(c.opts.Trace.Hit, ctx, c.name, key)
	} else {
		c.stats.misses.Add(1)
		call(c.opts.Trace.Miss, ctx, c.name, key)
	}
	return value, found, nil
}

// Set stores a value. No load that runs now will replace it.
func (c *Typed[V]) Set(ctx context.Context, key string, value V) error {
	if key == "" {
		return ErrEmptyKey
	}
	data, err := c.encode(value)
	if err != nil {
		return err
	}
	return c.write(ctx, key, func(ctx context.Context) error { return c.store.Set(ctx, c.key(key), data, c.ttl) })
}

// Delete removes keys. Once it has returned nil, nobody in this process gets a value
// that was loaded before. When it fails, old values may live until their time ends:
// the caller should say so or try again.
func (c *Typed[V]) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	for _, key := range keys {
		if key == "" {
			return ErrEmptyKey
		}
		errs = append(errs, c.write(ctx, key, func(ctx context.Context) error { return c.store.Delete(ctx, c.key(key)) }))
	}
	return errors.Join(errs...)
}

// write changes a key in the store and makes the loads that run now keep nothing.
func (c *Typed[V]) write(ctx context.Context, key string, f func(context.Context) error) error {
	unlock, err := c.stripes.lock(ctx, key)
	if err != nil {
		// Not written, but no load may bring back what the caller knows to be old.
		c.flights.forget(key)
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	defer unlock()
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	err = f(storeCtx)
	c.flights.forget(key) // after the write: a load that began during it may have read the old value
	c.observe(ctx, key, err)
	if err != nil {
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	return nil
}

// GetOrLoad returns the value of key, or loads it and keeps it. However many callers
// miss at once, one load runs: with the values of the first caller's context but not
// its end, and for LoadTimeout at most. Each caller waits for its own context only. The
// error is load's, the context's, or ErrEmptyKey; errors are not kept.
func (c *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	value, found, err := c.Get(ctx, key)
	if found || errors.Is(err, ErrEmptyKey) {
		return value, err
	}
	if ctx.Err() != nil {
		return value, ctx.Err()
	}
	value, joined, err := c.flights.do(ctx, key, c.opts.LoadTimeout, func(ctx context.Context, own *flight[V]) (V, error) {
		// An earlier flight may have ended between our miss and this one's start.
		if value, found, err := c.Get(ctx, key); found && err == nil {
			return value, nil
		}
		start := time.Now()
		value, err := load(ctx)
		c.stats.loads.Add(1)
		if err != nil {
			c.stats.loadErrors.Add(1)
		}
		if hook := c.opts.Trace.Loaded; hook != nil {
			hook(ctx, c.name, key, time.Since(start), err)
		}
		if err == nil {
			c.fill(ctx, key, value, own)
		}
		return value, err
	})
	if joined {
		c.stats.joined.Add(1)
	}
	return value, err
}

// fill keeps what a load brought, unless the key was written since it began.
func (c *Typed[V]) fill(ctx context.Context, key string, value V, own *flight[V]) {
	data, err := c.encode(value)
	if err != nil {
		c.opts.Logger.ErrorContext(ctx, "cache: a value could not be stored", "cache", c.name, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.StoreTimeout)
	defer cancel()
	unlock, err := c.stripes.lock(ctx, key)
	if err != nil {
		return
	}
	defer unlock()
	if c.flights.isStale(own) {
		c.stats.fenced.Add(1)
		call(c.opts.Trace.Fenced, ctx, c.name, key)
		return
	}
	c.observe(ctx, key, c.store.Set(ctx, c.key(key), data, c.ttl))
}

func (c *Typed[V]) key(key string) string { return c.name + ":" + key }

func (c *Typed[V]) encode(value V) ([]byte, error) {
	payload, err := c.opts.Codec.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("cache: %s: encode with %s: %w", c.name, c.opts.Codec.Name(), err)
	}
	return seal(c.opts.Codec.Name(), c.opts.Schema, payload), nil
}

// decode reads a stored value; what cannot be read is a miss.
func (c *Typed[V]) decode(ctx context.Context, key string, data []byte) (value V, ok bool) {
	payload, err := open(c.opts.Codec.Name(), c.opts.Schema, data)
	if err == nil {
		err = c.unmarshal(payload, &value)
	}
	if err == nil {
		return value, true
	}
	c.stats.badPayloads.Add(1)
	if hook := c.opts.Trace.BadPayload; hook != nil {
		hook(ctx, c.name, key, err)
	}
	var zero V
	return zero, false
}

// unmarshal contains the panics of codecs that trust their input.
func (c *Typed[V]) unmarshal(payload []byte, value *V) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cache: the codec panicked: %v", v)
		}
	}()
	return c.opts.Codec.Unmarshal(payload, value)
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

func call(hook func(context.Context, string, string), ctx context.Context, name, key string) {
	if hook != nil {
		hook(ctx, name, key)
	}
}
