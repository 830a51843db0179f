package redislimit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxUnmerged bounds the uses that wait for a merge. Further uses count in this process
// alone.
const maxUnmerged = 100_000

// outage remembers the uses that this process has allowed while Redis was away, by key.
type outage struct {
	mu   sync.Mutex
	uses map[string][]*localUse
	n    int

	merging atomic.Int64 // keys on their way to Redis
}

// localUse is one use that Redis does not know.
type localUse struct {
	call *call
	at   time.Time
	cost int
}

func (o *outage) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.uses)
}

func (o *outage) add(c *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n >= maxUnmerged {
		return
	}
	if o.uses == nil {
		o.uses = make(map[string][]*localUse)
	}
	o.uses[c.at()] = append(o.uses[c.at()], &localUse{call: c, at: time.Now().Add(c.res.Delay), cost: c.check.Cost})
	o.n++
}

// settled gives a use its final cost. It reports false for a use that is being merged.
func (o *outage) settled(c *call, cost int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.uses[c.at()] {
		if u.call == c {
			u.cost = cost
			return true
		}
	}
	return false
}

func (o *outage) drop(key string) { o.take(key) }

func (o *outage) take(key string) []*localUse {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.uses[key]
	delete(o.uses, key)
	o.n -= len(list)
	return list
}

func (o *outage) putBack(key string, list []*localUse) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.uses[key] = append(list, o.uses[key]...)
	o.n += len(list)
}

func (o *outage) keys() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.uses {
		list = append(list, key)
	}
	return list
}

// merge books unmerged uses of the keys of calls on Redis, before the decision.
func (s *Store) merge(ctx context.Context, calls []*call) error {
	if s.outage.len() == 0 {
		return nil
	}
	for _, c := range calls {
		if err := s.mergeKey(ctx, c.at()); err != nil {
			return err
		}
	}
	return nil
}

// mergeAll books all unmerged uses on Redis. It stops at the first failure.
func (s *Store) mergeAll() {
	for _, key := range s.outage.keys() {
		if s.mergeKey(context.Background(), key) != nil {
			return
		}
	}
}

func (s *Store) mergeKey(ctx context.Context, key string) error {
	s.outage.merging.Add(1)
	defer s.outage.merging.Add(-1)
	list := s.outage.take(key)
	if len(list) == 0 {
		return nil
	}
	c := list[0].call
	script, args := mergeScript, []any{grain(&c.l.policy, c.limit), c.limit, c.l.window}
	if c.l.gcra != nil {
		script, args = gcraMerge, []any{64 * c.l.window}
	}
	var uses []*localUse
	for _, u := range list {
		if u.cost <= 0 {
			continue
		}
		uses = append(uses, u)
		cost := int64(u.cost)
		if c.l.gcra != nil {
			cost = int64(u.call.perUnit()) * cost / 1000
		}
		args = append(args, time.Since(u.at).Microseconds(), cost)
	}
	if len(uses) == 0 {
		return nil
	}
	sent, at := time.Now(), key
	if c.l.gcra != nil {
		at = gcraPrefix + key
	}
	stamps, err := s.integers(ctx, len(uses), script, []string{at}, args...)
	if err != nil {
		if !isReply(err) {
			s.outage.putBack(key, list)
			for _, u := range list {
				u.call.mu.Lock()
				if u.call.late {
					s.outage.settled(u.call, u.call.lateCost)
				}
				u.call.mu.Unlock()
			}
		}
		return err
	}
	for i, u := range uses {
		u.call.mu.Lock()
		u.call.stamp, u.call.sent, u.call.booked, u.call.local = stamps[i], sent, true, false
		if c.l.gcra != nil {
			u.call.sent, u.call.res.ResetAfter = u.at, time.Duration(stamps[i])*time.Microsecond
		}
		late, cost := u.call.late, u.call.lateCost
		u.call.mu.Unlock()
		if late { // it was settled while it was being merged
			if err := s.settle(ctx, []*call{u.call}, []int{cost}); err != nil {
				s.opts.Logger.WarnContext(ctx, "redislimit: units of an outage stay counted until the window has passed", "error", err)
			}
		}
	}
	if c.l.denials != nil {
		c.l.denials.drop(c.check.Key)
	}
	return nil
}
