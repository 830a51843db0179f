package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// job is a key of a batch.
type job[V any] struct {
	want
	*call[V]
	// ticket is as old as that of the call. The call may end before the value is stored.
	ticket  driver.Ticket
	leaving sync.Once  // of the ticket
	reading reading[V] // of the store
	read    bool       // the reading is up to date
	token   string     // of the lease, "" without one
	lease   driver.LeaseState
	left    time.Duration // of the lease of another process, 0 if unknown
	store   bool          // the value may be stored
	down    bool          // the store failed, or has a value that only newer versions can decode
}

// take records the reading of the key.
func (j *job[V]) take(r *reading[V]) {
	j.reading, j.read, j.down = *r, true, r.err != nil || r.newer
	var old *V // a deleted value must not be served
	if r.found && !r.absent {
		old = &j.reading.value
	}
	j.setOld(old, r.bears, r.until)
}

// leave ends the ticket of the job. The job stores nothing from then on.
func (j *job[V]) leave(m *driver.Memory) { j.leaving.Do(func() { m.End(j.ticket) }) }

// batch loads keys for the waiters of their calls.
type batch[V any] struct {
	c     *Typed[V]
	all   []*job[V]
	load  loader[V]
	node  *node
	early bool
}

// run loads the keys, or waits until another process has loaded them. It loads the keys
// that this process may load together. It repeats this for the other keys until they are
// loaded.
func (b *batch[V]) run(ctx context.Context) {
	c, jobs := b.c, b.all
	defer b.leave(jobs)
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, b.timeOut) // also if the load ignores its context
	defer stop()
	defer b.settle(jobs)
	var others sync.WaitGroup
	defer others.Wait()
	began := time.Now()
	for len(jobs) > 0 {
		final := time.Since(began) >= c.opts.LeaseWait
		news, leave := b.news(jobs)
		ready, held := b.acquire(ctx, jobs, final)
		if ctx.Err() != nil {
			leave()
			b.timeOut()
			return
		}
		if len(held) == 0 {
			leave()
			b.loadAll(ctx, ready)
			return
		}
		if len(ready) > 0 {
			others.Go(func() { b.loadAll(ctx, ready) })
		}
		jobs = held
		if await(ctx, news, b.pause(held, time.Since(began))) {
			for _, j := range held {
				j.read = false
			}
		}
		leave()
	}
}

// loadAll calls the loader for keys, stores the values, and ends the calls.
func (b *batch[V]) loadAll(ctx context.Context, jobs []*job[V]) {
	if len(jobs) == 0 {
		return
	}
	c := b.c
	defer b.settle(jobs)
	m := &meta{node: b.node, old: b.old(jobs)}
	keys := make([]string, len(jobs))
	for i, j := range jobs {
		keys[i] = j.want.key
		m.known = max(m.known, len(j.want.tags)-1)
	}
	release := b.renew(ctx, jobs)
	defer release()
	// A load may take longer than LoadTimeout. Its value is not stored then, so the tickets
	// need not stay.
	inTime := context.AfterFunc(ctx, func() { b.leave(jobs) })
	start := time.Now()
	out := b.load(context.WithValue(ctx, metaKey{}, m), keys)
	took := time.Since(start)
	m.end()
	c.stats.loads.Add(1)
	c.stats.loadTime.Add(int64(took))
	var late error
	if !inTime() { // all waiters have left
		late = c.loadTimeout()
	}
	tags := userTags(m.tags)
	hashes := tagHashes(tags)
	var loaded []*result[V]
	failed := false
	for i, j := range jobs {
		value, err := out[i].value, cmp.Or(late, out[i].err)
		failed = failed || err != nil
		if hook := c.opts.Trace.Loaded; hook != nil {
			hook(ctx, LoadedEvent{c.name, j.want.key, took, err})
		}
		if m.ttl != 0 {
			j.ttl = m.ttl
		}
		switch absent := isNotFound(err); {
		case m.drop && (err == nil || absent), absent && c.opts.NotFoundTTL < 0:
			c.calls.end(j.call, ending[V]{value: value, err: err, late: hashes})
		case err != nil && !absent:
			b.fail(j, err)
		default:
			loaded = append(loaded, c.result(j, value, took, start, err))
		}
	}
	if failed {
		c.stats.loadErrors.Add(1)
	}
	ctx = context.WithoutCancel(ctx)
	b.addTags(ctx, loaded, tags, hashes)
	b.storeAll(ctx, loaded)
	for _, f := range loaded {
		if f.outage && f.keep && !f.job.reading.newer {
			c.offer(f, tags)
		}
		c.calls.end(f.job.call, ending[V]{value: f.value, err: f.err, late: hashes})
	}
}

// old finds the old value of a key for its load.
func (b *batch[V]) old(jobs []*job[V]) func(string) any {
	return func(key string) any {
		for _, j := range jobs {
			if j.want.key == key {
				if old, _ := j.getOld(b.c.memory); old != nil {
					return b.c.clone(*old)
				}
			}
		}
		return nil
	}
}

// end ends a job with a result.
func (b *batch[V]) end(j *job[V], value V, err error) {
	b.c.calls.end(j.call, ending[V]{value: value, err: err})
}

// fail ends a job with the old value if there is one, or else with the error.
func (b *batch[V]) fail(j *job[V], err error) {
	with := ending[V]{err: err, rest: b.c.opts.ErrorTTL}
	if old, left := j.getOld(b.c.memory); old != nil {
		with = ending[V]{value: *old, stale: true, rest: min(b.c.opts.ThrottleFor, left)}
	}
	b.c.calls.end(j.call, with)
}

// leave ends the tickets of jobs.
func (b *batch[V]) leave(jobs []*job[V]) {
	for _, j := range jobs {
		j.leave(b.c.memory)
	}
}

// timeOut ends the jobs of a load that takes too long.
func (b *batch[V]) timeOut() {
	for _, j := range b.all {
		b.fail(j, b.c.loadTimeout())
	}
}

func (c *Typed[V]) loadTimeout() error {
	return fmt.Errorf("%w (%v): %w", ErrLoadTimeout, c.opts.LoadTimeout, context.DeadlineExceeded)
}

// settle is deferred: it ends the jobs that a panic or runtime.Goexit has left open.
func (b *batch[V]) settle(jobs []*job[V]) {
	err := ErrLoadExited // after Goexit, recover returns nil
	if v := recover(); v != nil {
		err = &PanicError{v, debug.Stack()}
	}
	for _, j := range jobs {
		var none V
		b.end(j, none, err)
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
	e := &driver.Entry{Hash: w.hash, Owner: c.owner, Key: w.key, Value: r.value, FreshUntil: after(now, min(r.freshFor, life))}
	tags := r.bears
	if tags == nil && len(w.hashes) > 1 {
		tags = w.hashes[1:]
	}
	if len(tags) > 0 || r.absent || c.opts.EarlyRefresh > 0 || c.opts.AuditEvery > 0 {
		e.Extra = &driver.Extra{Tags: tags, Took: r.took, LoadedAt: r.loaded.UnixNano(), Absent: r.absent}
	}
	size := int64(r.size)
	if !r.absent && (c.opts.Weigh != nil || size == 0) {
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

// jittered shortens a time to live at random.
func (c *Typed[V]) jittered(ttl time.Duration) time.Duration {
	if c.opts.Jitter <= 0 {
		return ttl
	}
	return max(ttl-time.Duration(c.opts.Jitter*rand.Float64()*float64(ttl)), time.Millisecond)
}

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
func (b *batch[V]) addTags(ctx context.Context, loaded []*result[V], tags []string, hashes []uint64) {
	if len(tags) == 0 || len(loaded) == 0 {
		return
	}
	c := b.c
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
		case !c.memory.Valid(j.ticket, j.want.hash, j.hashes):
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

// life is how long a value with this time to live is useful.
func (c *Typed[V]) life(ttl time.Duration) time.Duration {
	if ttl > math.MaxInt64-c.opts.StaleFor {
		return math.MaxInt64
	}
	return ttl + c.opts.StaleFor
}
