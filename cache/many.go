package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// GetOrLoadMany is GetOrLoad of many keys. Keys that are not in memory are read from the
// store in one round trip, or one for each node. One call of load loads the keys that are
// not in the store either. It leaves out keys that another call, in any process, is already
// loading.
//
// The result has the keys that exist. If load leaves a key out, the key does not exist, and
// this is remembered as an ErrNotFound. An error of load applies to the keys that load
// leaves out. With an error, such as that of an empty key or the end of ctx, the result
// still has all available values. The caller owns the map.
func (c *Typed[V]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error), opts ...CallOption) (map[string]V, error) {
	out := make(map[string]V, len(keys))
	wants, due, err := c.fromMemory(ctx, keys, opts, out)
	errs := []error{err}
	if ctx.Err() != nil {
		return out, errors.Join(err, ctx.Err())
	}
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

// GetMany is Get of many keys in one round trip, or one for each node. The result has the
// keys that have a value. With an error it has all values that could be read.
func (c *Typed[V]) GetMany(ctx context.Context, keys []string) (map[string]V, error) {
	out := make(map[string]V, len(keys))
	wants, _, err := c.fromMemory(ctx, keys, nil, out)
	if ctx.Err() != nil || len(wants) == 0 {
		return out, errors.Join(err, ctx.Err())
	}
	ticket := c.memory.Begin()
	defer c.memory.End(ticket)
	var failed error
	rs := c.lookUp(ctx, ticket, wants, nil)
	for i := range rs {
		switch r := &rs[i]; {
		case r.err != nil:
			failed = r.err
		case r.fresh && !r.absent:
			out[wants[i].key] = c.clone(r.value)
		}
	}
	return out, errors.Join(err, failed)
}

// fromMemory serves keys from the local tier and returns the others, each once. due are the
// served keys that should be refreshed. The error names the keys that are refused.
func (c *Typed[V]) fromMemory(ctx context.Context, keys []string, opts []CallOption, out map[string]V) (wants, due []want, err error) {
	seen, refused := make(map[string]bool, len(keys)), map[string]bool{}
	var errs []error
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		w, err := c.want(key, opts)
		if err != nil {
			if !refused[err.Error()] { // all keys share the options of the call
				refused[err.Error()] = true
				errs = append(errs, fmt.Errorf("cache: %s: %q: %w", c.name, key, err))
			}
			continue
		}
		e, fresh := c.find(key)
		if !fresh {
			wants = append(wants, w)
			continue
		}
		c.hitLocal(ctx, e)
		if e.Extra == nil || !e.Extra.Absent {
			out[key] = c.valueOf(e)
		}
		if e.Extra != nil && c.due(time.Duration(e.FreshUntil-c.memory.Now()), e.Extra.Took) {
			due = append(due, w)
		}
	}
	return wants, due, errors.Join(errs...)
}
