package ratelimit

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// engine keeps one algorithm's state for many keys, in shards that lock by themselves.
type engine interface {
	// hash returns the key's shard and its place there.
	hash(key string) keyHash
	// take decides at once, and books allowed units unless it only peeks.
	take(key string, now int64, q ask) outcome
	settle(key string, now int64, limit, cost, actual int, t token)
	// bar forgets the uses of key, and denies all units until an instant, if it is later than
	// now. It returns false if there is no room for the key.
	bar(key string, now, until int64, limit int) bool
	// The next methods serve decisions over several keys, which hold all locks.
	lock(keyHash)
	unlock(keyHash)
	decideLocked(h keyHash, key string, now int64, q ask) outcome
	commitLocked(h keyHash, key string, now int64, q ask, o outcome) outcome
	settleLocked(h keyHash, key string, now int64, limit, cost, actual int, t token)
	// keys returns the keys of shard i that have used something, false after the last shard.
	keys(i int, now int64) ([]string, bool)
	stats() Stats
}

type keyHash struct {
	shard uint32
	hash  uint32 // never 0
}

const (
	maxShards = 256
	// shardKeys is how many keys a shard is made for at least: in smaller ones some would
	// be full long before the others, and forget keys while there is room.
	shardKeys = 1024
	// sweepEvery and sweepSlots are the clock hand's pace. An insert always moves it,
	// so a table full of dead keys is cleaned as fast as it could grow.
	sweepEvery  = 8
	sweepSlots  = 2
	evictSample = 32
)

type shards[E any, A algorithm[E]] struct {
	algo     A
	penalise func(e *E, now int64, limit, cost int) // books denied units; nil unless CountDenied
	seed     maphash.Seed
	mask     uint32
	maxKeys  int // of one shard
	shards   []shard[E]
}

type shard[E any] struct {
	// Read without the lock, on a cache line that seldom changes.
	denial atomic.Pointer[denial]
	_      [56]byte
	// Denied without the lock.
	spared atomic.Uint64
	_      [56]byte
	// What each decision under the lock needs, on two cache lines.
	mu       sync.Mutex
	last     int64
	allowed  uint64
	denied   uint64
	table    table[E]
	runHash  uint32 // see remember
	run      uint32
	overflow *E     // counts for all keys that found no place
	unused   *E     // see lend
	gen      uint32 // of the newest entry
	evicted  uint64
	crowded  uint64
	_        [56]byte // to whole cache lines: neighbours that shared one would slow each other down
}

func newShards[E any, A algorithm[E]](algo A, maxKeys int) *shards[E, A] {
	n := 1
	for n < maxShards && 2*n*shardKeys <= maxKeys {
		n *= 2
	}
	s := &shards[E, A]{
		algo: algo, seed: maphash.MakeSeed(), mask: uint32(n - 1), maxKeys: maxKeys / n,
		shards: make([]shard[E], n),
	}
	for i := range s.shards {
		s.shards[i].unused = new(E)
	}
	return s
}

func (s *shards[E, A]) hash(key string) keyHash { return hashKey(s.seed, s.mask, key) }

func hashKey(seed maphash.Seed, mask uint32, key string) keyHash {
	h := maphash.String(seed, key)
	return keyHash{shard: uint32(h) & mask, hash: uint32(h>>32) | 1}
}

func (s *shards[E, A]) take(key string, now int64, q ask) outcome {
	h := s.hash(key)
	sh := &s.shards[h.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now = sh.notBefore(now)
	o := s.decide(sh, h, key, now, q)
	if !q.peek {
		o = s.commitLocked(h, key, now, q, o)
	}
	return o
}

// notBefore returns now, or the latest instant of the shard when another caller, who
// looked at the clock later, has come first: decisions must be made in the order of
// their instants, or one would not count uses that the other has removed from the window.
func (sh *shard[E]) notBefore(now int64) int64 {
	sh.last = max(sh.last, now)
	return sh.last
}

// lend returns an empty entry for a decision on a key without an entry.
func (sh *shard[E]) lend() *E {
	var zero E
	*sh.unused = zero
	return sh.unused
}

// find returns the key's entry or nil, and keeps the table fresh.
func (s *shards[E, A]) find(sh *shard[E], h keyHash, key string, now int64) *E {
	if (sh.allowed+sh.denied)%sweepEvery == 0 {
		s.sweep(sh, now)
	}
	return sh.table.find(h.hash, key)
}

func (s *shards[E, A]) sweep(sh *shard[E], now int64) {
	sh.table.sweep(sweepSlots, func(e *E) bool { return s.algo.stale(e, now) })
}

// commit carries a decision out: it books allowed units and counts denied ones. e
// may be the one that was lent.
func (s *shards[E, A]) commit(sh *shard[E], h keyHash, key string, e *E, now int64, q ask, o outcome) outcome {
	if !o.allowed {
		sh.denied++
		if e != sh.unused && s.penalise != nil {
			s.penalise(e, now, q.limit, q.cost)
			o = s.algo.take(e, now, q, false)
		}
		return o
	}
	if e == sh.unused {
		e = s.insert(sh, h, key, now)
	}
	sh.withdraw(h)
	if o = s.algo.take(e, now, q, true); !o.allowed { // the entry that keys share is used up
		sh.denied++
		return o
	}
	sh.allowed++
	return o
}

// insert makes room within the bound: dead keys go first, then the least used of a
// sample. A key that is blocked stays, or a flood of fresh keys would free it.
// When all keys of the sample are blocked, the new key shares one entry with all others
// in that position. During an attack of that size it is limited too much rather than too
// little.
func (s *shards[E, A]) insert(sh *shard[E], h keyHash, key string, now int64) *E {
	t := &sh.table
	s.sweep(sh, now)
	if t.n >= s.maxKeys && !s.evict(sh, now, false) {
		sh.crowded++
		if sh.overflow == nil {
			sh.overflow = new(E)
		}
		return sh.overflow
	}
	return s.place(sh, h, key)
}

// place inserts a key that is not there.
func (s *shards[E, A]) place(sh *shard[E], h keyHash, key string) *E {
	e := sh.table.insert(h.hash, key)
	sh.gen++
	s.algo.mark(e).gen = sh.gen
	return e
}

// evict removes a stale key of a sample, or the least used one that is not blocked. Without such
// a key it removes a blocked one for the sake of a bar, unless that is barred itself.
func (s *shards[E, A]) evict(sh *shard[E], now int64, forBar bool) bool {
	t := &sh.table
	victim, least, blocked := -1, 0, true
	for seen := 0; seen < evictSample && seen < t.n; t.hand++ {
		if t.hand >= len(t.hashes) {
			t.hand = 0
		}
		if t.hashes[t.hand] == 0 {
			continue
		}
		seen++
		e := &t.slots[t.hand].val
		if s.algo.stale(e, now) {
			t.remove(t.hand)
			return true
		}
		m, n := s.algo.mark(e), s.algo.used(e)
		if m.blocked && (!forBar || m.barred || !blocked) {
			continue
		}
		if victim < 0 || n < least || blocked && !m.blocked {
			victim, least, blocked = t.hand, n, m.blocked
		}
	}
	if victim < 0 {
		return false
	}
	t.remove(victim)
	sh.evicted++
	return true
}

func (s *shards[E, A]) settle(key string, now int64, limit, cost, actual int, t token) {
	h := s.hash(key)
	s.lock(h)
	defer s.unlock(h)
	s.settleLocked(h, key, now, limit, cost, actual, t)
}

func (s *shards[E, A]) settleLocked(h keyHash, key string, now int64, limit, cost, actual int, t token) {
	sh := &s.shards[h.shard]
	now = sh.notBefore(now)
	sh.withdraw(h)
	e := s.find(sh, h, key, now)
	if e == nil && actual > cost {
		e = s.insert(sh, h, key, now)
	}
	if e != nil {
		s.algo.settle(e, now, limit, cost, actual, t)
	}
}

func (s *shards[E, A]) bar(key string, now, until int64, limit int) bool {
	h := s.hash(key)
	sh := &s.shards[h.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now = sh.notBefore(now)
	sh.withdraw(h)
	sh.table.removeKey(h.hash, key)
	if until <= now {
		return true
	}
	s.sweep(sh, now)
	if sh.table.n >= s.maxKeys && !s.evict(sh, now, true) {
		return false
	}
	e := s.place(sh, h, key)
	s.algo.bar(e, now, until, limit)
	m := s.algo.mark(e)
	m.blocked, m.barred = true, true
	return true
}

func (s *shards[E, A]) lock(h keyHash)   { s.shards[h.shard].mu.Lock() }
func (s *shards[E, A]) unlock(h keyHash) { s.shards[h.shard].mu.Unlock() }

func (s *shards[E, A]) decideLocked(h keyHash, key string, now int64, q ask) outcome {
	sh := &s.shards[h.shard]
	return s.decide(sh, h, key, sh.notBefore(now), q)
}

func (s *shards[E, A]) decide(sh *shard[E], h keyHash, key string, now int64, q ask) outcome {
	e := s.find(sh, h, key, now)
	if e == nil {
		e = sh.lend()
	}
	return s.algo.take(e, now, q, false)
}

func (s *shards[E, A]) commitLocked(h keyHash, key string, now int64, q ask, o outcome) outcome {
	sh := &s.shards[h.shard]
	now = sh.notBefore(now)
	e := sh.table.find(h.hash, key)
	if e == nil {
		e = sh.lend()
	}
	return s.commit(sh, h, key, e, now, q, o)
}

func (s *shards[E, A]) keys(i int, now int64) (list []string, ok bool) {
	if i >= len(s.shards) {
		return nil, false
	}
	sh := &s.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now = sh.notBefore(now)
	for j, h := range sh.table.hashes {
		if h != 0 && !s.algo.stale(&sh.table.slots[j].val, now) {
			list = append(list, sh.table.slots[j].key)
		}
	}
	return list, true
}

func (s *shards[E, A]) stats() (st Stats) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		st.Keys += sh.table.n
		st.Allowed += sh.allowed
		st.Denied += sh.denied + sh.spared.Load()
		st.Evicted += sh.evicted
		st.Crowded += sh.crowded
		sh.mu.Unlock()
	}
	return st
}

// table is a hash table of keys with a value in place. Unlike in a map, one probe finds the key
// and the value, and a clock hand can walk the slots.
// Linear probing, full comparison of keys, deletion by shifting back. The hash must
// be seeded. A pointer to a value holds until the next insert or remove.
type table[E any] struct {
	hashes []uint32 // 0 marks a free slot; beside the slots, so that a probe stays in a cache line
	slots  []slot[E]
	n      int
	hand   int
}

type slot[E any] struct {
	key string
	val E
}

const minSlots = 8

// home spreads h over any number of slots, so that the table can grow by a quarter.
func (t *table[E]) home(h uint32) int { return int(uint64(h) * uint64(len(t.hashes)) >> 32) }

func (t *table[E]) find(h uint32, key string) *E {
	if t.n == 0 {
		return nil
	}
	for i := t.home(h); ; {
		switch t.hashes[i] {
		case 0:
			return nil
		case h:
			if s := &t.slots[i]; s.key == key {
				return &s.val
			}
		}
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
}

// insert adds a key that is not there. It keeps a copy of key, which may be part of
// something large.
func (t *table[E]) insert(h uint32, key string) *E {
	if (t.n+1)*20 > len(t.hashes)*17 {
		t.resize(len(t.hashes) + max(minSlots, len(t.hashes)/4))
	}
	t.n++
	s := t.place(h)
	s.key = strings.Clone(key)
	return &s.val
}

func (t *table[E]) place(h uint32) *slot[E] {
	i := t.home(h)
	for t.hashes[i] != 0 {
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
	t.hashes[i] = h
	return &t.slots[i]
}

func (t *table[E]) resize(slots int) {
	hashes, old := t.hashes, t.slots
	t.hashes, t.slots = make([]uint32, slots), make([]slot[E], slots)
	t.hand = 0
	for i, h := range hashes {
		if h != 0 {
			*t.place(h) = old[i]
		}
	}
}

// remove frees slot i and closes the gap, so that every key stays reachable.
func (t *table[E]) remove(i int) {
	t.n--
	for j := i; ; {
		if j++; j == len(t.hashes) {
			j = 0
		}
		if t.hashes[j] == 0 {
			break
		}
		// The key at j may move to i unless its home lies cyclically in (i, j].
		k := t.home(t.hashes[j])
		if i <= j && i < k && k <= j || i > j && (i < k || k <= j) {
			continue
		}
		t.hashes[i], t.slots[i] = t.hashes[j], t.slots[j]
		i = j
	}
	t.hashes[i], t.slots[i] = 0, slot[E]{}
}

func (t *table[E]) removeKey(h uint32, key string) {
	if t.n == 0 {
		return
	}
	for i := t.home(h); t.hashes[i] != 0; {
		if t.hashes[i] == h && t.slots[i].key == key {
			t.remove(i)
			return
		}
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
}

// sweep moves the hand over up to n slots and removes stale entries.
func (t *table[E]) sweep(n int, stale func(*E) bool) {
	for range min(n, len(t.hashes)) {
		if t.hand >= len(t.hashes) {
			t.hand = 0
		}
		if t.hashes[t.hand] != 0 && stale(&t.slots[t.hand].val) {
			t.remove(t.hand) // another may have moved here: look again
			continue
		}
		t.hand++
	}
	if len(t.hashes) > 8*minSlots && t.n < len(t.hashes)/8 {
		t.resize(len(t.hashes) / 4)
	}
}
