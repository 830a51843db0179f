package driver

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"
)

// Memory is the local tier: values of any type in this process, limited by bytes, with an
// index by key and by tag. An invalidation removes exactly the entries of its key or tag.
// Readers take no lock. Several caches may share one Memory. It starts no goroutine and is
// safe for concurrent use.
//
// The eviction policy is S3-FIFO (Yang et al., SOSP 2023).
type Memory struct {
	table atomic.Pointer[table]
	base  time.Time // of all times in entries

	mu       sync.Mutex
	max      int64
	bytes    int64
	small    fifo // entries that were not read again yet
	main     fifo
	ghosts   map[uint64]struct{} // hashes that were recently evicted from small
	ghostAge []uint64
	tagged   map[uint64]*tagLink // the first entry of each tag
	whole    map[uint64][]uint64 // tag of a cache: the owners whose entries it invalidates
	states   map[uint64]tagState // of tags, from the last report of the store
	sweep    int
	evicted  MemoryStats

	limit  atomic.Int64 // for the life of new entries
	online atomic.Bool
	wakes  wakes
	ledger ledger
}

// MemoryStats describe a Memory: its present content, and counters since its start.
type MemoryStats struct {
	// Entries counts the values in memory, and Bytes is their size.
	Entries, Bytes int64
	// Evicted counts entries that were removed to make room. Expired counts entries whose
	// life ended. Invalidated counts entries that a write removed. TooLarge counts values
	// that are larger than the whole limit.
	Evicted, Expired, Invalidated, TooLarge uint64
}

// Entry is a value in memory. Its exported fields do not change after Put.
type Entry struct {
	Hash       uint64 // KeyHash of the key
	Owner      uint64 // the cache
	Key        string // as the caller gave it, without the prefix of a store
	Value      any    // the decoded value
	FreshUntil int64  // nanoseconds on the clock of the Memory
	Extra      *Extra // nil for most entries
	goneAt     atomic.Int64
	prev, next *Entry
	weight     uint32
	reads      atomic.Uint32 // up to 3; the high bit marks entries in main
}

// GoneAt returns the end of the life of an entry on the clock of the Memory.
func (e *Entry) GoneAt() int64 { return e.goneAt.Load() }

// Extra holds fields that only some entries need.
type Extra struct {
	Tags     []uint64      // TagHash of each tag
	Took     time.Duration // of the load
	LoadedAt int64         // Unix time in nanoseconds
	Absent   bool          // the source has no value for the key
	links    []tagLink     // one for each tag
}

// tagLink is an entry in the list of the entries with a tag.
type tagLink struct {
	entry      *Entry
	prev, next *tagLink
}

const (
	entryOverhead = 128 // bytes of an Entry, its slot in the table and its boxed value
	extraOverhead = 80
	tagOverhead   = 80 // a hash, a link, and a tag in the index
	inMain        = 1 << 31
	maxReads      = 3
)

// DefaultMemory is the default limit of a Memory in bytes.
const DefaultMemory = 64 << 20

// NewMemory returns an empty Memory that holds at most maxBytes. 0 means 64 MiB.
func NewMemory(maxBytes int64) *Memory {
	if maxBytes <= 0 {
		maxBytes = DefaultMemory
	}
	m := &Memory{
		base: time.Now(), max: maxBytes, ghosts: map[uint64]struct{}{}, tagged: map[uint64]*tagLink{},
		whole: map[uint64][]uint64{}, states: map[uint64]tagState{},
	}
	m.table.Store(newTable(64))
	m.limit.Store(math.MaxInt64)
	return m
}

// KeyHash identifies a key of a store: the name of a cache, a colon and a key.
func KeyHash(key string) uint64 {
	name, rest, _ := strings.Cut(key, ":")
	return xxh3.HashStringSeed(rest, xxh3.HashString(name))
}

// TagHash identifies a tag.
func TagHash(tag string) uint64 { return xxh3.HashStringSeed(tag, 0x7461675F73656564) }

var owners atomic.Uint64

// Register returns the number of a new owner. An invalidation of the tag removes all
// entries of the owner. The entries need not list the tag.
func (m *Memory) Register(tag string) (owner uint64) {
	owner = owners.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	h := TagHash(tag)
	m.whole[h] = append(m.whole[h], owner)
	return owner
}

// Now is the clock of the entries.
func (m *Memory) Now() int64 { return int64(time.Since(m.base)) }

// Find returns the entry of a hash if it may be served, and counts the read for the
// eviction policy.
func (m *Memory) Find(hash uint64) (e *Entry, now int64) {
	e = m.table.Load().find(hash)
	if e == nil {
		return nil, 0
	}
	now = m.Now()
	if now >= e.goneAt.Load() {
		return nil, now
	}
	if r := e.reads.Load(); r&^inMain < maxReads {
		e.reads.CompareAndSwap(r, r+1)
	}
	return e, now
}

// Begin takes a ticket before a read or a load. The caller must End it.
func (m *Memory) Begin() Ticket { return m.ledger.begin() }

// Again takes another ticket of the same moment as t, which has not ended.
func (t Ticket) Again(m *Memory) Ticket { return m.ledger.again(t) }

// End returns a ticket.
func (m *Memory) End(t Ticket) { m.ledger.end(t) }

// Valid reports whether the key and the tags were not invalidated since t.
func (m *Memory) Valid(t Ticket, key uint64, tags []uint64) bool { return m.ledger.valid(t, key, tags) }

// Seq returns a number for the present moment among the invalidations. Since reports
// whether there was an invalidation between t and that moment.
func (m *Memory) Seq() uint64 { return m.ledger.now() }

// Since reports whether there was an invalidation after t and before Seq returned seq.
func (t Ticket) Since(seq uint64) bool { return seq > t.seq }

// Put stores an entry of size bytes for life, unless its key, one of its tags or one of
// more was invalidated since t. It replaces the entry with the same hash. A negative size
// counts as 0.
func (m *Memory) Put(t Ticket, e *Entry, size int64, life time.Duration, more ...uint64) bool {
	overhead := int64(len(e.Key)) + entryOverhead
	if e.Extra != nil {
		overhead += extraOverhead + tagOverhead*int64(len(e.Extra.Tags))
	}
	if life <= 0 {
		return false
	}
	e.goneAt.Store(m.until(life))
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.table.Load().find(e.Hash)
	// The order matters: an invalidation records itself before it takes the lock.
	if !m.ledger.valid(t, e.Hash, more) || e.Extra != nil && !m.ledger.valid(t, e.Hash, e.Extra.Tags) {
		return false
	}
	if size = max(size, 0); size > min(m.max, math.MaxUint32)-overhead { // the sum could overflow
		m.evicted.TooLarge++
		if old != nil {
			m.drop(old)
		}
		return false
	}
	e.weight = uint32(size + overhead) //nolint:gosec // compared above
	m.replace(old, e)
	m.sweepSome()
	for m.bytes > m.max {
		m.evict()
	}
	return true
}

// until returns the end of a life that begins now.
func (m *Memory) until(life time.Duration) int64 {
	if end := m.Now() + int64(life); end >= 0 {
		return end
	}
	return math.MaxInt64
}

// replace stores an entry with a weight in the place of the old entry with the same hash,
// which may be nil.
func (m *Memory) replace(old, e *Entry) {
	_, again := m.ghosts[e.Hash]
	if old != nil {
		again = again || old.reads.Load() >= inMain
		m.unlink(old)
	}
	for !m.table.Load().put(e) {
		m.table.Store(m.table.Load().grown())
	}
	m.bytes += int64(e.weight)
	if again {
		e.reads.Store(inMain)
		m.main.push(e)
	} else {
		m.small.push(e)
	}
	m.link(e)
}

// unlink removes an entry from the queues and the index by tag.
func (m *Memory) unlink(e *Entry) {
	m.bytes -= int64(e.weight)
	if e.reads.Load() >= inMain {
		m.main.remove(e)
	} else {
		m.small.remove(e)
	}
	if e.Extra == nil {
		return
	}
	for i, tag := range e.Extra.Tags {
		l := &e.Extra.links[i]
		switch {
		case l.prev != nil:
			l.prev.next = l.next
		case l.next != nil:
			m.tagged[tag] = l.next
		default:
			delete(m.tagged, tag)
		}
		if l.next != nil {
			l.next.prev = l.prev
		}
	}
}

// link adds an entry to the index by tag.
func (m *Memory) link(e *Entry) {
	if e.Extra == nil || len(e.Extra.Tags) == 0 {
		return
	}
	e.Extra.links = make([]tagLink, len(e.Extra.Tags))
	for i, tag := range e.Extra.Tags {
		l := &e.Extra.links[i]
		if l.entry, l.next = e, m.tagged[tag]; l.next != nil {
			l.next.prev = l
		}
		m.tagged[tag] = l
	}
}

// drop removes an entry.
func (m *Memory) drop(e *Entry) {
	m.unlink(e)
	m.table.Load().remove(e)
}

// each calls f for all entries, with the lock.
func (m *Memory) each(f func(*Entry)) {
	t := m.table.Load()
	for i := range t.slots {
		if e := t.slots[i].Load(); e != nil && e != removed {
			f(e)
		}
	}
}

// SetOnline records whether the store now receives the invalidations of all processes, and
// limits the life of new entries to limit. 0 means no limit.
func (m *Memory) SetOnline(online bool, limit time.Duration) {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	m.online.Store(online)
	m.limit.Store(int64(limit))
}

// Limit is the maximum life of entries that were read from the store.
func (m *Memory) Limit() time.Duration { return time.Duration(m.limit.Load()) }

// Online returns the last argument of SetOnline.
func (m *Memory) Online() bool { return m.online.Load() }

// Stats returns the content and the counters.
func (m *Memory) Stats() MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.evicted
	s.Entries, s.Bytes = int64(m.table.Load().live), m.bytes
	return s
}
