package cache

import (
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"
)

// Coherence is what a process knows of the writes to a store: a counter for every key
// and tag, shared by those whose hashes fall together, and one for everything. It is
// safe for concurrent use; a back-end that hears of other processes' writes has one and
// returns it from a method Coherence.
//
// Whoever reads takes a stamp of the counters first, and uses what was read only while
// they have not moved. That is the whole of the fence within a process: nothing has to
// be found and removed, and no order of messages and fills can go wrong. A counter
// shared by two keys costs one of them a miss, never a wrong value.
type Coherence struct {
	epoch atomic.Uint64
	keys  [stampSlots]atomic.Uint32
	tags  [stampSlots]atomic.Uint32
	limit atomic.Int64
	nonce string
}

const stampSlots = 1 << 14

// NewCoherence returns counters for a store whose writes are all told to it.
func NewCoherence() *Coherence {
	c := &Coherence{nonce: newToken()}
	c.limit.Store(math.MaxInt64)
	return c
}

// unheardLimit bounds the age of what is kept in memory before a store that hears of no
// writes but its own.
const unheardLimit = 2 * time.Second

// coherenceOf is that of a store or of memory, nil if it has none.
func coherenceOf(from any) *Coherence {
	if s, ok := from.(Coherent); ok {
		return s.Coherence()
	}
	return nil
}

// KeyChanged makes all that was read of a store's key before now invalid.
func (c *Coherence) KeyChanged(key string) { c.HashChanged(KeyHash(key)) }

// HashChanged is KeyChanged for who knows the KeyHash only.
func (c *Coherence) HashChanged(hash uint64) { c.keys[hash%stampSlots].Add(1) }

// TagChanged makes all that bears the tag invalid, if it was read before now.
func (c *Coherence) TagChanged(tag string) { c.TagHashChanged(xxh3.HashString(tag)) }

// TagHashChanged is TagChanged for who knows the xxh3 hash of the tag only.
func (c *Coherence) TagHashChanged(hash uint64) { c.tags[hash%stampSlots].Add(1) }

// AllChanged makes everything that was read before now invalid.
func (c *Coherence) AllChanged() { c.epoch.Add(1) }

// SetLimit bounds the age of what may be used without asking the store: how stale a
// value can be while nobody tells this process of writes. 0 or less is none.
func (c *Coherence) SetLimit(d time.Duration) {
	if d <= 0 {
		d = math.MaxInt64
	}
	c.limit.Store(int64(d))
}

// Limit returns what SetLimit has set.
func (c *Coherence) Limit() time.Duration { return time.Duration(c.limit.Load()) }

// KeyHash is the hash by which Coherence knows a store's key.
func KeyHash(key string) uint64 {
	name, rest, _ := strings.Cut(key, ":")
	return xxh3.HashStringSeed(rest, xxh3.HashString(name))
}

// stamp is the state of the counters that concern one value.
type stamp struct {
	hash  uint64
	epoch uint64
	key   uint32
	tags  []tagStamp
}

type tagStamp struct {
	slot, count uint32
}

// stamp reads the counters of a key and its tags.
func (c *Coherence) stamp(hash uint64, tags ...[]string) stamp {
	s := stamp{hash: hash, epoch: c.epoch.Load(), key: c.keys[hash%stampSlots].Load()}
	for _, tags := range tags {
		s.tags = append(s.tags, c.tagStamps(tags)...)
	}
	return s
}

func (c *Coherence) tagStamps(tags []string) []tagStamp {
	stamps := make([]tagStamp, len(tags))
	for i, tag := range tags {
		slot := xxh3.HashString(tag) % stampSlots
		stamps[i] = tagStamp{uint32(slot), c.tags[slot].Load()}
	}
	return stamps
}

// valid reports whether nothing has changed since.
func (c *Coherence) valid(s *stamp) bool {
	if s.epoch != c.epoch.Load() || s.key != c.keys[s.hash%stampSlots].Load() {
		return false
	}
	for _, tag := range s.tags {
		if tag.count != c.tags[tag.slot].Load() {
			return false
		}
	}
	return true
}

// localTags are the states of tags as far as this process knows, for stores that keep
// none. Until a tag is invalidated here its state is the same in all processes.
func (c *Coherence) localTags(tags []string) []string {
	states := make([]string, len(tags))
	for i, tag := range tags {
		count := c.tags[xxh3.HashString(tag)%stampSlots].Load()
		if count != 0 {
			states[i] = c.nonce + strconv.FormatUint(uint64(count), 36)
		}
	}
	return states
}
