package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// ErrNotFound is the error of a load, wrapped or not, for a key without a value. GetOrLoad
// returns it for Options.NotFoundTTL without another load.
var ErrNotFound = errors.New("cache: there is no such thing")

// GetOrLoad returns the value of key, or loads and stores it. If many callers miss at the
// same time, one load runs, among all processes if the store is shared. The load receives
// the values of the first caller's context but not its cancellation, and has a limit of
// LoadTimeout. Each caller waits for its own context only. The error is that of the load or
// of the context, or ErrEmptyKey. No error is stored except ErrNotFound.
//
// The load may call SetTags, SetTTL, DoNotKeep and Old.
func (c *Typed[V]) GetOrLoad(ctx context.Context, key string, load func(context.Context) (V, error), opts ...CallOption) (V, error) {
	e, fresh := c.find(key)
	if !fresh {
		return c.loadOne(ctx, key, load, opts)
	}
	c.hitLocal(ctx, e)
	if e.Extra == nil {
		return c.valueOf(e), nil
	}
	if c.due(time.Duration(e.FreshUntil-c.memory.Now()), e.Extra.Took) {
		if w, err := c.want(key, opts); err == nil {
			c.refresh(ctx, []want{w}, one(load))
		}
	}
	if e.Extra.Absent {
		var none V
		return none, ErrNotFound
	}
	value, _ := e.Value.(V) // a nil interface is the zero value
	c.audit(ctx, key, value, e.Extra.LoadedAt, load)
	return c.clone(value), nil
}

// loadOne is GetOrLoad of a key that is not in the local tier.
func (c *Typed[V]) loadOne(ctx context.Context, key string, load func(context.Context) (V, error), opts []CallOption) (none V, _ error) {
	w, err := c.want(key, opts)
	if err != nil {
		return none, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return none, err
		}
		ticket, seq := c.memory.Begin(), c.memory.Seq()
		mem := c.borrow(w)
		wants := mem.wants[:]
		rs := c.lookUp(ctx, ticket, wants, mem)
		if r := &rs[0]; r.err == nil && r.fresh {
			c.memory.End(ticket)
			if c.due(r.freshFor, r.took) {
				c.refresh(ctx, slices.Clone(wants), one(load))
			}
			value, err := r.result()
			if err == nil {
				c.audit(ctx, key, value, r.loaded.UnixNano(), load)
				value = c.clone(value)
			}
			c.giveBack(mem)
			return value, err
		}
		if err := ctx.Err(); err != nil {
			c.memory.End(ticket)
			return none, err
		}
		all, joined := c.start(ctx, ticket, seq, wants, rs, one(load), false)
		c.stats.joined.Add(uint64(joined)) //nolint:gosec // not negative
		value, stale, again, err := all[0].wait(ctx, c.memory, c.opts.SoftTimeout)
		if again {
			continue
		}
		if err != nil {
			return none, err
		}
		c.served(ctx, key, stale)
		return c.clone(value), nil
	}
}

// served counts an old value that was served, if there is a reason.
func (c *Typed[V]) served(ctx context.Context, key string, why StaleReason) {
	switch why {
	case StaleLoadFailed:
		c.stats.staleFailed.Add(1)
	case StaleLoadSlow:
		c.stats.staleSlow.Add(1)
	case StaleThrottled:
		c.stats.staleThrottled.Add(1)
	default:
		return
	}
	if hook := c.opts.Trace.Stale; hook != nil {
		hook(ctx, StaleEvent{c.name, key, why})
	}
}

// Func returns fn with its results stored in c. key returns the key of an argument.
// Different arguments must have different keys.
func Func[K, V any](c *Typed[V], key func(K) string, fn func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	return func(ctx context.Context, arg K) (V, error) {
		return c.GetOrLoad(ctx, key(arg), func(ctx context.Context) (V, error) { return fn(ctx, arg) })
	}
}

// outcome is the result of a load for one key.
type outcome[V any] struct {
	value V
	err   error
}

// loader loads keys. The outcomes have the order of the keys.
type loader[V any] func(ctx context.Context, keys []string) []outcome[V]

func one[V any](load func(context.Context) (V, error)) loader[V] {
	return func(ctx context.Context, _ []string) []outcome[V] {
		value, err := load(ctx)
		return []outcome[V]{{value, err}}
	}
}

// start joins the running calls of keys, and begins the missing ones. rs are the readings
// of the keys. They were made after the ticket, which start takes over.
func (c *Typed[V]) start(ctx context.Context, ticket driver.Ticket, seq uint64, wants []want, rs []reading[V], load loader[V], early bool) (all []waiter[V], joined int) {
	all = make([]waiter[V], len(wants))
	var jobs []*job[V]
	n := &node{}
	for i := range wants {
		w := &wants[i]
		own, ok := c.calls.claim(w, ticket.Again(c.memory), n, seq)
		if all[i] = own; ok {
			c.memory.End(ticket)
			joined++
			continue
		}
		j := &job[V]{want: *w, call: own.call, ticket: ticket.Again(c.memory)}
		j.take(&rs[i])
		jobs = append(jobs, j)
	}
	c.memory.End(ticket)
	if len(jobs) > 0 {
		b := &batch[V]{c: c, all: jobs, load: load, node: n, early: early}
		go b.run(context.WithoutCancel(ctx))
	}
	return all, joined
}

// refresh loads values in the background while they can still be served.
func (c *Typed[V]) refresh(ctx context.Context, wants []want, load loader[V]) {
	c.inBackground(func() {
		ctx := context.WithoutCancel(ctx)
		ticket, seq := c.memory.Begin(), c.memory.Seq()
		all, _ := c.start(ctx, ticket, seq, wants, c.read(ctx, ticket, wants, nil), load, true)
		for _, f := range all {
			<-f.done
		}
	})
}

// inBackground runs f, unless the maximum number of background loads already runs. It
// reports whether f runs.
func (c *Typed[V]) inBackground(f func()) bool {
	select {
	case c.background <- struct{}{}:
		go func() {
			defer func() { <-c.background }()
			f()
		}()
		return true
	default:
		return false
	}
}

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

// valueOf returns the value of an entry for a caller. The entry is not that of an absence.
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

// due decides whether a value is loaded again before its time to live ends.
func (c *Typed[V]) due(freshFor, took time.Duration) bool {
	if c.opts.EarlyRefresh == 0 {
		return false
	}
	return -math.Log(1-rand.Float64())*c.opts.EarlyRefresh*float64(max(took, time.Millisecond)) >= float64(freshFor)
}

// audit compares one in Options.AuditEvery hits with the source, in the background.
func (c *Typed[V]) audit(ctx context.Context, key string, served V, loaded int64, load func(context.Context) (V, error)) {
	if c.opts.AuditEvery == 0 || rand.IntN(c.opts.AuditEvery) != 0 {
		return
	}
	w, err := c.want(key, nil)
	if err != nil {
		return
	}
	ticket := c.memory.Begin()
	runs := c.inBackground(func() {
		defer c.memory.End(ticket)
		defer func() { _ = recover() }() // a panic is not a result
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.LoadTimeout)
		defer cancel()
		m := &meta{known: len(w.tags) - 1}
		now, err := load(context.WithValue(ctx, metaKey{}, m))
		m.end()
		if err != nil && !isNotFound(err) {
			return
		}
		stale := err != nil
		if !stale {
			equal, err := c.equal(served, now)
			if err != nil {
				return // the values cannot be compared
			}
			stale = !equal
		}
		// A write during the comparison explains the difference. Its message may still be
		// on the way, so the key is read again.
		if stale && !c.memory.Valid(ticket, w.hash, tagHashes(append(w.tags[:len(w.tags):len(w.tags)], userTags(m.tags)...))) {
			return
		}
		age := time.Since(time.Unix(0, loaded))
		c.stats.audited.Add(1)
		if stale {
			c.stats.auditedStale.Add(1)
			c.stats.staleAge.Store(int64(age))
		}
		if hook := c.opts.Trace.Audit; hook != nil {
			hook(ctx, AuditEvent{c.name, key, stale, age})
		}
	})
	if !runs {
		c.memory.End(ticket)
	}
}

// equal compares two values in their encoded forms. The forms of one map may differ in the
// order of its keys. If the forms differ, equal therefore decodes them and compares the
// copies.
func (c *Typed[V]) equal(a, b V) (bool, error) {
	first, err1 := c.marshal(a)
	second, err2 := c.marshal(b)
	if err := cmp.Or(err1, err2); err != nil || bytes.Equal(first, second) {
		return err == nil, err
	}
	var one, other V
	err := cmp.Or(c.opts.Codec.Unmarshal(first, &one), c.opts.Codec.Unmarshal(second, &other))
	return reflect.DeepEqual(one, other), err
}

// want is a requested key, with the tags that are known before a load.
type want struct {
	key    string
	hash   uint64   // of key
	tags   []string // first the tag of the whole cache, then those of Options.Tags, then those of the call
	hashes []uint64 // of tags
	own    int      // the number of tags that every reader knows
	ttl    time.Duration
}

// want returns a key with its tags and its time to live.
func (c *Typed[V]) want(key string, opts []CallOption) (want, error) {
	w := want{key: key, hash: c.hash(key), tags: c.tags, hashes: c.hashes, own: 1, ttl: c.ttl}
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

func (c *Typed[V]) hash(key string) uint64 { return xxh3.HashStringSeed(key, c.seed) }
