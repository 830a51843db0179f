package cache

import (
	"context"
	"errors"
	"slices"
	"time"
)

// filling is what a load has brought for one key.
type filling[V any] struct {
	job     *job[V]
	reading *reading[V]
	err     error // what the callers are told: nil or an ErrNotFound
	data    []byte
}

func (c *Typed[V]) filling(j *job[V], value V, absent bool, took time.Duration, err error) *filling[V] {
	r := &reading[V]{value: value, absent: absent, took: took, freshFor: c.jittered(j.ttl)}
	r.life = r.freshFor + c.opts.StaleFor
	if absent {
		var zero V
		r.value, r.freshFor = zero, c.jittered(min(c.opts.NotFoundTTL, j.ttl))
		r.life = r.freshFor
	}
	if j.reading != nil {
		r.states, r.named = j.reading.states, named(j.call, j.reading.call)
	}
	return &filling[V]{job: j, reading: r, err: err}
}

// fill keeps what a load has brought, but for keys that were written since it began, or
// one of whose tags was invalidated. tags are those that the load has told.
func (c *Typed[V]) fill(ctx context.Context, fills []*filling[V], tags []string) {
	if len(fills) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if len(tags) > 0 {
		fills = c.bearing(ctx, fills, tags)
	}
	var store []*filling[V]
	for _, f := range fills {
		j, r := f.job, f.reading
		switch {
		case c.store == nil && !c.coh.valid(&j.stamp):
			c.fenced(ctx, j.want.key)
		case c.store == nil, j.down: // memory keeps it, no longer than the Coherence's limit
			c.keepNear(j.want.key, r, j.stamp)
		case !j.ok:
		default:
			if c.sealed(ctx, f) {
				store = append(store, f)
			}
		}
	}
	// Locks of many keys are held for one call of the store at a time.
	const most = 100
	for part := range slices.Chunk(store, most) {
		c.fillStore(ctx, part)
	}
}

// bearing adds tags that were not known before the load. It returns the values that
// bear them: none, if any tag was invalidated since the load began.
func (c *Typed[V]) bearing(ctx context.Context, fills []*filling[V], tags []string) []*filling[V] {
	first := fills[0].job
	stamps := c.coh.tagStamps(tags) // before their states
	states := make([]string, len(tags))
	since := ""
	if c.store != nil && slices.ContainsFunc(fills, func(f *filling[V]) bool { return !f.job.down }) {
		// Of an InvalidateTags that is under way, anyTag changes first. So it is read last.
		var err error
		var now []string
		if states, err = c.states(ctx, tags); err == nil {
			now, err = c.states(ctx, []string{anyTag})
		}
		c.observe(ctx, first.want.key, err)
		if err != nil {
			return nil
		}
		since = now[0]
	}
	var out []*filling[V]
	for _, f := range fills {
		j, r := f.job, f.reading
		before := stamp{hash: j.stamp.hash, epoch: j.stamp.epoch, key: j.stamp.key, tags: j.any}
		if !c.coh.valid(&before) || c.store != nil && !j.down && j.reading.any != since {
			c.fenced(ctx, j.want.key)
			continue
		}
		r.stamps = stamps
		r.named = append(r.named, named(tags, states)...)
		out = append(out, f)
	}
	return out
}

// sealed encodes a value. One that cannot be stored is returned but not kept.
func (c *Typed[V]) sealed(ctx context.Context, f *filling[V]) bool {
	data, err := c.encode(f.reading)
	switch {
	case errors.Is(err, ErrTooLarge):
		c.stats.tooLarge.Add(1)
		return false
	case err != nil:
		c.opts.Logger.ErrorContext(ctx, "cache: a value could not be stored", "cache", c.name, "error", err)
		return false
	}
	f.data, f.reading.size = data, len(data)
	return true
}

func (c *Typed[V]) fillStore(ctx context.Context, fills []*filling[V]) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	keys := make([]string, len(fills))
	for i, f := range fills {
		keys[i] = f.job.want.key
	}
	unlock, err := c.stripes.lock(ctx, keys...)
	if err != nil {
		return
	}
	defer unlock()
	valid := fills[:0]
	for _, f := range fills {
		if c.coh.valid(&f.job.stamp) {
			valid = append(valid, f)
		} else {
			c.fenced(ctx, f.job.want.key)
		}
	}
	kept, err := c.keep(ctx, valid)
	if len(valid) > 0 {
		c.observe(ctx, valid[0].job.want.key, err)
	}
	if err != nil {
		return
	}
	for i, f := range valid {
		f.job.ok = false // its lease has ended
		if !kept[i] {
			c.fenced(ctx, f.job.want.key)
			continue
		}
		c.keepNear(f.job.want.key, f.reading, f.job.stamp)
	}
}

// keep stores what was loaded; false where a lease was lost.
func (c *Typed[V]) keep(ctx context.Context, fills []*filling[V]) (kept []bool, err error) {
	kept = make([]bool, len(fills))
	var leased []Fill
	for i, f := range fills {
		if f.job.token != "" {
			leased = append(leased, Fill{Key: c.key(f.job.want.key), Token: f.job.token, Value: f.data, TTL: f.reading.life})
			continue
		}
		if err := c.store.Set(ctx, c.key(f.job.want.key), f.data, f.reading.life); err != nil && !errors.Is(err, ErrDegraded) {
			return nil, err
		}
		kept[i] = true
	}
	if len(leased) == 0 {
		return kept, nil
	}
	states, err := c.leaser.Fill(ctx, leased...)
	if err != nil {
		return nil, err
	}
	for i, f := range fills {
		if f.job.token != "" {
			kept[i], states = states[0], states[1:]
		}
	}
	return kept, nil
}

func (c *Typed[V]) fenced(ctx context.Context, key string) {
	c.stats.fenced.Add(1)
	call(ctx, c.opts.Trace.Fenced, c.name, key)
}
