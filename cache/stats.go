package cache

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Stats are counters since New, and the content of the local tier.
type Stats struct {
	// Hits counts the reads that found a value. LocalHits counts the hits in the memory of
	// this process.
	Hits, LocalHits, Misses uint64
	// Loads counts calls of loaders. LoadErrors counts the calls that failed for at least
	// one key. Joined counts the keys for which a caller waited for another load.
	Loads, LoadErrors, Joined uint64
	// LoadTime is the total duration of all loads.
	LoadTime time.Duration
	// Stale counts values that were served after their time to live. StaleFailed: the load
	// failed. StaleSlow: the load took longer than SoftTimeout. StaleThrottled: a load had
	// failed within ThrottleFor.
	Stale, StaleFailed, StaleSlow, StaleThrottled uint64
	// Fenced counts loads that were not stored because their key or one of their tags was
	// invalidated during the load.
	Fenced uint64
	// BadPayloads counts stored values that could not be decoded. TooLarge counts values
	// that were too large to store.
	BadPayloads, TooLarge uint64
	// StoreErrors counts calls of the store that failed.
	StoreErrors uint64
	// Audited counts hits that were compared with the source. AuditedStale counts the hits
	// that differed.
	Audited, AuditedStale uint64
	// StaleAge is the age of the last differing value, or 0.
	StaleAge time.Duration
	// Memory describes the local tier, which all caches on one store share.
	Memory driver.MemoryStats
}

// HitRatio is the share of reads that were hits, from 0 to 1. It is 0 before the first
// read.
func (s Stats) HitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

type counters struct {
	loadTime, staleAge                                                                  atomic.Int64
	staleFailed, staleSlow, staleThrottled                                              atomic.Uint64
	localHits                                                                           spread
	hits, misses, loads, loadErrors, joined, fenced, badPayloads, tooLarge, storeErrors atomic.Uint64
	audited, auditedStale                                                               atomic.Uint64
}

// spread is a counter that many processors increment at once without contention for each
// other's cache lines. The address of a goroutine's stack selects the cell.
type spread [16]struct {
	atomic.Uint64
	_ [56]byte
}

func (s *spread) add() {
	var here byte
	s[uintptr(unsafe.Pointer(&here))>>12%uintptr(len(s))].Add(1)
}

func (s *spread) load() (sum uint64) {
	for i := range s {
		sum += s[i].Load()
	}
	return sum
}

// Stats returns the counters.
func (c *Typed[V]) Stats() Stats {
	s := &c.stats
	local := s.localHits.load()
	failed, slow, throttled := s.staleFailed.Load(), s.staleSlow.Load(), s.staleThrottled.Load()
	return Stats{
		Hits: s.hits.Load() + local, LocalHits: local, Misses: s.misses.Load(),
		Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(), Joined: s.joined.Load(), LoadTime: time.Duration(s.loadTime.Load()),
		Stale: failed + slow + throttled, StaleFailed: failed, StaleSlow: slow, StaleThrottled: throttled,
		Fenced: s.fenced.Load(), BadPayloads: s.badPayloads.Load(), TooLarge: s.tooLarge.Load(), StoreErrors: s.storeErrors.Load(),
		Audited: s.audited.Load(), AuditedStale: s.auditedStale.Load(), StaleAge: time.Duration(s.staleAge.Load()),
		Memory: c.memory.Stats(),
	}
}
