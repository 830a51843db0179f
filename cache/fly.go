package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// leaseTTL is how long another process waits for one that died while it loaded.
	leaseTTL = 3 * time.Second
	// How often who waits for another process asks.
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// job is a key that is loaded for all who wait for its flight.
type job[V any] struct {
	want
	*flight[V]
	reading *reading[V] // the last, nil before it and when it is out of date
	token   string      // of a lease; "" if the store grants none
	ok      bool        // what is loaded may be stored
	down    bool        // the store failed, or has what only newer versions can read
	any     []tagStamp  // of anyTag, before the load
}

// end gives the outcome of a job to all who wait.
func (c *Typed[V]) end(j *job[V], value V, err error) {
	c.flights.end(j.flight, ending[V]{outcome: outcome[V]{value, err}})
}

// fail ends a job that has brought nothing: with the old value, if there is one.
func (c *Typed[V]) fail(j *job[V], err error) {
	with := ending[V]{outcome: outcome[V]{err: err}, rest: c.opts.ErrorTTL}
	if old := j.getOld(); old != nil {
		with = ending[V]{outcome: outcome[V]{value: *old}, stale: true, rest: c.opts.ThrottleFor}
	}
	c.flights.end(j.flight, with)
}

// timeOut ends the jobs of a load that takes too long.
func (c *Typed[V]) timeOut(jobs []*job[V]) {
	for _, j := range jobs {
		c.fail(j, c.loadTimeout())
	}
}

func (c *Typed[V]) loadTimeout() error {
	return fmt.Errorf("%w (%v): %w", ErrLoadTimeout, c.opts.LoadTimeout, context.DeadlineExceeded)
}

// fly loads keys, or waits until somebody else has. Those that this process may load are
// loaded together; those that another process loads are asked for again meanwhile.
func (c *Typed[V]) fly(ctx context.Context, jobs []*job[V], load loader[V], down, early bool) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	all := jobs
	stop := context.AfterFunc(ctx, func() { c.timeOut(all) }) // whether the load obeys or not
	defer stop()
	defer c.settle(jobs)
	var others sync.WaitGroup
	defer others.Wait()
	began := time.Now()
	for len(jobs) > 0 {
		final := time.Since(began) >= c.opts.LeaseWait
		ready, held := c.permission(ctx, jobs, down, early, final)
		if ctx.Err() != nil {
			c.timeOut(all)
			return
		}
		if len(held) == 0 {
			c.load(ctx, ready, load)
			return
		}
		if len(ready) > 0 {
			others.Go(func() { c.load(ctx, ready, load) })
		}
		jobs = held
		// The longer it takes the less it matters when its end is noticed.
		pause := min(max(time.Since(began)/8, minPause), maxPause)
		sleep(ctx, pause/2+rand.N(pause))
	}
}

// permission finds out which keys may be loaded; of those that are neither ready nor
// held somebody else has loaded what is fresh.
func (c *Typed[V]) permission(ctx context.Context, jobs []*job[V], down, early, final bool) (ready, held []*job[V]) {
	if c.store == nil || down {
		for _, j := range jobs {
			j.ok, j.down = c.store == nil, down
			if !c.inMemory(j, early) {
				ready = append(ready, j)
			}
		}
		return ready, nil
	}
	var ask []*job[V]
	c.readAgain(ctx, jobs)
	for _, j := range jobs {
		r := j.reading
		switch {
		case r.err != nil:
			j.down = true
		case r.fresh && (!early || !c.soon(r)):
			c.keepNear(j.want.key, r, j.stamp)
			value, err := r.result()
			c.end(j, value, err)
			continue
		case r.newer:
			j.down = true // its own readers want it, and this process loads for itself
		case c.leaser == nil:
			j.ok = true
		default:
			ask = append(ask, j)
			continue
		}
		ready = append(ready, j)
	}
	if len(ask) == 0 {
		return ready, nil
	}
	states, err := c.askLeases(ctx, ask)
	for i, j := range ask {
		switch {
		case err != nil:
			j.down = true
			ready = append(ready, j)
		case states[i] == LeaseGranted:
			j.ok = true
			ready = append(ready, j)
		case early && j.reading.fresh: // somebody else refreshes it
			value, err := j.reading.result()
			c.end(j, value, err)
		case final:
			j.token = ""
			ready = append(ready, j)
		default:
			if states[i] == LeaseMoot {
				j.reading = nil
			}
			held = append(held, j)
		}
	}
	return ready, held
}

// inMemory looks for what may be served where memory is all there is, or all that
// answers. It reports whether that is fresh.
func (c *Typed[V]) inMemory(j *job[V], early bool) bool {
	e, fresh := c.fromNear(j.want.key)
	j.any = c.coh.tagStamps([]string{anyTag})
	if e == nil || e.absent || c.store != nil {
		return false
	}
	if fresh && !early {
		c.end(j, e.value, nil)
		return true
	}
	j.setOld(&e.value)
	return false
}

// readAgain reads the keys whose reading is out of date.
func (c *Typed[V]) readAgain(ctx context.Context, jobs []*job[V]) {
	var wants []want
	var at []*job[V]
	for _, j := range jobs {
		if j.reading == nil {
			j.any = c.coh.tagStamps([]string{anyTag})
			wants, at = append(wants, j.want), append(at, j)
		}
	}
	if len(wants) == 0 {
		return
	}
	rs := c.read(ctx, wants, true)
	for i, j := range at {
		j.reading = &rs[i]
		j.setOld(nil) // what was deleted since must not be served
		if j.reading.found && !j.reading.absent {
			j.setOld(&j.reading.value)
		}
	}
}

// soon reports whether a refresh of this value still makes sense: it may have been
// refreshed since it was found due.
func (c *Typed[V]) soon(r *reading[V]) bool { return r.freshFor < c.ttl/2 || r.took > r.freshFor/10 }

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *Typed[V]) askLeases(ctx context.Context, jobs []*job[V]) ([]LeaseState, error) {
	leases := make([]Lease, len(jobs))
	for i, j := range jobs {
		if j.token == "" {
			j.token = newToken()
		}
		leases[i] = Lease{Key: c.key(j.want.key), Token: j.token, Seen: j.reading.data}
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	states, err := c.leaser.Lease(ctx, leaseTTL, leases...)
	c.observe(ctx, jobs[0].want.key, err)
	return states, err
}

// load calls the loader for keys and gives out what it brings.
func (c *Typed[V]) load(ctx context.Context, jobs []*job[V], load loader[V]) {
	if len(jobs) == 0 {
		return
	}
	defer c.settle(jobs)
	keys, m := make([]string, len(jobs)), &meta{}
	for i, j := range jobs {
		keys[i] = j.want.key
		m.known = max(m.known, j.want.tags())
	}
	release := c.renew(ctx, jobs)
	defer release()
	start := time.Now()
	out := load(context.WithValue(ctx, metaKey{}, m), keys)
	took := time.Since(start)
	c.stats.loads.Add(1)
	c.stats.loadTime.Add(int64(took))
	tags, ttl := m.end()
	var late error
	if ctx.Err() != nil { // nobody waits for it any more
		late = c.loadTimeout()
	}
	var fills []*filling[V]
	failed := false
	for i, j := range jobs {
		value, err := out[i].value, out[i].err
		err = cmp.Or(late, err)
		failed = failed || err != nil
		if hook := c.opts.Trace.Loaded; hook != nil {
			hook(ctx, c.name, j.want.key, took, err)
		}
		absent := errors.Is(err, ErrNotFound)
		switch {
		case absent && c.opts.NotFoundTTL < 0:
			c.end(j, value, err)
		case err != nil && !absent:
			c.fail(j, err)
		default:
			if ttl != 0 {
				j.ttl = ttl
			}
			fills = append(fills, c.filling(j, value, absent, took, err))
		}
	}
	if failed {
		c.stats.loadErrors.Add(1)
	}
	c.fill(ctx, fills, userTags(tags))
	for _, f := range fills {
		c.end(f.job, f.reading.value, f.err)
	}
}

// settle is deferred: it ends the jobs that a panic or runtime.Goexit has left open.
func (c *Typed[V]) settle(jobs []*job[V]) {
	err := ErrLoadExited // Goexit leaves nothing to recover
	if v := recover(); v != nil {
		err = &PanicError{v, debug.Stack()}
	}
	for _, j := range jobs {
		var none V
		c.end(j, none, err)
	}
}

// renew keeps the leases of jobs until the function that it returns is called, which
// releases those that were not ended by a fill.
func (c *Typed[V]) renew(ctx context.Context, jobs []*job[V]) (release func()) {
	var leases []Lease
	for _, j := range jobs {
		if j.token != "" && j.ok {
			leases = append(leases, Lease{Key: c.key(j.want.key), Token: j.token})
		}
	}
	if len(leases) == 0 {
		return func() {}
	}
	renewing, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(leaseTTL / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				// A lease that was lost is not taken again: what it protects is old.
				c.observe(renewing, jobs[0].want.key, c.onLeases(renewing, func(ctx context.Context) error {
					return c.leaser.Extend(ctx, leaseTTL, leases...)
				}))
			case <-renewing.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		var left []Lease
		for _, j := range jobs {
			if j.token != "" && j.ok {
				left = append(left, Lease{Key: c.key(j.want.key), Token: j.token})
			}
		}
		if len(left) > 0 {
			ctx := context.WithoutCancel(ctx)
			c.observe(ctx, jobs[0].want.key, c.onLeases(ctx, func(ctx context.Context) error { return c.leaser.Release(ctx, left...) }))
		}
	}
}

func (c *Typed[V]) onLeases(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	return f(ctx)
}
