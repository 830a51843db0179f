package cache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// CallOption tunes one call. See [WithTags] and [WithTTL].
type CallOption struct {
	tags []string
	ttl  time.Duration
}

// WithTags adds tags to those of Options.Tags, for the value that this call loads or sets.
func WithTags(tags ...string) CallOption { return CallOption{tags: tags} }

// WithTTL sets the time to live of the value that this call loads or sets.
func WithTTL(ttl time.Duration) CallOption { return CallOption{ttl: ttl} }

func clearTag(name string) string { return "all:" + name }

// userTag is a caller's tag in the form of the store. A long tag is replaced by its hash.
func userTag(tag string) string {
	const longest = 200
	if len(tag) > longest {
		sum := sha256.Sum256([]byte(tag))
		return "tag#" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return "tag:" + tag
}

func userTags(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	full := make([]string, len(tags))
	for i, tag := range tags {
		full[i] = userTag(tag)
	}
	return full
}

// want is a requested key, with the tags that are known before a load.
type want struct {
	key    string
	tags   []string // first the tag of the whole cache, then those of Options.Tags, then those of the call
	hashes []uint64 // of tags
	own    int      // the number of tags that every reader knows
	ttl    time.Duration
}

// want returns a key with its tags and its time to live.
func (c *Typed[V]) want(key string, opts []CallOption) (want, error) {
	w := want{key: key, tags: c.tags, hashes: c.hashes, own: 1, ttl: c.ttl}
	if key == "" {
		return w, ErrEmptyKey
	}
	if c.opts.Tags != nil {
		w.tags = append(append(make([]string, 0, 4), w.tags...), userTags(c.opts.Tags(key))...)
		w.own = len(w.tags)
	}
	for _, o := range opts {
		if len(o.tags) > 0 {
			w.tags = append(w.tags[:len(w.tags):len(w.tags)], userTags(o.tags)...)
		}
		if o.ttl != 0 {
			w.ttl = o.ttl
		}
	}
	switch {
	case w.ttl < time.Millisecond:
		return w, fmt.Errorf("cache: %s: %w", c.name, ErrInvalidTTL)
	case w.ttl > longestTTL:
		return w, fmt.Errorf("cache: %s: the time to live %v is longer than %v", c.name, w.ttl, longestTTL)
	case len(w.tags)-1 > maxTags:
		return w, fmt.Errorf("cache: %s: %d tags; a key has at most %d", c.name, len(w.tags)-1, maxTags)
	}
	if len(w.tags) > 1 {
		w.hashes = tagHashes(w.tags)
	}
	return w, nil
}

func tagHashes(tags []string) []uint64 {
	out := make([]uint64, len(tags))
	for i, tag := range tags {
		out[i] = driver.TagHash(tag)
	}
	return out
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

// ensureStates makes sure that every tag of wants has a state that lives as long as the
// values. It stores the states in rs.
func (c *Typed[V]) ensureStates(ctx context.Context, wants []want, rs []reading[V]) {
	ops := c.ensureOps(nil, wants, rs)
	if len(ops) > 0 {
		ticket := c.memory.Begin()
		c.do(ctx, ops)
		c.ensured(ticket, ops, wants, rs)
		c.memory.End(ticket)
	}
}

// ensureOps appends one operation for each tag of wants.
func (c *Typed[V]) ensureOps(ops []driver.Op, wants []want, rs []reading[V]) []driver.Op {
	var tags tagSet
	first := len(ops)
	for i := range wants {
		for n, tag := range wants[i].tags {
			tags.add(tag)
			at, _ := tags.index(tag)
			if first+at == len(ops) {
				ops = append(ops, driver.Op{Kind: driver.TagState, Key: tag, TTL: time.Millisecond})
			}
			op := &ops[first+at]
			op.TTL = max(op.TTL, rs[i].life)
			if n < len(rs[i].states) {
				op.Token = rs[i].states[n]
			} else if state, known := c.memory.State(driver.TagHash(tag)); known && !c.opts.NoMemory {
				op.Token = state
			}
		}
	}
	return ops
}

// ensured stores the results of ensureOps. A reading without all states has an error.
func (c *Typed[V]) ensured(ticket driver.Ticket, ops []driver.Op, wants []want, rs []reading[V]) {
	for i := range ops {
		if op := &ops[i]; op.Err == nil {
			c.memory.KeepState(ticket, driver.TagHash(op.Key), op.Token)
		}
	}
	for i := range wants {
		states := make([]string, len(wants[i].tags))
		for n, tag := range wants[i].tags {
			for k := range ops {
				if ops[k].Key == tag {
					if states[n] = ops[k].Token; ops[k].Err != nil {
						rs[i].err = ops[k].Err
					}
					break
				}
			}
		}
		rs[i].states = states
	}
}
