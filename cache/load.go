package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// leaseTTL is how long another process waits for one that died while it loaded.
	leaseTTL = 3 * time.Second
	// How often who waits for another process asks.
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// GetOrLoad returns the value of key, or loads it and keeps it. However many callers
// miss at once, one load runs, in all processes if the store is a [Leaser]: with the
// values of the first caller's context but not its end, and for LoadTimeout at most.
// Each caller waits for its own context only. The error is load's, the context's, or
// ErrEmptyKey; errors are not kept, but for ErrNotFound.
func (c *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	if e, fresh := c.fromNear(key); fresh {
		c.hit(ctx, key, true)
		if c.opts.EarlyRefresh > 0 && c.due(time.Duration(e.freshUntil-c.now()), e.took) {
			c.refresh(ctx, key, load)
		}
		if e.absent {
			return e.value, ErrNotFound
		}
		return e.value, nil
	}
	r, err := c.lookUp(ctx, key)
	if errors.Is(err, ErrEmptyKey) || ctx.Err() != nil || err != nil && r.err == nil {
		return r.value, err
	}
	if err == nil && r.fresh {
		if c.due(r.freshFor, r.took) {
			c.refresh(ctx, key, load)
		}
		return r.result()
	}
	own, joined := c.start(ctx, key, load, err != nil, false)
	if joined {
		c.stats.joined.Add(1)
	}
	value, stale, err := own.wait(ctx, c.opts.SoftTimeout)
	if stale {
		c.served(ctx, key)
	}
	return value, err
}

func (r *reading[V]) result() (V, error) {
	if r.absent {
		return r.value, ErrNotFound
	}
	return r.value, nil
}

// served notes that an old value was.
func (c *Typed[V]) served(ctx context.Context, key string) {
	c.stats.stale.Add(1)
	call(ctx, c.opts.Trace.Stale, c.name, key)
}

// start joins the flight of a key or begins it. down says that the store has just
// failed, which is not tried again then: each try may cost its whole timeout.
func (c *Typed[V]) start(ctx context.Context, key string, load func(context.Context) (V, error), down, early bool) (*flight[V], bool) {
	tags, err := c.tags(key)
	if err != nil {
		tags = c.ownTags // lookUp has refused the key before
	}
	now := func() stamp { return c.coh.stamp(c.hash(key), tags) }
	return c.flights.join(ctx, c.coh, key, now, c.opts.LoadTimeout, func(ctx context.Context, own *flight[V]) (V, error) {
		return c.fly(ctx, key, tags, load, own, down, early)
	})
}

// refresh loads a value that still may be served.
func (c *Typed[V]) refresh(ctx context.Context, key string, load func(context.Context) (V, error)) {
	select {
	case c.refreshing <- struct{}{}:
	default:
		return
	}
	own, joined := c.start(ctx, key, load, false, true)
	if joined {
		<-c.refreshing
		return
	}
	go func() {
		<-own.done
		<-c.refreshing
	}()
}

// permit is the right to store what is loaded.
type permit[V any] struct {
	token  string // of a lease; "" if the store grants none
	ok     bool
	down   bool        // the store failed, or has what only newer versions can read
	states []string    // of the tags, before the load
	old    *reading[V] // what may be served if the load fails
}

// fly loads a key for all who wait.
func (c *Typed[V]) fly(ctx context.Context, key string, tags []string, load func(context.Context) (V, error), own *flight[V], down, early bool) (V, error) {
	p, r := c.permission(ctx, key, tags, own, down, early)
	if r != nil {
		return r.result()
	}
	settled := false
	if p.token != "" {
		renewed := c.renew(ctx, key, p.token)
		defer func() {
			renewed()
			if !settled {
				c.release(ctx, key, p.token)
			}
		}()
	}
	start := time.Now()
	value, err := load(ctx)
	took := time.Since(start)
	c.stats.loads.Add(1)
	if err != nil {
		c.stats.loadErrors.Add(1)
	}
	if hook := c.opts.Trace.Loaded; hook != nil {
		hook(ctx, c.name, key, took, err)
	}
	absent := errors.Is(err, ErrNotFound)
	switch {
	case absent && c.opts.NotFoundTTL < 0:
	case err == nil || absent:
		fresh, life := c.jittered(c.ttl), c.opts.StaleFor
		if absent {
			var zero V
			value, fresh, life = zero, c.jittered(c.opts.NotFoundTTL), 0
		}
		r := &reading[V]{value: value, absent: absent, freshFor: fresh, life: fresh + life, took: took}
		settled = c.fill(ctx, key, r, p, own)
	case p.old != nil:
		c.served(ctx, key)
		own.rest = c.opts.ThrottleFor
		return p.old.value, nil
	}
	return value, err
}

// permission waits until the key may be loaded, or returns what another has loaded.
func (c *Typed[V]) permission(ctx context.Context, key string, tags []string, own *flight[V], down, early bool) (p permit[V], have *reading[V]) {
	if e, fresh := c.fromNear(key); e != nil && !e.absent && c.store == nil {
		old := &reading[V]{value: e.value}
		if fresh && !early {
			return p, old
		}
		p.old = old
		own.setOld(e.value)
	}
	if c.store == nil || down {
		p.ok, p.down = c.store == nil, down
		return p, nil
	}
	deadline := time.Now().Add(c.opts.LeaseWait)
	for pause := minPause; ; {
		r := c.read(ctx, key, tags)
		if r.err != nil {
			p.down = true
			return p, nil
		}
		p.states, p.old = r.states, nil
		switch {
		case r.fresh && (!early || !c.soon(&r)):
			c.keepNear(key, &r, own.stamp)
			return p, &r
		case r.found && !r.absent:
			p.old = &r
			own.setOld(r.value)
		}
		if r.newer {
			p.down = true // its own readers want it, and this process loads for itself
			return p, nil
		}
		if c.leaser == nil {
			p.ok = true
			return p, nil
		}
		state, token := LeaseHeld, newToken()
		for state == LeaseHeld {
			var err error
			if state, err = c.lease(ctx, key, token, r.data); err != nil {
				p.down = true
				return p, nil
			}
			switch {
			case state == LeaseGranted:
				p.token, p.ok = token, true
				return p, nil
			case early && r.fresh:
				return p, &r // somebody else refreshes it
			case !time.Now().Before(deadline) || ctx.Err() != nil:
				return p, nil
			case state == LeaseHeld:
				sleep(ctx, pause/2+rand.N(pause))
				pause = min(2*pause, maxPause)
			}
		}
	}
}

// soon reports whether a refresh of this value still makes sense: it may have been
// refreshed since it was found due.
func (c *Typed[V]) soon(r *reading[V]) bool { return r.freshFor < c.ttl/2 || r.took > r.freshFor/10 }

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *Typed[V]) lease(ctx context.Context, key, token string, seen []byte) (LeaseState, error) {
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	state, err := c.leaser.Lease(storeCtx, c.key(key), token, seen, leaseTTL)
	c.observe(ctx, key, err)
	return state, err
}

// renew keeps a lease until the function that it returns is called.
func (c *Typed[V]) renew(ctx context.Context, key, token string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(leaseTTL / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				// A lease that was lost is not taken again: what it protects is old.
				c.observe(ctx, key, c.extend(ctx, key, token))
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (c *Typed[V]) extend(ctx context.Context, key, token string) error {
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	return c.leaser.Extend(storeCtx, c.key(key), token, leaseTTL)
}

func (c *Typed[V]) release(ctx context.Context, key, token string) {
	storeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.StoreTimeout)
	defer cancel()
	c.observe(ctx, key, c.leaser.Release(storeCtx, c.key(key), token))
}

// fill keeps what a load brought, unless its key or a tag was written since it began.
// It reports whether the lease has ended.
func (c *Typed[V]) fill(ctx context.Context, key string, r *reading[V], p permit[V], own *flight[V]) (settled bool) {
	if !p.ok {
		if p.down { // memory keeps it meanwhile, no longer than the Coherence's limit
			c.keepNear(key, r, own.stamp)
		}
		return false
	}
	if c.store == nil {
		if !c.coh.valid(&own.stamp) {
			c.fenced(ctx, key)
			return true
		}
		c.keepNear(key, r, own.stamp)
		return true
	}
	data, err := c.encode(r.value, r.absent, r.freshFor, r.took, p.states)
	if errors.Is(err, ErrTooLarge) {
		c.stats.tooLarge.Add(1)
		return false
	}
	if err != nil {
		c.opts.Logger.ErrorContext(ctx, "cache: a value could not be stored", "cache", c.name, "error", err)
		return false
	}
	r.size = len(data)
	storeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.StoreTimeout)
	defer cancel()
	unlock, err := c.stripes.lock(storeCtx, key)
	if err != nil {
		return false
	}
	defer unlock()
	if !c.coh.valid(&own.stamp) {
		c.fenced(ctx, key)
		return false
	}
	kept := true
	if p.token != "" {
		kept, err = c.leaser.Fill(storeCtx, c.key(key), p.token, data, r.life)
	} else {
		err = c.store.Set(storeCtx, c.key(key), data, r.life)
	}
	c.observe(ctx, key, err)
	switch {
	case err != nil:
		return false
	case !kept:
		c.fenced(ctx, key)
	default:
		c.keepNear(key, r, own.stamp)
	}
	return true
}

func (c *Typed[V]) fenced(ctx context.Context, key string) {
	c.stats.fenced.Add(1)
	call(ctx, c.opts.Trace.Fenced, c.name, key)
}
