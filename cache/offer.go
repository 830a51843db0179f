package cache

import (
	"context"
	"sync"
	"time"
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
	ticket := f.job.ticket.Again(c.memory)
	j := &job[V]{want: w, call: &call[V]{key: w.key, ticket: ticket, tags: w.hashes}, ticket: ticket}
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
