package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// ErrNotFound is the error of a load, wrapped or not, for a key without a value. GetOrLoad
// returns it for Options.NotFoundTTL without another load.
var ErrNotFound = errors.New("cache: there is no such thing")

// GetOrLoad returns the value of key, or loads and stores it. If many callers miss at the
// same time, one load runs, among all processes if the store is shared. The load receives
// the values of the first caller's context but not its cancellation, and has a limit of
// LoadTimeout. Each caller waits for its own context only. The error is that of the load or
// of the context, or ErrEmptyKey. No error is stored except ErrNotFound.
//
// The load may call SetTags, SetTTL, DoNotKeep and Old.
func (c *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(context.Context) (V, error), opts ...CallOption) (V, error) {
	e, fresh := c.find(key)
	if !fresh {
		return c.loadOne(ctx, key, load, opts)
	}
	c.hitLocal(ctx, e)
	if e.Extra == nil {
		return c.valueOf(e), nil
	}
	if c.due(time.Duration(e.FreshUntil-c.memory.Now()), e.Extra.Took) {
		if w, err := c.want(key, opts); err == nil {
			c.refresh(ctx, []want{w}, one(load))
		}
	}
	if e.Extra.Absent {
		return c.valueOf(e), ErrNotFound
	}
	c.audit(ctx, key, c.valueOf(e), time.Unix(0, e.Extra.LoadedAt), load)
	return c.valueOf(e), nil
}

// loadOne is GetOrLoad of a key that is not in the local tier.
func (c *Typed[V]) loadOne(ctx context.Context, key string, load func(context.Context) (V, error), opts []CallOption) (none V, _ error) {
	w, err := c.want(key, opts)
	if err != nil {
		return none, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return none, err
		}
		ticket, seq := c.memory.Begin(), c.memory.Seq()
		mem := c.borrow(w)
		wants := mem.wants[:]
		rs := c.lookUp(ctx, ticket, wants, mem)
		if r := &rs[0]; r.err == nil && r.fresh {
			c.memory.End(ticket)
			if c.due(r.freshFor, r.took) {
				c.refresh(ctx, slices.Clone(wants), one(load))
			}
			value, err := r.result()
			if err == nil {
				c.audit(ctx, key, value, r.loaded, load)
			}
			c.giveBack(mem)
			return c.clone(value), err
		}
		if err := ctx.Err(); err != nil {
			c.memory.End(ticket)
			return none, err
		}
		all, joined := c.start(ctx, ticket, seq, wants, rs, one(load), false)
		c.stats.joined.Add(uint64(joined)) //nolint:gosec // not negative
		value, stale, again, err := all[0].wait(ctx, c.memory, c.opts.SoftTimeout)
		if again {
			continue
		}
		c.served(ctx, key, stale)
		return c.clone(value), err
	}
}

// GetOrLoadMany is GetOrLoad of many keys. Keys that are not in memory are read from the
// store in one round trip, or one for each node. One call of load loads the keys that are
// not in the store either. It leaves out keys that another call, in any process, is already
// loading.
//
// The result has the keys that exist. If load leaves a key out, the key does not exist, and
// this is remembered as an ErrNotFound. An error of load applies to the keys that load
// leaves out. With an error, such as the end of ctx, the result still has all available
// values. The caller owns the map.
func (c *Typed[V]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error), opts ...CallOption) (map[string]V, error) {
	out := make(map[string]V, len(keys))
	wants, due, err := c.fromMemory(ctx, keys, opts, out)
	if err != nil {
		return out, err
	}
	var errs []error
	for len(wants) > 0 {
		var missing []want
		var missed []reading[V]
		ticket, seq := c.memory.Begin(), c.memory.Seq()
		rs := c.lookUp(ctx, ticket, wants, nil)
		for i := range rs {
			r, w := &rs[i], wants[i]
			switch {
			case r.err != nil || !r.fresh:
				missing, missed = append(missing, w), append(missed, *r)
				continue
			case !r.absent:
				out[w.key] = c.clone(r.value)
			}
			if c.due(r.freshFor, r.took) {
				due = append(due, w)
			}
		}
		if ctx.Err() != nil || len(missing) == 0 {
			c.memory.End(ticket)
			errs = append(errs, ctx.Err())
			break
		}
		all, joined := c.start(ctx, ticket, seq, missing, missed, many(load), false)
		c.stats.joined.Add(uint64(joined)) //nolint:gosec // not negative
		again, err := c.collect(ctx, all, out)
		errs = append(errs, err)
		wants = wants[:0]
		for _, w := range missing {
			if again[w.key] {
				wants = append(wants, w)
			}
		}
	}
	if len(due) > 0 {
		c.refresh(ctx, due, many(load))
	}
	return out, errors.Join(errs...)
}

// collect waits for calls and adds their values to out. The caller must look up the keys in
// again once more.
func (c *Typed[V]) collect(ctx context.Context, all []waiter[V], out map[string]V) (again map[string]bool, err error) {
	var errs []error
	failed := map[string]bool{}
	soft := c.opts.SoftTimeout
	began := time.Now()
	for _, f := range all {
		if soft > 0 { // all calls share one wait
			soft = max(c.opts.SoftTimeout-time.Since(began), time.Nanosecond)
		}
		value, stale, repeat, err := f.wait(ctx, c.memory, soft)
		switch {
		case repeat:
			if again == nil {
				again = map[string]bool{}
			}
			again[f.key] = true
		case err == nil:
			out[f.key] = c.clone(value)
			c.served(ctx, f.key, stale)
		case errors.Is(err, ErrNotFound):
		case ctx.Err() != nil:
			return nil, errors.Join(append(errs, err)...)
		case !failed[err.Error()]: // keys of one load share its error
			failed[err.Error()] = true
			errs = append(errs, fmt.Errorf("cache: %s: %q: %w", c.name, f.key, err))
		}
	}
	return again, errors.Join(errs...)
}

// served counts an old value that was served, if there is a reason.
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
		hook(ctx, StaleEvent{c.name, key, why})
	}
}

// Func returns fn with its results stored in c. key returns the key of an argument.
// Different arguments must have different keys.
func Func[K, V any](c *Typed[V], key func(K) string, fn func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	return func(ctx context.Context, arg K) (V, error) {
		return c.GetOrLoad(ctx, key(arg), func(ctx context.Context) (V, error) { return fn(ctx, arg) })
	}
}

// outcome is the result of a load for one key.
type outcome[V any] struct {
	value V
	err   error
}

// loader loads keys. The outcomes have the order of the keys.
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

// start joins the running calls of keys, and begins the missing ones. rs are the readings
// of the keys. They were made after the ticket, which start takes over.
func (c *Typed[V]) start(ctx context.Context, ticket driver.Ticket, seq uint64, wants []want, rs []reading[V], load loader[V], early bool) (all []waiter[V], joined int) {
	all = make([]waiter[V], len(wants))
	var jobs []*job[V]
	n := &node{}
	for i := range wants {
		w := &wants[i]
		own, ok := c.calls.claim(w, c.hash(w.key), ticket.Again(c.memory), n, seq)
		if all[i] = own; ok {
			c.memory.End(ticket)
			joined++
			continue
		}
		j := &job[V]{want: *w, call: own.call}
		j.take(&rs[i])
		jobs = append(jobs, j)
	}
	c.memory.End(ticket)
	if len(jobs) > 0 {
		b := &batch[V]{c: c, all: jobs, load: load, node: n, early: early}
		go b.run(context.WithoutCancel(ctx))
	}
	return all, joined
}

// refresh loads values in the background while they can still be served.
func (c *Typed[V]) refresh(ctx context.Context, wants []want, load loader[V]) {
	c.inBackground(func() {
		ctx := context.WithoutCancel(ctx)
		ticket, seq := c.memory.Begin(), c.memory.Seq()
		all, _ := c.start(ctx, ticket, seq, wants, c.read(ctx, ticket, wants, nil), load, true)
		for _, f := range all {
			<-f.done
		}
	})
}

// inBackground runs f, unless the maximum number of background loads already runs.
func (c *Typed[V]) inBackground(f func()) {
	select {
	case c.background <- struct{}{}:
		go func() {
			defer func() { <-c.background }()
			f()
		}()
	default:
	}
}
