package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// reading is what the store has under a key.
type reading[V any] struct {
	value  V
	found  bool // there is something that may be served, if only in need
	fresh  bool // its time has not ended
	absent bool // it says that there is no such thing

	freshFor, life time.Duration // from now
	took           time.Duration // by its load
	size           int
	data           []byte     // as stored, readable or not; nil if nothing is
	newer          bool       // what is stored is for a newer version of this package
	states, call   []string   // of the tags that were asked for, now
	any            string     // the state of anyTag, now
	named          []tagState // that the value bears
	stamps         []tagStamp // of those of them that were not asked for
	err            error      // the store's
}

// read asks the store for keys. The states of the tags are those before anything that
// follows. A load is told the state of anyTag too.
func (c *Typed[V]) read(ctx context.Context, wants []want, loading bool) []reading[V] {
	rs := make([]reading[V], len(wants))
	if c.store == nil {
		return rs
	}
	keys := make([]string, len(wants))
	var tags tagSet
	for i := range wants {
		keys[i] = c.key(wants[i].key)
		for _, tag := range wants[i].own {
			tags.add(tag)
		}
		for _, tag := range wants[i].call {
			tags.add(tag)
		}
	}
	if loading {
		tags.add(anyTag)
	}
	fetch := c.fetch
	if len(keys) == 1 && !loading { // of loads there is one at a time
		fetch = c.fetchTogether
	}
	values, states, err := fetch(ctx, keys, tags.names)
	c.observe(ctx, wants[0].key, err)
	if err != nil {
		for i := range rs {
			rs[i].err = err
		}
		return rs
	}
	state := func(names []string) []string {
		out := make([]string, len(names))
		for i, name := range names {
			at, _ := tags.index(name)
			out[i] = states[at]
		}
		return out
	}
	envelopes := make([]*envelope, len(wants))
	var unknown tagSet
	for i := range rs {
		r := &rs[i]
		r.data, r.states, r.call = values[i], state(wants[i].own), state(wants[i].call)
		if loading {
			r.any = states[len(states)-1]
		}
		if r.data == nil {
			continue
		}
		envelopes[i], err = c.open(r)
		if err != nil {
			c.badPayload(ctx, wants[i].key, r, err)
		}
		if envelopes[i] == nil {
			continue
		}
		for _, tag := range envelopes[i].named {
			if _, known := tags.index(tag.name); !known {
				unknown.add(tag.name)
			}
		}
	}
	stamps := c.coh.tagStamps(unknown.names) // before their states
	if len(unknown.names) > 0 {
		more, err := c.states(ctx, unknown.names)
		c.observe(ctx, wants[0].key, err)
		for i, e := range envelopes {
			if err != nil && e != nil && len(e.named) > 0 {
				rs[i].err, envelopes[i] = err, nil
			}
		}
		states = append(states[:len(tags.names):len(tags.names)], more...)
	}
	for i, e := range envelopes {
		if e == nil {
			continue
		}
		valid := true
		for _, tag := range e.named {
			at, known := tags.index(tag.name)
			if !known {
				n, _ := unknown.index(tag.name)
				at = len(tags.names) + n
				rs[i].stamps = append(rs[i].stamps, stamps[n])
			}
			valid = valid && states[at] == tag.state
		}
		if valid {
			c.decode(ctx, wants[i].key, &rs[i], e)
		}
	}
	return rs
}

// fetchTogether is fetch of one key, for all at once who want it with the same tags.
func (c *Typed[V]) fetchTogether(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error) {
	got := c.reads.read(ctx, keys[0], func(ctx context.Context) (a answer) {
		a.tags = tags
		a.values, a.states, a.err = c.fetch(ctx, keys, tags)
		return a
	})
	if got.err == nil && !slices.Equal(got.tags, tags) {
		return c.fetch(ctx, keys, tags)
	}
	return got.values, got.states, got.err
}

// fetch gets values and the states of tags; nil for values that are not there.
func (c *Typed[V]) fetch(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	if c.tagger != nil {
		return c.tagger.Read(ctx, keys, tags)
	}
	states = c.coh.localTags(tags)
	values = make([][]byte, len(keys))
	for i, key := range keys {
		value, found, err := c.store.Get(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		if found {
			values[i] = append([]byte{}, value...)
		}
	}
	return values, states, nil
}

// open reads what is stored, up to its value: nil if a tag was invalidated that each
// reader knows.
func (c *Typed[V]) open(r *reading[V]) (*envelope, error) {
	e, err := open(r.data)
	switch {
	case err != nil:
		return nil, err
	case e.codec != c.opts.Codec.Name():
		return nil, errCodec
	case e.schema != c.opts.Schema:
		return nil, errSchema
	case !e.bears(r.states):
		return nil, nil
	}
	return e, nil
}

// decode reads a value whose tags hold.
func (c *Typed[V]) decode(ctx context.Context, key string, r *reading[V], e *envelope) {
	if e.flags&flagAbsent == 0 {
		if err := c.unmarshal(e, &r.value); err != nil {
			var zero V
			r.value = zero
			c.badPayload(ctx, key, r, err)
			return
		}
	}
	r.found, r.absent, r.size, r.named = true, e.flags&flagAbsent != 0, len(r.data), e.named
	r.took = time.Duration(e.took) * time.Millisecond
	// The clocks of two machines may differ; the store's own time to live holds for
	// the end of a value's life.
	r.freshFor = min(time.Until(time.UnixMilli(e.fresh)), c.ttl)
	r.fresh = r.freshFor > 0 || c.opts.StaleFor == 0
	if c.opts.StaleFor == 0 {
		r.freshFor = max(r.freshFor, time.Millisecond)
	}
	r.life = r.freshFor + c.opts.StaleFor
}

// badPayload counts a value that cannot be read and removes it, if it still is there. It
// stays if a newer version of this package, as runs beside this one during a deployment,
// has written it.
func (c *Typed[V]) badPayload(ctx context.Context, key string, r *reading[V], reason error) {
	r.newer = errors.Is(reason, errNewer)
	c.stats.badPayloads.Add(1)
	if hook := c.opts.Trace.BadPayload; hook != nil {
		hook(ctx, c.name, key, reason)
	}
	if r.newer || c.comparer == nil {
		return // or else what is loaded takes its place
	}
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	_, err := c.comparer.Discard(storeCtx, c.key(key), r.data)
	c.observe(ctx, key, err)
}

// unmarshal contains the panics of codecs that trust their input.
func (c *Typed[V]) unmarshal(e *envelope, value *V) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cache: the codec panicked: %v", v)
		}
	}()
	payload, err := Compression(e.flags&flagCompression>>1).unpack(e.payload, c.opts.MaxValue)
	if err != nil {
		return err
	}
	return c.opts.Codec.Unmarshal(payload, value)
}

// encode is what is stored of a reading.
func (c *Typed[V]) encode(r *reading[V]) ([]byte, error) {
	e := envelope{
		codec: c.opts.Codec.Name(), schema: c.opts.Schema, tags: r.states, named: r.named,
		fresh: time.Now().Add(r.freshFor).UnixMilli(), took: uint32(min(r.took.Milliseconds(), math.MaxUint32)),
	}
	if r.absent {
		e.flags = flagAbsent
		return e.seal(), nil
	}
	payload, err := c.opts.Codec.Marshal(r.value)
	if err != nil {
		return nil, fmt.Errorf("cache: %s: encode with %s: %w", c.name, c.opts.Codec.Name(), err)
	}
	if len(payload) > c.opts.MaxValue {
		return nil, fmt.Errorf("cache: %s: %w: %d bytes, at most %d are stored", c.name, ErrTooLarge, len(payload), c.opts.MaxValue)
	}
	var how Compression
	e.payload, how = c.opts.Compression.pack(payload)
	e.flags = byte(how) << 1
	return e.seal(), nil
}

// named are tags with their states.
func named(names, states []string) []tagState {
	out := make([]tagState, len(names))
	for i, name := range names {
		out[i] = tagState{name, states[i]}
	}
	return out
}

// jittered shortens a time to live at random.
func (c *Typed[V]) jittered(ttl time.Duration) time.Duration {
	if c.opts.Jitter <= 0 {
		return ttl
	}
	return max(ttl-time.Duration(c.opts.Jitter*rand.Float64()*float64(ttl)), time.Millisecond)
}

// due decides whether a value is loaded again before its time ends.
func (c *Typed[V]) due(freshFor, took time.Duration) bool {
	if c.opts.EarlyRefresh == 0 {
		return false
	}
	return -math.Log(1-rand.Float64())*c.opts.EarlyRefresh*float64(max(took, time.Millisecond)) >= float64(freshFor)
}
