package redislimit

import (
	"context"
	"time"
)

// asking counts the callers that send commands about one key. The first one is alone. If its
// reply is a denial, all others are denied from memory. After any other reply they send
// commands too. Callers of a key in constant use do not wait again.
type asking struct {
	callers  int
	answered bool          // the first caller has left
	done     chan struct{} // closed then; nil while no caller waits for it
}

// enter notes that a caller asks about key. It waits for the first caller, at most for
// patience, and reports whether it has waited: there may be a denial in memory now. Each
// enter needs a leave.
func (c *denyCache) enter(ctx context.Context, key string, patience time.Duration) bool {
	s := c.shard(key)
	s.mu.Lock()
	a := s.asking[key]
	if a == nil {
		if s.asking == nil {
			s.asking = make(map[string]*asking)
		}
		s.asking[key] = &asking{callers: 1}
		s.mu.Unlock()
		return false
	}
	a.callers++
	if a.answered {
		s.mu.Unlock()
		return false
	}
	if a.done == nil {
		a.done = make(chan struct{})
	}
	done := a.done
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// leave notes that a caller has its answer.
func (c *denyCache) leave(key string) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asking[key]
	if !a.answered && a.done != nil {
		close(a.done)
	}
	a.answered = true
	if a.callers--; a.callers == 0 {
		delete(s.asking, key)
	}
}

// remembers reports whether a denial of the call may be answered from memory later.
func (c *call) remembers() bool {
	return c.l.denials != nil && c.check.Cost > 0 && !c.check.Debt && c.check.Within == 0
}

// patience is how long a caller waits for another one's answer about its key.
func (s *Store) patience() time.Duration { return s.opts.Timeout / 8 }
