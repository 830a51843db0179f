package ratelimit

import (
	"strings"
	"time"
)

// denial describes a key that has used up its limit: until its oldest use
// leaves the window, every further request for one unit gets the same answer. It lets
// those be answered without the shard's lock, so that an attack on one key holds up
// neither itself nor the other keys there. Immutable.
//
// It is valid because such a key cannot change until then: no units fit, and a blocked key
// is never evicted. Code that gives units back, or books under a raised limit, withdraws it
// under the lock.
type denial struct {
	key   string
	hash  uint32
	limit int
	used  int
	// The instants at which a unit fits, at which one is free, and all are.
	retry, next, reset int64
}

// denialRun is how many denials of one key in a row make it worth remembering: a
// denial is on the heap, and keys that are denied in turn would each replace it.
const denialRun = 16

// answer fills o for a request for one unit, if the denial is about it.
func (d *denial) answer(o *outcome, h keyHash, key string, now int64, limit int) bool {
	if d.hash != h.hash || d.limit != limit || now >= d.next || d.key != key {
		return false
	}
	o.limit, o.used = limit, d.used
	o.retry, o.next, o.reset = time.Duration(d.retry-now), time.Duration(d.next-now), time.Duration(d.reset-now)
	return true
}

// remember notes a denial of an entry of the table for one unit, with the lock held,
// and keeps it if it is the latest of many in a row. A key whose limit is 0 waits for no
// instant.
func (sh *shard[E]) remember(h keyHash, key string, now int64, o *outcome) {
	if sh.runHash != h.hash {
		sh.runHash, sh.run = h.hash, 0
	}
	if sh.run++; sh.run < denialRun || o.used < o.limit || o.limit == 0 {
		return
	}
	sh.run = 0
	sh.denial.Store(&denial{
		key: strings.Clone(key), hash: h.hash, limit: o.limit, used: o.used,
		retry: now + int64(o.retry), next: now + int64(o.next), reset: now + int64(o.reset),
	})
}

// withdraw forgets the denial of a key, with the lock held, before its use changes.
func (sh *shard[E]) withdraw(h keyHash) {
	if d := sh.denial.Load(); d != nil && d.hash == h.hash {
		sh.denial.Store(nil)
	}
}
