package redislimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// blocks are the units that this process holds of each key.
type blocks struct {
	base   time.Time
	shards [64]blockShard
}

type blockShard struct {
	mu     sync.Mutex
	blocks map[string]*block
	_      [48]byte
}

const blocksPerShard = 65536 / 64

// block holds the units and the state of a key in this process. Instants are nanoseconds since
// base.
type block struct {
	left  int   // units that may be used
	limit int   // under which they were leased
	stamp int64 // theirs in Redis
	given int64 // when they were booked, in the time of Redis: no other block of the key has it
	until int64 // the last instant at which they may be used

	since int64 // when the last command was sent, 0: never
	used  int   // units since then
	more  int   // units of the last command beside its own
	dry   bool  // its answer was a denial

	mirror *mirror // of its units, also of those that are used

	free        int   // what Redis had left then
	next, reset int64 // when it has more, and all

	filling chan struct{} // closed when the question under way is answered
}

// mirror is the entry of a block's units in this process's own log, nil unless FailLocal.
type mirror struct {
	r     *ratelimit.Reservation
	mu    sync.Mutex
	units int
}

// back takes units that Redis has got back off the entry.
func (m *mirror) back(ctx context.Context, units int) {
	if m == nil || units < 1 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units = max(m.units-units, 0)
	_ = driver.Settle(ctx, m.r, m.units) // memory does not fail
}

// order is the units to take beside the cost, and those to give back.
type order struct {
	more   int
	back   int
	stamp  int64
	given  int64   // when those to give back were booked
	mirror *mirror // of those to give back
}

// giving returns an order that gives the units of b back.
func (b *block) giving() order {
	return order{back: b.left, stamp: b.stamp, given: b.given, mirror: b.mirror}
}

var blockSeed = maphash.MakeSeed()

func (k *blocks) now() int64 { return int64(time.Since(k.base)) }

func (k *blocks) shard(key string) *blockShard {
	return &k.shards[maphash.String(blockSeed, key)%uint64(len(k.shards))]
}

// get returns the block of key, if need be a new one, and nil without room.
func (sh *blockShard) get(key string, now int64, life time.Duration) *block {
	if b := sh.blocks[key]; b != nil {
		return b
	}
	if sh.blocks == nil {
		sh.blocks = make(map[string]*block)
	}
	if len(sh.blocks) >= blocksPerShard {
		looked := 0
		for other, b := range sh.blocks {
			if b.idle(now, life) && b.left == 0 {
				delete(sh.blocks, other)
			}
			if looked++; looked == 8 {
				break
			}
		}
		if len(sh.blocks) >= blocksPerShard {
			return nil
		}
	}
	b := &block{}
	sh.blocks[key] = b
	return b
}

// idle reports whether a block equals a new one.
func (b *block) idle(now int64, life time.Duration) bool {
	return b.filling == nil && now-b.since > int64(life)
}

func (b *block) live(limit int, now int64) bool { return b.limit <= limit && now < b.until }

// spend uses r.Cost units if they are there.
func (b *block) spend(r *ratelimit.Result, now int64) bool {
	if b.left < r.Cost || !b.live(r.Limit, now) {
		return false
	}
	b.left -= r.Cost
	b.used += r.Cost
	r.Allowed = true
	r.Remaining = b.free + b.left
	r.ResetAfter = time.Duration(b.reset - now)
	r.NextAfter = time.Duration(b.next - now)
	if r.NextAfter <= 0 { // it has come, and what comes next is not known here
		r.NextAfter = r.ResetAfter
	}
	return true
}

// order begins a command. The units that are left go back with it.
func (b *block) order(now int64, life time.Duration, most int) order {
	o := b.giving()
	switch {
	case b.since == 0 || b.dry:
	case now-b.since < int64(life):
		o.more = min(max(1, 2*b.more), most)
	default:
		o.more = min(max(0, b.used-1), most)
	}
	b.left, b.more = 0, o.more
	b.filling = make(chan struct{})
	return o
}

// fill books the reply of lease.lua to a question of c that was sent at an instant. used says whether
// its cost was used.
func (b *block) fill(c *call, reply []int64, sent int64, life time.Duration, used bool) {
	r := &c.res
	b.since, b.used, b.dry = sent, 0, reply[0] == 0
	if b.dry {
		return
	}
	b.left, b.limit, b.stamp, b.given = int(reply[0]), r.Limit, reply[5], reply[8]
	if used {
		b.left -= r.Cost
		b.used = r.Cost
	}
	if b.mirror = nil; b.left > 0 && c.mirror != nil {
		b.mirror = &mirror{r: c.mirror, units: int(reply[0])}
		c.lent, c.mirror = b.mirror, nil
	}
	b.until = sent + int64(life-life/100)
	b.free = r.Limit - int(reply[1])
	b.next = sent + int64(r.NextAfter)
	b.reset = sent + int64(r.ResetAfter)
}

// giveBack puts units back into their block, if they may still be used.
func (k *blocks) giveBack(key string, given int64, cost int) bool {
	sh := k.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := sh.blocks[key]
	if b == nil || b.given != given || b.filling != nil || k.now() >= b.until {
		return false
	}
	b.left += cost
	b.used -= cost
	return true
}

// drop forgets the held units of key.
func (k *blocks) drop(key string) {
	sh := k.shard(key)
	sh.mu.Lock()
	delete(sh.blocks, key)
	sh.mu.Unlock()
}

// collect removes units whose life has ended, or all units, from a shard to give them back. It
// forgets idle keys.
func (k *blocks) collect(sh *blockShard, life time.Duration, everything bool) map[string]order {
	var orders map[string]order
	now := k.now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, b := range sh.blocks {
		if b.left > 0 && (everything || now >= b.until) {
			if orders == nil {
				orders = make(map[string]order)
			}
			orders[key] = b.giving()
			b.left = 0
		}
		if b.left == 0 && b.idle(now, life) && now-b.since > int64(10*life) {
			delete(sh.blocks, key)
		}
	}
	return orders
}

func (k *blocks) count() (keys, held int) {
	for i := range k.shards {
		sh := &k.shards[i]
		sh.mu.Lock()
		keys += len(sh.blocks)
		for _, b := range sh.blocks {
			held += b.left
		}
		sh.mu.Unlock()
	}
	return keys, held
}
