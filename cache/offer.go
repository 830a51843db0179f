package cache

import (
	"context"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// offers are values that this process loaded while a shared store could not be reached.
// When the store is available again, they are stored under leases, so that other processes
// need not load them too. An offer lives as long as the value may be served here without
// the store: OutageTTL.
type offers[V any] struct {
	mu      sync.Mutex
	waiting []*result[V]
	running bool
}

const (
	maxOffers  = 10_000
	offerEvery = 250 * time.Millisecond
	offerBatch = 2048
)

// offer keeps a value for the end of the outage.
func (c *Typed[V]) offer(f *result[V], late []string) {
	o := &c.offers
	o.mu.Lock()
	defer o.mu.Unlock()
	if !c.shared || len(o.waiting) >= maxOffers {
		return
	}
	// Tags that the load reported are from now on like tags of the call.
	w := f.job.want
	w.tags = append(w.tags[:len(w.tags):len(w.tags)], late...)
	w.hashes = tagHashes(w.tags)
	j := &job[V]{want: w, call: &call[V]{key: w.key, ticket: f.job.ticket.Again(c.memory), tags: w.hashes}}
	o.waiting = append(o.waiting, &result[V]{job: j, reading: f.reading, keep: true})
	if !o.running {
		o.running = true
		time.AfterFunc(offerEvery, c.makeOffers)
	}
}

// makeOffers stores the waiting values, and repeats this while some of them wait.
func (c *Typed[V]) makeOffers() {
	o := &c.offers
	o.mu.Lock()
	all := o.waiting
	o.waiting = nil
	o.mu.Unlock()
	var left []*result[V]
	for n := 0; n < len(all); n += offerBatch {
		left = append(left, c.makeSome(context.Background(), all[n:min(n+offerBatch, len(all))])...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(left, o.waiting...)
	if o.running = len(o.waiting) > 0; o.running {
		time.AfterFunc(offerEvery, c.makeOffers)
	}
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
