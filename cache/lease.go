package cache

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
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
	c.ensured(jobs[0].ticket, states, wants, rs)
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
