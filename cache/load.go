package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// GetOrLoad returns the value of key, or loads it and keeps it. However many callers
// miss at once, one load runs, in all processes if the store is a [Leaser]: with the
// values of the first caller's context but not its end, and for LoadTimeout at most.
// Each caller waits for its own context only. The error is load's, the context's, or
// ErrEmptyKey; errors are not kept, but for ErrNotFound. The load may call SetTags and
// SetTTL.
func (c *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(context.Context) (V, error), opts ...CallOption) (V, error) {
	if e, fresh := c.fromNear(key); fresh {
		c.hit(ctx, key, true)
		if c.opts.EarlyRefresh > 0 && c.due(time.Duration(e.freshUntil-c.now()), e.took) {
			if w, err := c.want(key, opts); err == nil {
				c.refresh(ctx, []want{w}, one(load))
			}
		}
		if e.absent {
			return e.value, ErrNotFound
		}
		return e.value, nil
	}
	w, err := c.want(key, opts)
	if err != nil {
		var none V
		return none, err
	}
	r, err := c.lookUp(ctx, &w)
	if err == nil && r.fresh {
		if c.due(r.freshFor, r.took) {
			c.refresh(ctx, []want{w}, one(load))
		}
		return r.result()
	}
	if ctx.Err() != nil {
		var none V
		return none, ctx.Err()
	}
	own, joined := c.start(ctx, []want{w}, one(load), err != nil, false)
	if joined > 0 {
		c.stats.joined.Add(1)
	}
	value, stale, err := own[0].wait(ctx, c.opts.SoftTimeout)
	c.served(ctx, key, stale)
	return value, err
}

// GetOrLoadMany is GetOrLoad of many keys: what is not in memory is read from the store
// in one round trip, or one for each node, and what is not there either is loaded with
// one call for all keys that nobody else, in any process, is loading already.
//
// The result has the keys that there are; what the load leaves out does not exist, and
// that is remembered as an ErrNotFound is. An error that the load returns is that of the
// keys it leaves out. With an error, such as the end of ctx, the result still has all
// keys that could be had. It is the caller's own.
func (c *Typed[V]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error), opts ...CallOption) (map[string]V, error) {
	out := make(map[string]V, len(keys))
	seen := make(map[string]bool, len(keys))
	var wants, due []want
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		w, err := c.want(key, opts)
		if err != nil {
			return nil, err
		}
		e, fresh := c.fromNear(key)
		if !fresh {
			wants = append(wants, w)
			continue
		}
		c.hit(ctx, key, true)
		if !e.absent {
			out[key] = e.value
		}
		if c.opts.EarlyRefresh > 0 && c.due(time.Duration(e.freshUntil-c.now()), e.took) {
			due = append(due, w)
		}
	}
	if err := ctx.Err(); err != nil {
		return out, err
	}
	var missing []want
	down := false
	if len(wants) > 0 {
		rs := c.lookUpAll(ctx, wants)
		if err := ctx.Err(); err != nil {
			return out, err
		}
		for i := range rs {
			r, w := &rs[i], wants[i]
			switch {
			case !r.fresh:
				missing, down = append(missing, w), down || r.err != nil
				continue
			case !r.absent:
				out[w.key] = r.value
			}
			if c.due(r.freshFor, r.took) {
				due = append(due, w)
			}
		}
	}
	if len(due) > 0 {
		c.refresh(ctx, due, many(load))
	}
	if len(missing) == 0 {
		return out, nil
	}
	own, joined := c.start(ctx, missing, many(load), down, false)
	c.stats.joined.Add(uint64(joined))
	return out, c.collect(ctx, own, out)
}

// collect waits for flights and adds their values to out.
func (c *Typed[V]) collect(ctx context.Context, own []seat[V], out map[string]V) error {
	var errs []error
	failed := map[string]bool{}
	soft := c.opts.SoftTimeout
	began := time.Now()
	for _, f := range own {
		if soft > 0 { // one wait for all of them
			soft = max(c.opts.SoftTimeout-time.Since(began), time.Nanosecond)
		}
		value, stale, err := f.wait(ctx, soft)
		switch {
		case err == nil:
			out[f.key] = value
			c.served(ctx, f.key, stale)
		case errors.Is(err, ErrNotFound):
		case ctx.Err() != nil:
			return errors.Join(append(errs, err)...)
		case !failed[err.Error()]: // keys of one load share its error
			failed[err.Error()] = true
			errs = append(errs, fmt.Errorf("cache: %s: %q: %w", c.name, f.key, err))
		}
	}
	return errors.Join(errs...)
}

func (r *reading[V]) result() (V, error) {
	if r.absent {
		return r.value, ErrNotFound
	}
	return r.value, nil
}

// served notes that an old value was, if there is a reason.
func (c *Typed[V]) served(ctx context.Context, key string, why StaleReason) {
	switch why {
	case StaleLoadFailed:
		c.stats.staleFailed.Add(1)
	case StaleLoadSlow:
		c.stats.staleSlow.Add(1)
	case StaleThrottled:
		c.stats.staleThrottled.Add(1)
	default:
		return
	}
	if hook := c.opts.Trace.Stale; hook != nil {
		hook(ctx, c.name, key, why)
	}
}

// outcome is what a load brought for one key.
type outcome[V any] struct {
	value V
	err   error
}

// loader loads keys; the outcomes are in their order.
type loader[V any] func(ctx context.Context, keys []string) []outcome[V]

func one[V any](load func(context.Context) (V, error)) loader[V] {
	return func(ctx context.Context, _ []string) []outcome[V] {
		value, err := load(ctx)
		return []outcome[V]{{value, err}}
	}
}

func many[V any](load func(context.Context, []string) (map[string]V, error)) loader[V] {
	return func(ctx context.Context, keys []string) []outcome[V] {
		values, err := load(ctx, append([]string(nil), keys...))
		if err == nil {
			err = ErrNotFound
		}
		out := make([]outcome[V], len(keys))
		for i, key := range keys {
			if value, ok := values[key]; ok {
				out[i].value = value
			} else {
				out[i].err = err
			}
		}
		return out
	}
}

// start joins the flights of keys and begins those that there are not. down says that
// the store has just failed, which is not tried again then: each try may cost its whole
// timeout.
func (c *Typed[V]) start(ctx context.Context, wants []want, load loader[V], down, early bool) (all []seat[V], joined int) {
	all = make([]seat[V], len(wants))
	var jobs []*job[V]
	for i := range wants {
		w := &wants[i]
		own, ok := c.flights.claim(c.coh, w.key, func() stamp { return c.stamp(w) })
		if all[i] = own; ok {
			joined++
		} else {
			jobs = append(jobs, &job[V]{want: *w, flight: own.flight})
		}
	}
	if len(jobs) > 0 {
		go c.fly(context.WithoutCancel(ctx), jobs, load, down, early)
	}
	return all, joined
}

// refresh loads values that still may be served.
func (c *Typed[V]) refresh(ctx context.Context, wants []want, load loader[V]) {
	select {
	case c.refreshing <- struct{}{}:
	default:
		return
	}
	own, _ := c.start(ctx, wants, load, false, true)
	go func() {
		for _, f := range own {
			<-f.done
		}
		<-c.refreshing
	}()
}
