package cache

import (
	"slices"
	"time"
)

// nearEntry is a value in memory. It is never changed.
type nearEntry[V any] struct {
	owner *Typed[V]
	key   string
	stamp stamp // taken before the value was read
	// Times are nanoseconds since owner.base.
	kept, freshUntil, goneAt int64
	took                     time.Duration
	value                    V
	absent                   bool
}

// now costs half of what time.Now does.
func (c *Typed[V]) now() int64 { return int64(time.Since(c.base)) }

// fromNear returns the entry of a key, nil if there is none or it may be old, and
// whether its time has not ended.
func (c *Typed[V]) fromNear(key string) (e *nearEntry[V], fresh bool) {
	if c.near == nil {
		return nil, false
	}
	v, ok := c.near.Load(c.hash(key))
	if !ok {
		return nil, false
	}
	e, ok = v.(*nearEntry[V])
	if !ok || e.owner != c || e.key != key {
		return nil, false // another key of the same hash
	}
	now := c.now()
	if now >= e.goneAt || now-e.kept >= c.coh.limit.Load() || !c.coh.valid(&e.stamp) {
		return nil, false
	}
	return e, now < e.freshUntil
}

// unknownCost is what a value that was never encoded is taken for, in bytes.
const unknownCost = 1 << 10

// keepNear keeps what was read after the stamp was taken. If anything has changed since
// then, or changes later, the entry is never used.
func (c *Typed[V]) keepNear(key string, r *reading[V], before stamp) {
	life := min(r.life, c.opts.NearTTL)
	if c.near == nil || life <= 0 {
		return
	}
	before.tags = slices.Concat(before.tags, r.stamps)
	if !c.coh.valid(&before) {
		return
	}
	size := r.size
	if size == 0 {
		size = unknownCost
	}
	now := c.now()
	c.near.Store(before.hash, &nearEntry[V]{
		owner: c, key: key, stamp: before, value: r.value, absent: r.absent, took: r.took,
		kept: now, freshUntil: now + int64(min(r.freshFor, life)), goneAt: now + int64(life),
	}, int64(size+len(key)))
}
