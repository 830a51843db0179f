package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// job is a key of a batch.
type job[V any] struct {
	want
	*call[V]
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
	j.setOld(nil, nil) // a deleted value must not be served
	if r.found && !r.absent {
		j.setOld(&j.reading.value, r.bears)
	}
}

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
		news := b.news(jobs)
		ready, held := b.acquire(ctx, jobs, final)
		if ctx.Err() != nil {
			b.timeOut()
			return
		}
		if len(held) == 0 {
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
	}
}

// news returns a channel that receives when one of the keys is stored or written, or its
// lease ends.
func (b *batch[V]) news(jobs []*job[V]) <-chan struct{} {
	c := b.c
	if c.store == nil || len(jobs) == 1 && jobs[0].down {
		return nil
	}
	if len(jobs) == 1 {
		return c.memory.News(c.hash(jobs[0].want.key))
	}
	any := make(chan struct{}, 1)
	for _, j := range jobs {
		one := c.memory.News(c.hash(j.want.key))
		go func() {
			select {
			case <-one:
				select {
				case any <- struct{}{}:
				default:
				}
			case <-j.done:
			}
		}()
	}
	return any
}

// await waits for d, and reports whether news arrived before.
func await(ctx context.Context, news <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-news:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// acquire splits keys into those that this process may load and those that another process
// is loading. A key in neither list has a fresh value, and its call has ended.
func (b *batch[V]) acquire(ctx context.Context, jobs []*job[V], final bool) (ready, held []*job[V]) {
	c := b.c
	if c.store == nil {
		for _, j := range jobs {
			j.store = true
			if !b.inMemory(j) {
				ready = append(ready, j)
			}
		}
		return ready, nil
	}
	b.readAgain(ctx, jobs)
	var ask []*job[V]
	for _, j := range jobs {
		r := &j.reading
		switch {
		case r.err == nil && r.fresh && (!b.early || !c.soon(r)):
			c.keep(j.ticket, &j.want, r)
			value, err := r.result()
			b.end(j, value, err)
		case j.down:
			ready = append(ready, j)
		default:
			ask = append(ask, j)
		}
	}
	b.askLeases(ctx, ask, driver.NewToken)
	for _, j := range ask {
		switch {
		case j.token != "" || j.down:
			ready = append(ready, j)
		case b.early && j.reading.fresh: // another process refreshes it
			value, err := j.reading.result()
			b.end(j, value, err)
		case final:
			ready = append(ready, j)
		default:
			held = append(held, j)
		}
	}
	for _, j := range ready {
		if c.store != nil {
			c.memory.Wake(c.hash(j.want.key)) // this process does not wait for news of it
		}
	}
	return ready, held
}

// inMemory looks for a value if memory is the only tier. A fresh value ends the call.
func (b *batch[V]) inMemory(j *job[V]) bool {
	c := b.c
	e, fresh := c.find(j.want.key)
	if e == nil || e.Extra != nil && e.Extra.Absent {
		return false
	}
	value, _ := e.Value.(V)
	if fresh && !b.early {
		b.end(j, value, nil)
		return true
	}
	var tags []uint64
	if e.Extra != nil {
		tags = e.Extra.Tags
	}
	j.setOld(&value, tags)
	return false
}

// readAgain reads the keys with an outdated reading.
func (b *batch[V]) readAgain(ctx context.Context, jobs []*job[V]) {
	var wants []want
	var at []*job[V]
	for _, j := range jobs {
		if !j.read {
			wants, at = append(wants, j.want), append(at, j)
		}
	}
	if len(wants) == 0 {
		return
	}
	rs := b.c.read(ctx, at[0].ticket, wants, nil)
	for i, j := range at {
		j.take(&rs[i])
	}
}

// soon reports whether a refresh of this value is still useful: another refresh may have
// happened since.
func (c *Typed[V]) soon(r *reading[V]) bool { return r.freshFor < c.ttl/2 || r.took > r.freshFor/10 }

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
	start := time.Now()
	out := b.load(context.WithValue(ctx, metaKey{}, m), keys)
	took := time.Since(start)
	m.end()
	c.stats.loads.Add(1)
	c.stats.loadTime.Add(int64(took))
	var late error
	if ctx.Err() != nil { // all waiters have left
		late = c.loadTimeout()
	}
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
		case m.drop && err == nil, absent && c.opts.NotFoundTTL < 0:
			c.calls.end(j.call, ending[V]{value: value, err: err, late: tagHashes(userTags(m.tags))})
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
	b.addTags(ctx, loaded, userTags(m.tags))
	b.storeAll(ctx, loaded)
	for _, f := range loaded {
		if f.outage && f.keep && !f.job.reading.newer {
			c.offer(f, userTags(m.tags))
		}
	}
	hashes := tagHashes(userTags(m.tags))
	for _, f := range loaded {
		c.calls.end(f.job.call, ending[V]{value: f.value, err: f.err, late: hashes})
	}
}

// old finds the old value of a key for its load.
func (b *batch[V]) old(jobs []*job[V]) func(string) any {
	return func(key string) any {
		for _, j := range jobs {
			if j.want.key == key {
				if old := j.getOld(b.c.memory); old != nil {
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
	if old := j.getOld(b.c.memory); old != nil {
		with = ending[V]{value: *old, stale: true, rest: b.c.opts.ThrottleFor}
	}
	b.c.calls.end(j.call, with)
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
