package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// result is a loaded value with its job.
type result[V any] struct {
	job *job[V]
	reading[V]
	err  error // for the callers: nil or an ErrNotFound
	keep bool
}

func (c *Typed[V]) result(j *job[V], value V, took time.Duration, began time.Time, err error) *result[V] {
	f := &result[V]{job: j, err: err, keep: j.store || j.down}
	r := &f.reading
	r.value, r.took, r.loaded, r.outage, r.states = value, took, began, j.down, j.reading.states
	r.freshFor = c.jittered(j.ttl)
	r.life = c.life(r.freshFor)
	if err != nil {
		var zero V
		r.value, r.absent, r.freshFor = zero, true, c.jittered(min(c.opts.NotFoundTTL, j.ttl))
		r.life = r.freshFor
	}
	return f
}

// addTags adds to values the tags that their load reported. A value is not stored if one of
// these tags was invalidated since the load began. The states are read first: an
// invalidation that returns later ends them.
func (b *batch[V]) addTags(ctx context.Context, loaded []*result[V], tags []string) {
	if len(tags) == 0 || len(loaded) == 0 {
		return
	}
	c := b.c
	hashes := tagHashes(tags)
	shared := slices.ContainsFunc(loaded, func(f *result[V]) bool { return f.job.token != "" })
	ops := make([]driver.Op, 0, len(tags)+1)
	if shared {
		longest := time.Millisecond
		for _, f := range loaded {
			longest = max(longest, f.life)
		}
		for _, tag := range tags {
			ops = append(ops, driver.Op{Kind: driver.TagState, Key: tag, TTL: longest})
		}
		c.do(ctx, ops)
		syncs := []driver.Op{{Kind: driver.Sync}}
		c.do(ctx, syncs)
		ops = append(ops, syncs...)
	}
	var err error
	for i := range ops {
		err = cmp.Or(err, ops[i].Err)
	}
	for _, f := range loaded {
		f.bears = append(slices.Clone(f.job.hashes[1:]), hashes...)
		if f.job.token != "" && err != nil || !c.memory.Valid(f.job.ticket, hashes[0], hashes[1:]) {
			f.keep = false
			c.fenced(ctx, f.job.want.key)
			continue
		}
		for i, tag := range tags {
			if shared {
				f.late = append(f.late, tagState{tag, ops[i].Token})
			}
		}
	}
}

// storeAll stores values, except those whose key or tags were invalidated since their load
// began.
func (b *batch[V]) storeAll(ctx context.Context, loaded []*result[V]) {
	c := b.c
	var ops []driver.Op
	var sent []*result[V]
	for _, f := range loaded {
		j := f.job
		switch {
		case !f.keep:
		case !c.memory.Valid(j.ticket, c.hash(j.want.key), j.hashes):
			c.fenced(ctx, j.want.key)
		case j.token == "":
			c.keep(j.ticket, &j.want, &f.reading)
		default:
			data, err := c.encode(&j.want, &f.reading)
			if err != nil {
				c.notStored(ctx, err)
				continue
			}
			ops, sent = append(ops, driver.Op{Kind: driver.Fill, Key: c.key(j.want.key), Token: j.token, Value: data, TTL: f.life}), append(sent, f)
		}
	}
	if len(ops) == 0 {
		return
	}
	c.do(ctx, ops)
	for i, f := range sent {
		op := &ops[i]
		switch {
		case op.Done:
			f.job.token = "" // its lease has ended
			c.keep(f.job.ticket, &f.job.want, &f.reading)
		case op.Err == nil:
			f.job.token = ""
			c.fenced(ctx, f.job.want.key)
		case errors.Is(op.Err, ErrUnavailable):
			f.outage = true
			c.keep(f.job.ticket, &f.job.want, &f.reading)
		}
	}
}

// notStored counts a value that is returned but cannot be stored.
func (c *Typed[V]) notStored(ctx context.Context, err error) {
	switch {
	case errors.Is(err, ErrTooLarge):
		c.stats.tooLarge.Add(1)
		return
	case errors.Is(err, errNoState):
		c.stats.storeErrors.Add(1)
		return
	}
	c.opts.Logger.ErrorContext(ctx, "cache: a value could not be stored", "cache", c.name, "error", err)
}

func (c *Typed[V]) fenced(ctx context.Context, key string) {
	c.stats.fenced.Add(1)
	if hook := c.opts.Trace.Fenced; hook != nil {
		hook(ctx, MissEvent{c.name, key})
	}
}
