package redislimit

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// denyCache remembers which keys are exhausted, and until when.
type denyCache struct {
	base   time.Time
	keep   time.Duration
	seed   maphash.Seed
	max    int
	shards [64]denyShard
}

type denyShard struct {
	mu      sync.Mutex
	denials map[string]denial
	asking  map[string]*asking
	dropped int64 // when a denial was dropped last, in nanoseconds since base
	_       [32]byte
}

// denial holds instants, in nanoseconds since base.
type denial struct {
	until, next, reset int64
	limit, remaining   int
	costs              [4]costRetry // by cost, those of 0 unused
}

// costRetry is when a cost fits.
type costRetry struct {
	cost  int
	retry int64
}

func newDenyCache(base time.Time, keep time.Duration, maxKeys int) *denyCache {
	return &denyCache{base: base, keep: keep, seed: maphash.MakeSeed(), max: max(1, maxKeys/64)}
}

func (c *denyCache) shard(key string) *denyShard {
	return &c.shards[maphash.String(c.seed, key)%uint64(len(c.shards))]
}

// get fills r if key is known to be exhausted for this cost under this limit. A cost that
// was denied denies every higher one. When a higher one fits is learned from Redis for a few
// costs; any other waits for all units.
func (c *denyCache) get(key string, r *ratelimit.Result) bool {
	s := c.shard(key)
	s.mu.Lock()
	d, ok := s.denials[key]
	s.mu.Unlock()
	if !ok || d.limit != r.Limit {
		return false
	}
	now := int64(time.Since(c.base))
	if now >= d.until {
		return false
	}
	retry, lower, full := int64(0), false, true
	for _, k := range d.costs {
		switch {
		case k.cost == 0:
			full = false
		case k.cost == r.Cost:
			retry = k.retry
		case k.cost < r.Cost:
			lower = true
		}
	}
	switch {
	case retry > 0:
	case lower && full:
		retry = d.reset
	default:
		return false
	}
	if retry <= now {
		return false
	}
	r.Allowed, r.Remaining = false, d.remaining
	r.RetryAfter, r.NextAfter, r.ResetAfter = time.Duration(retry-now), time.Duration(max(d.next-now, 0)), time.Duration(d.reset-now)
	return true
}

// put remembers the denial r that Redis gave after sent and that is read now, unless some key
// has been dropped since: r may be what Redis said before that, and overtaken on its way here.
// Its times begin now, as for the caller that receives it, because Redis may have decided at any
// instant since sent.
func (c *denyCache) put(key string, r *ratelimit.Result, sent time.Time) {
	at := int64(time.Since(c.base))
	d := denial{next: at + int64(r.NextAfter), reset: at + int64(r.ResetAfter), limit: r.Limit, remaining: r.Remaining}
	retry := at + int64(r.RetryAfter)
	d.until = min(retry, at+int64(c.keep))
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(sent.Sub(c.base)) <= s.dropped {
		return
	}
	if s.denials == nil {
		s.denials = make(map[string]denial)
	}
	old, ok := s.denials[key]
	if !ok && len(s.denials) >= c.max {
		s.makeRoom(at)
	}
	if ok && old.limit == d.limit && at < old.until { // the same exhaustion, of another cost
		d.costs, d.until = old.costs, max(d.until, old.until)
	}
	for i := range d.costs {
		if d.costs[i].cost == 0 || d.costs[i].cost == r.Cost {
			d.costs[i] = costRetry{r.Cost, retry}
			break
		}
	}
	for _, k := range d.costs { // the lowest cost that was denied bounds all
		if k.cost > 0 {
			d.until = min(d.until, max(k.retry, at+1))
		}
	}
	s.denials[key] = d
}

// makeRoom drops a few denials. Each costs one more command later.
func (s *denyShard) makeRoom(now int64) {
	looked := 0
	for key, d := range s.denials {
		if looked++; d.until <= now || looked == 8 {
			delete(s.denials, key)
		}
		if looked == 8 {
			return
		}
	}
	clear(s.denials)
}

// drop forgets key after units of it have been given back.
func (c *denyCache) drop(key string) {
	s := c.shard(key)
	s.mu.Lock()
	delete(s.denials, key)
	s.dropped = int64(time.Since(c.base))
	s.mu.Unlock()
}
