package cache

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

const (
	// leaseTTL is how long other processes wait for a process that died during its load.
	leaseTTL = 3 * time.Second
	// renewEvery is the time between two renewals of a lease. Most loads need none. There
	// is time for a second attempt before the lease ends.
	renewEvery = leaseTTL * 3 / 4
	renewAgain = leaseTTL / 30
	// The limits of the pause before a process requests a lease again. They apply if it
	// receives no messages.
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// askLeases requests the leases of keys, and states of their tags that live as long as the
// values. A job with a token holds its lease.
func (b *batch[V]) askLeases(ctx context.Context, jobs []*job[V], token func() string) {
	if len(jobs) == 0 {
		return
	}
	c := b.c
	ops, wants, rs := make([]driver.Op, len(jobs)), make([]want, len(jobs)), make([]reading[V], len(jobs))
	for i, j := range jobs {
		wants[i], rs[i] = j.want, reading[V]{life: c.life(j.ttl), states: j.reading.states}
		ops[i] = driver.Op{Kind: driver.Lease, Key: c.key(j.want.key), Token: token(), TTL: leaseTTL, Seen: j.reading.seen}
	}
	states := c.ensureOps(nil, wants, rs)
	known := tokens(states)
	first := 0
	if states[0].Token == "" {
		first = 1 // the cache is new: a process that waits need not create its state
	}
	ops = append(ops, states[first:]...)
	c.do(ctx, ops)
	copy(states[first:], ops[len(jobs):])
	if first == 1 && slices.ContainsFunc(ops[:len(jobs)], func(op driver.Op) bool { return op.State == driver.LeaseGranted && op.Err == nil }) {
		c.do(ctx, states[:1])
	}
	c.ensured(jobs[0].ticket, states, known, wants, rs)
	for i, j := range jobs {
		op := &ops[i]
		j.lease, j.left = op.State, op.Left
		// The value is the one that was read before, unless the lease is moot.
		j.read = op.Err == nil && op.State != driver.LeaseMoot
		switch {
		case op.Err != nil:
			j.down = true
		case op.State == driver.LeaseGranted:
			j.token, j.reading.states, j.store = op.Token, rs[i].states, rs[i].err == nil
		}
	}
}

// pause returns how long jobs wait before they request their leases again, unless news
// arrive.
func (b *batch[V]) pause(held []*job[V], waited time.Duration) time.Duration {
	// The longer the load takes, the later its end may be noticed.
	poll := min(max(waited/8, minPause), maxPause)
	poll = poll/2 + rand.N(poll/2+1)
	if !b.c.memory.Online() {
		return poll
	}
	// A message arrives unless the other process dies. An earlier request than at the end
	// of its lease is therefore useless.
	longest := max(b.c.opts.LeaseWait-waited, minPause)
	for _, j := range held {
		if j.lease == driver.LeaseMoot { // the value is there already, and no message follows
			return poll
		}
		longest = min(longest, cmp.Or(j.left, leaseTTL)+rand.N(leaseTTL/8))
	}
	return longest
}

// renew extends the leases of jobs until the caller calls release. release ends the leases
// that no Fill has ended.
func (b *batch[V]) renew(ctx context.Context, jobs []*job[V]) (release func()) {
	c := b.c
	held := leases(c, driver.Extend, jobs)
	if len(held) == 0 {
		return func() {}
	}
	renewing, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Add(1)
	timer := time.AfterFunc(renewEvery, func() {
		defer done.Done()
		for renewing.Err() == nil {
			// A lost lease is not taken again: its value is old. Only the first tokens of
			// the jobs are read here, because the jobs belong to the goroutine that loads.
			ops := slices.Clone(held)
			next := renewEvery
			if c.do(renewing, ops); slices.ContainsFunc(ops, func(op driver.Op) bool { return op.Err != nil }) {
				next = renewAgain
			}
			await(renewing, nil, next)
		}
	})
	return func() {
		cancel()
		if timer.Stop() {
			done.Done()
		}
		done.Wait()
		if left := leases(c, driver.Release, jobs); len(left) > 0 {
			c.do(context.WithoutCancel(ctx), left)
		}
	}
}

// leases returns one operation for each job that holds a lease.
func leases[V any](c *Typed[V], kind driver.Kind, jobs []*job[V]) (ops []driver.Op) {
	for _, j := range jobs {
		if j.token != "" {
			ops = append(ops, driver.Op{Kind: kind, Key: c.key(j.want.key), Token: j.token, TTL: leaseTTL})
		}
	}
	return ops
}

// ensureStates makes sure that every tag of wants has a state that lives as long as the
// values. It stores the states in rs.
func (c *Typed[V]) ensureStates(ctx context.Context, wants []want, rs []reading[V]) {
	ops := c.ensureOps(nil, wants, rs)
	if len(ops) > 0 {
		known, ticket := tokens(ops), c.memory.Begin()
		c.do(ctx, ops)
		c.ensured(ticket, ops, known, wants, rs)
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

// tokens returns the states that the store receives with ops.
func tokens(ops []driver.Op) []string {
	out := make([]string, len(ops))
	for i := range ops {
		out[i] = ops[i].Token
	}
	return out
}

// ensured stores the results of ensureOps. known are the states from before. They do not become
// younger, since the store may return them without reading them. A reading without all states
// has an error.
func (c *Typed[V]) ensured(ticket driver.Ticket, ops []driver.Op, known []string, wants []want, rs []reading[V]) {
	for i := range ops {
		if op := &ops[i]; op.Err == nil && op.Token != known[i] {
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

// news returns a channel that receives when one of the keys is stored or written, or its
// lease ends. The caller must call leave.
func (b *batch[V]) news(jobs []*job[V]) (news <-chan struct{}, leave func()) {
	m := b.c.memory
	if b.c.store == nil || len(jobs) == 1 && jobs[0].down {
		return nil, func() {}
	}
	if len(jobs) == 1 {
		hash := jobs[0].want.hash
		one := m.News(hash)
		return one, func() { m.Left(hash, one) }
	}
	any, left := make(chan struct{}, 1), make(chan struct{})
	for _, j := range jobs {
		hash := j.want.hash
		one := m.News(hash)
		go func() {
			defer m.Left(hash, one)
			select {
			case <-one:
				select {
				case any <- struct{}{}:
				default:
				}
			case <-left:
			}
		}()
	}
	return any, func() { close(left) }
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
	j.setOld(&value, tags, e.GoneAt())
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

func (c *Typed[V]) key(key string) string { return c.name + ":" + key }

// do calls the store within StoreTimeout and counts failures.
func (c *Typed[V]) do(ctx context.Context, ops []driver.Op) {
	// A caller with less time left keeps its deadline, without a second timer.
	if deadline, ok := ctx.Deadline(); !c.bounds && ctx.Err() == nil && (!ok || time.Until(deadline) > c.opts.StoreTimeout) {
		limited, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
		defer cancel()
		c.store.Do(limited, ops)
	} else {
		c.store.Do(ctx, ops)
	}
	var failed error
	key := ""
	for i := range ops {
		if err := ops[i].Err; err != nil && !errors.Is(err, ErrPending) {
			failed, key = err, ops[i].Key
			break
		}
	}
	c.observe(ctx, key, failed)
}

// observe counts a failure of the store, and logs when the store begins to fail and when it
// works again.
func (c *Typed[V]) observe(ctx context.Context, key string, err error) {
	if err != nil && (ctx.Err() != nil && !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrEmptyKey)) {
		return // the caller left: the store may still work
	}
	if err != nil {
		c.stats.storeErrors.Add(1)
		if hook := c.opts.Trace.StoreError; hook != nil {
			hook(ctx, StoreErrorEvent{c.name, strings.TrimPrefix(key, c.name+":"), err})
		}
	}
	if c.failing.changed(err != nil) {
		level, text := slog.LevelInfo, "cache: the store works again"
		attrs := []slog.Attr{slog.String("cache", c.name)}
		if err != nil {
			level, text = slog.LevelWarn, "cache: the store fails; values are loaded instead"
			attrs = append(attrs, slog.Any("error", err))
		}
		c.opts.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}

// stateLog remembers whether something fails, so that only changes are logged.
type stateLog struct{ failing atomic.Bool }

func (s *stateLog) changed(failing bool) bool {
	return s.failing.Load() != failing && s.failing.Swap(failing) != failing
}

// makeSome offers values, and returns the values whose store still cannot be reached.
//
// A value is stored only if no process has written its key or one of its tags since its
// load began. The invalidation log has each write whose call returned before the last Sync.
// A write may have reached the store before the lease and not yet the log. It returns
// within the timeout of its store, and the offer waits for that time. A write after the
// lease ends the lease.
func (c *Typed[V]) makeSome(ctx context.Context, all []*result[V]) (left []*result[V]) {
	var wants []want
	var open []*result[V]
	for _, f := range all {
		j := f.job
		age := time.Since(f.loaded)
		if age >= min(c.opts.OutageTTL, f.freshFor) || !c.memory.Valid(j.ticket, j.want.hash, j.want.hashes) {
			c.memory.End(j.ticket)
			continue
		}
		wants, open = append(wants, j.want), append(open, f)
	}
	if len(open) == 0 {
		return nil
	}
	b := &batch[V]{c: c}
	var ask []*job[V]
	var asked []*result[V]
	rs := c.read(ctx, open[0].job.ticket, wants, nil)
	for i, f := range open {
		switch j := f.job; {
		case rs[i].err != nil || !c.memory.Online():
			left = append(left, f)
		case rs[i].fresh || rs[i].newer: // another process has stored a value
			c.memory.End(j.ticket)
		default:
			j.take(&rs[i])
			ask, asked = append(ask, j), append(asked, f)
		}
	}
	if len(ask) == 0 {
		return left
	}
	b.askLeases(ctx, ask, driver.NewOfferToken)
	await(ctx, nil, c.store.Capabilities().Timeout)
	syncs := []driver.Op{{Kind: driver.Sync}}
	c.do(ctx, syncs)
	var granted []*result[V]
	for _, f := range asked {
		if j := f.job; j.token != "" && syncs[0].Err == nil {
			age := time.Since(f.loaded)
			f.states, f.outage = j.reading.states, false
			f.freshFor, f.life = f.freshFor-age, f.life-age
			if f.freshFor > 0 {
				granted = append(granted, f)
			}
		}
	}
	b.storeAll(ctx, granted)
	if open := leases(c, driver.Release, ask); len(open) > 0 {
		c.do(ctx, open)
	}
	for _, f := range asked {
		c.memory.End(f.job.ticket)
	}
	return left
}
