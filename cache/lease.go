package cache

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

const (
	// leaseTTL is how long other processes wait for a process that died during its load.
	leaseTTL = 3 * time.Second
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
	ops = c.ensureOps(ops, wants, rs)
	c.do(ctx, ops)
	c.ensured(jobs[0].ticket, ops[len(jobs):], wants, rs)
	for i, j := range jobs {
		op := &ops[i]
		j.read = op.Err == nil && op.State == driver.LeaseGranted
		switch {
		case op.Err != nil:
			j.down = true
		case op.State == driver.LeaseGranted:
			j.token, j.reading.states, j.store = op.Token, rs[i].states, rs[i].err == nil
		}
	}
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
	timer := time.AfterFunc(leaseTTL/3, func() {
		defer done.Done()
		for renewing.Err() == nil {
			// A lost lease is not taken again: its value is old. Only the first tokens of
			// the jobs are read here, because the jobs belong to the goroutine that loads.
			c.do(renewing, slices.Clone(held))
			await(renewing, nil, leaseTTL/3)
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
