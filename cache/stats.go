package cache

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Stats are counters since New.
type Stats struct {
	// Hits counts the reads that were answered, NearHits those of them from Options.Near.
	Hits, NearHits, Misses uint64
	// Loads counts loads that ran, one for each call of the loader, LoadErrors those of
	// them that failed for a key or more, and Joined the keys for which a caller waited
	// for somebody else's.
	Loads, LoadErrors, Joined uint64
	// LoadTime is what all loads took together.
	LoadTime time.Duration
	// Stale counts values that were served after their time: StaleFailed because their
	// load failed, StaleSlow because it took longer than SoftTimeout, StaleThrottled
	// because one had failed within ThrottleFor.
	Stale, StaleFailed, StaleSlow, StaleThrottled uint64
	// Fenced counts loads that were not kept, because their key was written meanwhile.
	Fenced uint64
	// BadPayloads counts stored values that could not be read back, TooLarge those that
	// were not stored.
	BadPayloads, TooLarge uint64
	// StoreErrors counts calls of the store that failed.
	StoreErrors uint64
}

// HitRatio is the share of reads that were hits, from 0 to 1; 0 before the first.
func (s Stats) HitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

type counters struct {
	loadTime                                                                            atomic.Int64
	staleFailed, staleSlow, staleThrottled                                              atomic.Uint64
	nearHits                                                                            spread
	hits, misses, loads, loadErrors, joined, fenced, badPayloads, tooLarge, storeErrors atomic.Uint64
}

// spread is a counter that many processors raise at once without waiting for each
// other's cache lines.
type spread [16]struct {
	atomic.Uint64
	_ [56]byte
}

func (s *spread) add() { s[rand.Uint32()%uint32(len(s))].Add(1) }

func (s *spread) load() (sum uint64) {
	for i := range s {
		sum += s[i].Load()
	}
	return sum
}

// Stats returns the counters.
func (c *Typed[V]) Stats() Stats {
	s := &c.stats
	near := s.nearHits.load()
	failed, slow, throttled := s.staleFailed.Load(), s.staleSlow.Load(), s.staleThrottled.Load()
	return Stats{
		Hits: s.hits.Load() + near, NearHits: near, Misses: s.misses.Load(),
		Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(), Joined: s.joined.Load(), LoadTime: time.Duration(s.loadTime.Load()),
		Stale: failed + slow + throttled, StaleFailed: failed, StaleSlow: slow, StaleThrottled: throttled,
		Fenced: s.fenced.Load(), BadPayloads: s.badPayloads.Load(), TooLarge: s.tooLarge.Load(), StoreErrors: s.storeErrors.Load(),
	}
}

// stateLog remembers whether something fails, so that only changes are logged.
type stateLog struct{ failing atomic.Bool }

func (s *stateLog) changed(failing bool) bool {
	return s.failing.Load() != failing && s.failing.Swap(failing) != failing
}
