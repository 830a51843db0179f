package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
	data           []byte   // as stored, readable or not; nil if nothing is
	newer          bool     // what is stored is for a newer version of this package
	states         []string // of its tags, now
	err            error    // the store's
}

// read asks the store. The states of the tags are those before anything that follows.
func (c *Typed[V]) read(ctx context.Context, key string, tags []string) (r reading[V]) {
	if c.store == nil {
		return r
	}
	storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	if c.tagger != nil {
		var values [][]byte
		if values, r.states, r.err = c.tagger.Read(storeCtx, []string{c.key(key)}, tags); r.err == nil {
			r.data = values[0]
		}
	} else {
		r.states = c.coh.localTags(tags)
		var found bool
		if r.data, found, r.err = c.store.Get(storeCtx, c.key(key)); found && r.data == nil {
			r.data = []byte{}
		}
	}
	c.observe(ctx, key, r.err)
	if r.err == nil && r.data != nil {
		c.decode(ctx, key, &r)
	}
	return r
}

// decode reads what is stored. What cannot be read is a miss, and goes, unless a newer
// version of this package, as runs beside this one during a deployment, has written it.
func (c *Typed[V]) decode(ctx context.Context, key string, r *reading[V]) {
	e, err := open(r.data)
	switch {
	case err != nil:
	case e.codec != c.opts.Codec.Name():
		err = errCodec
	case e.schema != c.opts.Schema:
		err = errSchema
	case !e.bears(r.states):
		return // a tag was invalidated
	}
	if err == nil && e.flags&flagAbsent == 0 {
		err = c.unmarshal(e, &r.value)
	}
	if err != nil {
		var zero V
		r.value = zero
		r.newer = errors.Is(err, errNewer)
		c.badPayload(ctx, key, r, err)
		return
	}
	r.found, r.absent, r.size = true, e.flags&flagAbsent != 0, len(r.data)
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

// badPayload counts a value that cannot be read and removes it, if it still is there.
func (c *Typed[V]) badPayload(ctx context.Context, key string, r *reading[V], reason error) {
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

func (c *Typed[V]) encode(value V, absent bool, fresh, took time.Duration, states []string) ([]byte, error) {
	e := envelope{
		codec: c.opts.Codec.Name(), schema: c.opts.Schema, tags: states,
		fresh: time.Now().Add(fresh).UnixMilli(), took: uint32(min(took.Milliseconds(), math.MaxUint32)),
	}
	if absent {
		e.flags = flagAbsent
		return e.seal(), nil
	}
	payload, err := c.opts.Codec.Marshal(value)
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
