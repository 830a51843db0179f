package cache

import (
	"context"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// find returns the entry of a key in the local tier, or nil if there is none, and whether
// it is fresh.
func (c *Typed[V]) find(key string) (e *driver.Entry, fresh bool) {
	if c.opts.NoMemory {
		return nil, false
	}
	e, now := c.memory.Find(c.hash(key))
	if e == nil || e.Owner != c.owner || e.Key != key {
		return nil, false // absent, or another key with the same hash
	}
	return e, now < e.FreshUntil
}

// valueOf returns the value of an entry for a caller.
func (c *Typed[V]) valueOf(e *driver.Entry) V {
	value, _ := e.Value.(V) // a nil interface is the zero value
	return c.clone(value)
}

func (c *Typed[V]) clone(value V) V {
	if c.opts.Clone == nil {
		return value
	}
	return c.opts.Clone(value)
}

// hitLocal counts a hit of the local tier.
func (c *Typed[V]) hitLocal(ctx context.Context, e *driver.Entry) {
	c.stats.localHits.add()
	if hook := c.opts.Trace.Hit; hook != nil {
		hook(ctx, HitEvent{c.name, e.Key, TierLocal})
	}
}

// keep stores a reading in the local tier, unless its key or one of its tags was invalidated
// since the ticket.
func (c *Typed[V]) keep(ticket driver.Ticket, w *want, r *reading[V]) {
	if c.opts.NoMemory {
		return
	}
	life := min(r.life, c.opts.LocalTTL)
	switch {
	case r.outage:
		life = min(life, c.opts.OutageTTL)
	case c.store != nil:
		life = min(life, c.memory.Limit())
	}
	now := c.memory.Now()
	e := &driver.Entry{Hash: c.hash(w.key), Owner: c.owner, Key: w.key, Value: r.value, FreshUntil: after(now, min(r.freshFor, life))}
	tags := r.bears
	if tags == nil && len(w.hashes) > 1 {
		tags = w.hashes[1:]
	}
	if len(tags) > 0 || r.absent || c.opts.EarlyRefresh > 0 || c.opts.AuditEvery > 0 {
		e.Extra = &driver.Extra{Tags: tags, Took: r.took, LoadedAt: r.loaded.UnixNano(), Absent: r.absent}
	}
	size := int64(r.size)
	if c.opts.Weigh != nil || size == 0 {
		size = c.weigh(r.value)
	}
	c.memory.Put(ticket, e, size, life, c.hashes[0])
}

// after adds without overflow.
func after(now int64, d time.Duration) int64 {
	if sum := now + int64(d); sum >= now {
		return sum
	}
	return 1<<63 - 1
}
