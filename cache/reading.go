package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// reading is a value with its state, from the store or from a load.
type reading[V any] struct {
	value  V
	found  bool // there is a value that may be served, at least in an emergency
	fresh  bool // the time to live has not ended
	absent bool // the value says that the key does not exist

	freshFor, life time.Duration // from now
	took           time.Duration // by its load
	loaded         time.Time
	size           int
	seen           uint64   // of the stored value, readable or not
	newer          bool     // the stored value needs a newer version of this package
	outage         bool     // loaded while the store could not be reached
	states         []string // current states of the tags of the want
	bears          []uint64 // tags of the value except that of the whole cache; nil for those of the want
	late           []tagState
	err            error // of the store
}

// read reads keys and the states of their tags from the store. The ticket is from before
// the call. A state in memory may be older than a state that Redis lost and created again.
// It therefore proves only that a value is valid, never that it is invalid. mem is memory
// for one key, or nil.
func (c *Typed[V]) read(ctx context.Context, ticket driver.Ticket, wants []want, mem *scratch[V]) []reading[V] {
	rs, doubtful := c.readOnce(ctx, ticket, wants, mem)
	if doubtful {
		rs, _ = c.readOnce(ctx, ticket, wants, nil)
	}
	return rs
}

// scratch is the memory for the read of one key. Reads that find a value return it to the
// pool.
type scratch[V any] struct {
	wants     [1]want
	rs        [1]reading[V]
	ops       [2]driver.Op
	envelopes [1]envelope
	states    [2]string
}

func (c *Typed[V]) borrow(w want) *scratch[V] {
	m, _ := c.scratches.Get().(*scratch[V])
	if m == nil {
		m = &scratch[V]{}
	}
	m.wants[0] = w
	return m
}

func (c *Typed[V]) giveBack(m *scratch[V]) {
	*m = scratch[V]{}
	c.scratches.Put(m)
}

// readOnce is read. Its result is doubtful if a state in memory made a value invalid. It
// then forgets that state.
func (c *Typed[V]) readOnce(ctx context.Context, ticket driver.Ticket, wants []want, mem *scratch[V]) (_ []reading[V], doubtful bool) {
	if c.store == nil {
		return make([]reading[V], len(wants)), false
	}
	var rs []reading[V]
	var ops []driver.Op
	var envelopes []envelope
	var room []string
	if mem != nil {
		rs, ops, envelopes, room = mem.rs[:], mem.ops[:1], mem.envelopes[:], mem.states[:0]
	} else {
		rs, ops, envelopes = make([]reading[V], len(wants)), make([]driver.Op, len(wants), len(wants)+1), make([]envelope, len(wants))
	}
	names := wants[0].tags
	var tags tagSet
	for i := range wants {
		ops[i] = driver.Op{Kind: driver.Get, Key: c.key(wants[i].key)}
		if len(wants) > 1 {
			for _, tag := range wants[i].tags {
				tags.add(tag)
			}
			names = tags.names
		}
	}
	ops, states, missing := c.stateOps(ops, room, names)
	c.do(ctx, ops)
	err := c.takeStates(ticket, ops[len(wants):], states, missing)
	var unknown tagSet
	for i := range rs {
		r, op, w := &rs[i], &ops[i], &wants[i]
		if r.err = op.Err; r.err == nil {
			r.err = err
		}
		if r.seen = op.Seen; r.err != nil {
			continue
		}
		if r.states = states; len(wants) > 1 {
			r.states = make([]string, len(w.tags))
			for n, tag := range w.tags {
				at, _ := tags.index(tag)
				r.states[n] = states[at]
			}
		}
		if op.Value == nil {
			continue
		}
		e := &envelopes[i]
		if err := c.open(op.Value, e); err != nil {
			c.badPayload(ctx, w.key, r, err)
			continue
		}
		if slices.Contains(e.tags, "") || !slices.Equal(e.tags, r.states[:w.own]) {
			if len(missing) < len(names) {
				doubtful = true
				c.forgetStates(w.hashes)
			}
			continue // a tag that every reader knows was invalidated
		}
		if e.valid = true; op.Expired {
			e.fresh = 0
		}
		for _, tag := range e.named {
			if !slices.Contains(w.tags, tag.name) {
				unknown.add(tag.name)
			}
		}
	}
	var more []string
	remembered := false
	if len(unknown.names) > 0 {
		more, remembered, err = c.states(ctx, ticket, unknown.names)
	}
	for i := range envelopes {
		e := &envelopes[i]
		if !e.valid {
			continue
		}
		r, w := &rs[i], &wants[i]
		holds := true
		for _, tag := range e.named {
			if tag.state == "" {
				holds = false
				break
			}
			at := slices.Index(w.tags, tag.name)
			if at >= 0 {
				if r.states[at] != tag.state {
					holds, doubtful = false, doubtful || len(missing) < len(names)
				}
				continue
			}
			if r.err = err; err != nil {
				holds = false
				break
			}
			n, _ := unknown.index(tag.name)
			if more[n] != tag.state {
				holds, doubtful = false, doubtful || remembered
			}
		}
		if !holds && doubtful {
			c.forgetStates(w.hashes)
			c.forgetStates(tagHashes(unknown.names))
		}
		if holds {
			c.decode(ctx, w, r, e)
		}
	}
	return rs, doubtful
}

// open decodes a stored envelope without its value.
func (c *Typed[V]) open(data []byte, e *envelope) error {
	switch err := open(data, e); {
	case err != nil:
		return err
	case e.codec != c.opts.Codec.Name():
		return errCodec
	case e.schema != c.schema:
		return errSchema
	}
	return nil
}

var noTags = []uint64{}

// decode decodes a value whose tags hold.
func (c *Typed[V]) decode(ctx context.Context, w *want, r *reading[V], e *envelope) {
	if e.flags&flagAbsent == 0 {
		if err := c.unmarshal(e, &r.value); err != nil {
			var zero V
			r.value = zero
			c.badPayload(ctx, w.key, r, err)
			return
		}
	}
	r.found, r.absent, r.size = true, e.flags&flagAbsent != 0, len(e.payload)
	r.took, r.loaded = time.Duration(e.took)*time.Millisecond, time.UnixMilli(e.loaded)
	if own := w.hashes[1:w.own]; len(own)+len(e.named) > 0 {
		r.bears = slices.Clone(own)
		for _, tag := range e.named {
			r.bears = append(r.bears, driver.TagHash(tag.name))
		}
	}
	if r.bears == nil {
		r.bears = noTags
	}
	// The clocks of two machines may differ. The store's own time to live decides the end
	// of a value's life.
	r.freshFor = min(time.Until(time.UnixMilli(e.fresh)), max(c.ttl, w.ttl))
	r.fresh = r.freshFor > 0 || c.opts.StaleFor == 0 && e.fresh != 0
	if c.opts.StaleFor == 0 {
		r.freshFor = max(r.freshFor, time.Millisecond)
	}
	r.freshFor = max(r.freshFor, 0)
	r.life = c.life(r.freshFor)
}

// badPayload counts a value that cannot be decoded. The next load replaces it, unless a
// newer version of this package wrote it. Both versions run side by side during a
// deployment.
func (c *Typed[V]) badPayload(ctx context.Context, key string, r *reading[V], reason error) {
	r.newer = errors.Is(reason, errNewer)
	c.stats.badPayloads.Add(1)
	if hook := c.opts.Trace.BadPayload; hook != nil {
		hook(ctx, StoreErrorEvent{c.name, key, reason})
	}
}

// unmarshal recovers from panics of codecs that trust their input.
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

// encode returns the stored form of a reading.
func (c *Typed[V]) encode(w *want, r *reading[V]) ([]byte, error) {
	if len(r.states) < len(w.tags) {
		return nil, fmt.Errorf("cache: %s: the states of the tags are unknown", c.name)
	}
	if slices.Contains(r.states, "") || slices.ContainsFunc(r.late, func(tag tagState) bool { return tag.state == "" }) {
		return nil, fmt.Errorf("cache: %s: %w", c.name, errNoState)
	}
	if r.loaded.IsZero() {
		r.loaded = time.Now()
	}
	e := envelope{
		codec: c.opts.Codec.Name(), schema: c.schema, tags: r.states[:w.own], named: r.late,
		fresh: time.Now().Add(r.freshFor).UnixMilli(), loaded: r.loaded.UnixMilli(), took: uint32(min(r.took.Milliseconds(), math.MaxUint32)), //nolint:gosec // not negative
	}
	for i := w.own; i < len(w.tags); i++ {
		e.named = append(e.named[:len(e.named):len(e.named)], tagState{w.tags[i], r.states[i]})
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
	r.size = len(payload)
	e.payload, how = c.opts.Compression.pack(payload)
	e.flags = byte(how) << 1
	return e.seal(), nil
}

// result returns the results of GetOrLoad for a fresh reading.
func (r *reading[V]) result() (V, error) {
	if r.absent {
		return r.value, ErrNotFound
	}
	return r.value, nil
}

// jittered shortens a time to live at random.
func (c *Typed[V]) jittered(ttl time.Duration) time.Duration {
	if c.opts.Jitter <= 0 {
		return ttl
	}
	return max(ttl-time.Duration(c.opts.Jitter*rand.Float64()*float64(ttl)), time.Millisecond)
}

// due decides whether a value is loaded again before its time to live ends.
func (c *Typed[V]) due(freshFor, took time.Duration) bool {
	if c.opts.EarlyRefresh == 0 {
		return false
	}
	return -math.Log(1-rand.Float64())*c.opts.EarlyRefresh*float64(max(took, time.Millisecond)) >= float64(freshFor)
}
