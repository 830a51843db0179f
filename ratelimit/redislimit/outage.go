package redislimit

import (
	"crypto/rand"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// maxUnmerged bounds the uses that wait for a merge. Further uses count in this process
// alone, and in Stats.Forgotten.
const maxUnmerged = 100_000

// outage remembers the uses that this process has allowed while Redis was away, by key,
// until they are merged into Redis.
type outage struct {
	mu   sync.Mutex
	keys map[string]*unmerged
	n    int // uses

	// open is the number of open circuit breakers, and waiting is len(keys).
	open, waiting atomic.Int64
	forgotten     atomic.Uint64
	tried         atomic.Int64 // when mergeLeft last did something, in nanoseconds since the store's base
	// fallen counts decisions that have fallen back, by the hash of their keys.
	fallen [fallenShards]atomic.Uint64
}

const fallenShards = 256

var fallenSeed = maphash.MakeSeed()

// unmerged is the uses of one key that Redis does not know.
type unmerged struct {
	fresh []*localUse
	batch *batch
	// falling is the number of decisions that are falling back at the moment. They may add
	// uses. decided is closed when they have ended.
	falling int
	decided chan struct{}
	// busy is closed when the merge under way has ended. It is nil without one.
	busy chan struct{}
}

// localUse is one use that Redis does not know.
type localUse struct {
	call     *call
	at, made time.Time // when the units count, and when they were decided
	cost     int       // final, as far as it is known
	merged   int       // the cost in its batch
}

// batch is uses on their way to Redis. Its name makes a repetition harmless: the reply to
// a merge may be lost.
type batch struct {
	name string
	made time.Time
	uses []*localUse
}

// calm reports whether there is no outage for decisions to consider.
func (o *outage) calm() bool { return o.open.Load() == 0 && o.waiting.Load() == 0 }

// enter notes that decisions about the keys of calls are falling back. leave ends that.
func (o *outage) enter(calls []*call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range calls {
		k := o.key(c.at())
		if k.falling++; k.decided == nil {
			k.decided = make(chan struct{})
		}
		o.fallen[o.shard(c.at())].Add(1) // after key: a caller that reads this finds an outage that is not calm
	}
}

func (o *outage) leave(calls []*call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range calls {
		k := o.keys[c.at()]
		if k.falling--; k.falling == 0 {
			close(k.decided)
			k.decided = nil
			o.tidy(c.at(), k)
		}
	}
}

// marks changes whenever a decision about a key of calls falls back. Others' keys may change it
// too.
func (o *outage) marks(calls []*call) (sum uint64) {
	for _, c := range calls {
		sum += o.fallen[o.shard(c.at())].Load()
	}
	return sum
}

func (o *outage) shard(key string) uint64 { return maphash.String(fallenSeed, key) % fallenShards }

// key returns the uses of a key. The caller holds mu.
func (o *outage) key(key string) *unmerged {
	k := o.keys[key]
	if k == nil {
		if o.keys == nil {
			o.keys = make(map[string]*unmerged)
		}
		k = new(unmerged)
		o.keys[key] = k
		o.waiting.Add(1)
	}
	return k
}

// add remembers a use. It returns false if there are too many.
func (o *outage) add(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n >= maxUnmerged {
		o.forgotten.Add(1)
		return false
	}
	k, now := o.key(c.at()), time.Now()
	c.use = &localUse{call: c, at: now.Add(c.res.Delay), made: now, cost: c.check.Cost}
	k.fresh = append(k.fresh, c.use)
	o.n++
	return true
}

// settled gives a use its final cost, if it is not merged yet.
func (o *outage) settled(c *call, cost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.use != nil {
		c.use.cost = cost
	}
}

// drop forgets the uses of a key that is reset. A merge under way ends as it will: Redis
// leaves out uses from before the reset.
func (o *outage) drop(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.keys[key]
	if k == nil {
		return
	}
	o.n -= len(k.fresh)
	k.fresh = nil
	if k.busy == nil && k.batch != nil {
		o.n -= len(k.batch.uses)
		k.batch = nil
	}
	o.tidy(key, k)
}

// tidy removes a key without uses. The caller holds mu.
func (o *outage) tidy(key string, k *unmerged) {
	if k.busy == nil && k.batch == nil && k.falling == 0 && len(k.fresh) == 0 {
		delete(o.keys, key)
		o.waiting.Add(-1)
	}
}

// begin returns the uses of key to merge next, if there are any. A channel means that another
// goroutine must end its work first, and then closes the channel. end must follow a batch.
func (o *outage) begin(key string) (b *batch, first <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.keys[key]
	switch {
	case k == nil:
		return nil, nil
	case k.busy != nil:
		return nil, k.busy
	case k.decided != nil:
		return nil, k.decided
	}
	if k.batch == nil {
		k.batch = &batch{name: rand.Text(), made: time.Now()}
		for _, u := range k.fresh {
			if u.cost > 0 {
				u.merged = u.cost
				k.batch.uses = append(k.batch.uses, u)
			}
		}
		o.n -= len(k.fresh) - len(k.batch.uses)
		k.fresh = nil
	}
	if len(k.batch.uses) == 0 {
		k.batch = nil
		o.tidy(key, k)
		return nil, nil
	}
	k.busy = make(chan struct{})
	return k.batch, nil
}

// end ends the merge of a batch, which stays for a repetition unless it is done. A refused
// batch is forgotten.
func (o *outage) end(key string, done, refused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.keys[key]
	if refused {
		o.forgotten.Add(uint64(len(k.batch.uses)))
	}
	if done || refused {
		o.n -= len(k.batch.uses)
		k.batch = nil
	}
	close(k.busy)
	k.busy = nil
	o.tidy(key, k)
}

// final returns the cost of a merged use. Later costs are settled on Redis.
func (o *outage) final(u *localUse) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	u.call.use, u.call = nil, nil
	return u.cost
}

// len is the number of keys with unmerged uses.
func (o *outage) len() int { return int(o.waiting.Load()) }

// list returns the keys with unmerged uses.
func (o *outage) list() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.keys {
		list = append(list, key)
	}
	return list
}
