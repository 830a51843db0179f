package cache

import (
	"context"
	"errors"
	"fmt"
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
	until          int64         // end of its use as an old value, on the clock of the memory
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
	p := pass[V]{wants: wants}
	ops, room := p.operations(c, mem)
	ops, states, missing := c.stateOps(ops, room, p.shared)
	p.fromMemory = len(missing) < len(p.shared)
	c.do(ctx, ops)
	p.err = c.takeStates(ticket, ops[len(wants):], states, missing)
	doubtful = p.openAll(ctx, c, ops, states)
	if len(p.others.names) > 0 {
		p.otherStates, p.othersFromMemory, p.err = c.states(ctx, ticket, p.others.names)
	}
	for i := range p.envelopes {
		e, r, w := &p.envelopes[i], &p.rs[i], &wants[i]
		if !e.valid {
			continue
		}
		holds, doubt := p.holds(e, r, w)
		doubtful = doubtful || doubt
		if !holds && doubtful {
			c.forgetStates(w.hashes)
			c.forgetStates(tagHashes(p.others.names))
		}
		if holds {
			c.decode(ctx, w, r, e)
		}
	}
	return p.rs, doubtful
}

// pass is one round of readOnce.
type pass[V any] struct {
	wants     []want
	rs        []reading[V]
	envelopes []envelope
	err       error // of the states

	tags       tagSet   // of all wants, if there are several
	shared     []string // names of the tags of all wants
	fromMemory bool     // some states of them come from memory

	others           tagSet   // tags that values have and their wants do not
	otherStates      []string // in the order of others
	othersFromMemory bool
}

// operations returns a read for each want. room is for the states of the tags.
func (p *pass[V]) operations(c *Typed[V], mem *scratch[V]) (ops []driver.Op, room []string) {
	n := len(p.wants)
	if mem != nil {
		p.rs, ops, p.envelopes, room = mem.rs[:], mem.ops[:1], mem.envelopes[:], mem.states[:0]
	} else {
		p.rs, ops, p.envelopes = make([]reading[V], n), make([]driver.Op, n, n+1), make([]envelope, n)
	}
	p.shared = p.wants[0].tags
	for i := range p.wants {
		ops[i] = driver.Op{Kind: driver.Get, Key: c.key(p.wants[i].key)}
		if n > 1 {
			for _, tag := range p.wants[i].tags {
				p.tags.add(tag)
			}
			p.shared = p.tags.names
		}
	}
	return ops, room
}

// openAll opens the values that were read, and compares the tags that each want knows. It
// collects all other tags of the values.
func (p *pass[V]) openAll(ctx context.Context, c *Typed[V], ops []driver.Op, states []string) (doubtful bool) {
	for i := range p.rs {
		r, op, w, e := &p.rs[i], &ops[i], &p.wants[i], &p.envelopes[i]
		if r.err = op.Err; r.err == nil {
			r.err = p.err
		}
		if r.seen = op.Seen; r.err != nil {
			continue
		}
		if r.states = states; len(p.wants) > 1 {
			r.states = make([]string, len(w.tags))
			for n, tag := range w.tags {
				at, _ := p.tags.index(tag)
				r.states[n] = states[at]
			}
		}
		if op.Value == nil {
			continue
		}
		if err := c.open(op.Value, e); err != nil {
			c.badPayload(ctx, w.key, r, err)
			continue
		}
		if slices.Contains(e.tags, "") || !slices.Equal(e.tags, r.states[:w.own]) {
			if p.fromMemory {
				doubtful = true
				c.forgetStates(w.hashes)
			}
			continue // a tag that every reader knows was invalidated
		}
		e.valid, e.expired = true, op.Expired
		for _, tag := range e.named {
			if !slices.Contains(w.tags, tag.name) {
				p.others.add(tag.name)
			}
		}
	}
	return doubtful
}

// holds reports whether all tags of a value have the state that the value was stored with.
// The result is doubtful if a state in memory differs.
func (p *pass[V]) holds(e *envelope, r *reading[V], w *want) (holds, doubtful bool) {
	holds = true
	for _, tag := range e.named {
		if tag.state == "" {
			return false, doubtful
		}
		if at := slices.Index(w.tags, tag.name); at >= 0 {
			if r.states[at] != tag.state {
				holds, doubtful = false, doubtful || p.fromMemory
			}
			continue
		}
		if r.err = p.err; r.err != nil {
			return false, doubtful
		}
		if n, _ := p.others.index(tag.name); p.otherStates[n] != tag.state {
			holds, doubtful = false, doubtful || p.othersFromMemory
		}
	}
	return holds, doubtful
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
		size, err := c.unmarshal(e, &r.value)
		if err != nil {
			var zero V
			r.value = zero
			c.badPayload(ctx, w.key, r, err)
			return
		}
		r.size = size
	}
	r.found, r.absent = true, e.flags&flagAbsent != 0
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
	left := min(time.Until(time.UnixMilli(e.fresh)), max(c.ttl, w.ttl))
	switch {
	case e.expired:
		left = min(left, 0)
	case c.opts.StaleFor == 0:
		left = max(left, time.Millisecond)
	}
	r.fresh, r.freshFor = left > 0, max(left, 0)
	r.life = c.life(r.freshFor)
	r.until = after(c.memory.Now(), max(c.life(left), 0))
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

// unmarshal returns the size of the payload without compression. It recovers from panics of
// codecs that trust their input.
func (c *Typed[V]) unmarshal(e *envelope, value *V) (size int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cache: the codec panicked: %v", v)
		}
	}()
	payload, err := Compression(e.flags&flagCompression>>1).unpack(e.payload, c.opts.MaxValue)
	if err != nil {
		return 0, err
	}
	return len(payload), c.opts.Codec.Unmarshal(payload, value)
}

// result returns the results of GetOrLoad for a fresh reading.
func (r *reading[V]) result() (V, error) {
	if r.absent {
		return r.value, ErrNotFound
	}
	return r.value, nil
}

// tagSet numbers the names of tags. Each name has one number.
type tagSet struct {
	names []string
	at    map[string]int
}

func (s *tagSet) add(name string) {
	if _, ok := s.index(name); ok {
		return
	}
	s.names = append(s.names, name)
	switch i := len(s.names) - 1; {
	case s.at != nil:
		s.at[name] = i
	case i == 16: // from here on a map is faster than comparing with each name
		s.at = make(map[string]int)
		for i, name := range s.names {
			s.at[name] = i
		}
	}
}

func (s *tagSet) index(name string) (int, bool) {
	if s.at != nil {
		i, ok := s.at[name]
		return i, ok
	}
	for i, n := range s.names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// states returns the states of tags, and whether memory had some of them. If memory may
// serve this cache, it may also serve the states of an earlier read, so that one read needs
// one node.
func (c *Typed[V]) states(ctx context.Context, ticket driver.Ticket, tags []string) (states []string, remembered bool, err error) {
	ops, states, missing := c.stateOps(nil, nil, tags)
	if len(ops) > 0 {
		c.do(ctx, ops)
	}
	return states, len(missing) < len(tags), c.takeStates(ticket, ops, states, missing)
}

func (c *Typed[V]) forgetStates(tags []uint64) {
	for _, tag := range tags {
		c.memory.ForgetState(tag)
	}
}

// stateOps appends the operations that read the states of unknown tags. room is memory for
// states.
func (c *Typed[V]) stateOps(ops []driver.Op, room, tags []string) (all []driver.Op, states []string, missing []int) {
	states = append(room, make([]string, len(tags))...)
	for i, tag := range tags {
		if !c.opts.NoMemory {
			if state, known := c.memory.State(driver.TagHash(tag)); known {
				states[i] = state
				continue
			}
		}
		ops, missing = append(ops, driver.Op{Kind: driver.TagState, Key: tag}), append(missing, i)
	}
	return ops, states, missing
}

// takeStates stores the results of the operations of stateOps.
func (c *Typed[V]) takeStates(ticket driver.Ticket, ops []driver.Op, states []string, missing []int) (err error) {
	for n, i := range missing {
		op := &ops[n]
		if op.Err != nil {
			err = op.Err
			continue
		}
		states[i] = op.Token
		c.memory.KeepState(ticket, driver.TagHash(op.Key), op.Token)
	}
	return err
}

// lookUp reads the store, counts, and keeps the values in memory.
func (c *Typed[V]) lookUp(ctx context.Context, ticket driver.Ticket, wants []want, mem *scratch[V]) []reading[V] {
	rs := c.read(ctx, ticket, wants, mem)
	for i := range rs {
		switch r, key := &rs[i], wants[i].key; {
		case r.err != nil:
			r.err = fmt.Errorf("cache: %s: %w", c.name, r.err)
		case r.fresh:
			c.keep(ticket, &wants[i], r)
			c.stats.hits.Add(1)
			if hook := c.opts.Trace.Hit; hook != nil {
				hook(ctx, HitEvent{c.name, key, TierStore})
			}
		default:
			c.stats.misses.Add(1)
			if hook := c.opts.Trace.Miss; hook != nil {
				hook(ctx, MissEvent{c.name, key})
			}
		}
	}
	return rs
}
