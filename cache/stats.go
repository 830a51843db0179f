package cache

import "sync/atomic"

// Stats are counters since New.
type Stats struct {
	Hits, Misses uint64
	// Loads counts loads that ran, LoadErrors those of them that failed, and Joined
	// the callers that waited for somebody else's.
	Loads, LoadErrors, Joined uint64
	// Fenced counts loads that were not kept, because their key was written meanwhile.
	Fenced uint64
	// BadPayloads counts stored values that could not be read back.
	BadPayloads uint64
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
	hits, misses, loads, loadErrors, joined, fenced, badPayloads, storeErrors atomic.Uint64
}

// Stats returns the counters.
func (c *Typed[V]) Stats() Stats {
	s := &c.stats
	return Stats{
		Hits: s.hits.Load(), Misses: s.misses.Load(), Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(),
		Joined: s.joined.Load(), Fenced: s.fenced.Load(), BadPayloads: s.badPayloads.Load(), StoreErrors: s.storeErrors.Load(),
	}
}

// stateLog remembers whether something fails, so that only changes are logged.
type stateLog struct{ failing atomic.Bool }

func (s *stateLog) changed(failing bool) bool {
	return s.failing.Load() != failing && s.failing.Swap(failing) != failing
}
