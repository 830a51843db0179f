package redislimit

import (
	"context"
	"sync"
	"time"
)

// maxUnmerged bounds the uses that are remembered to be merged: what is beyond it counts in
// this process alone.
const maxUnmerged = 100_000

// outage remembers what this process has let in while Redis was away, by key.
type outage struct {
	mu   sync.Mutex
	uses map[string][]*localUse
	n    int
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

// settled gives a use its final cost, unless it has been taken out already.
func (o *outage) settled(c *call, cost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.uses[c.at()] {
		if u.call == c {
			u.cost = cost
		}
	}
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

// merge tells Redis of what it does not know of the keys of calls, before they are decided.
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

// mergeAll tells Redis of all that it does not know. It stops at the first failure.
func (s *Store) mergeAll() {
	for _, key := range s.outage.keys() {
		if s.mergeKey(context.Background(), key) != nil {
			return
		}
	}
}

func (s *Store) mergeKey(ctx context.Context, key string) error {
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
		}
		return err
	}
	for i, u := range uses {
		u.call.mu.Lock()
		u.call.stamp, u.call.sent, u.call.booked, u.call.local = stamps[i], sent, true, false
		if c.l.gcra != nil {
			u.call.sent, u.call.res.ResetAfter = u.at, time.Duration(stamps[i])*time.Microsecond
		}
		u.call.mu.Unlock()
	}
	if c.l.denials != nil {
		c.l.denials.drop(c.check.Key)
	}
	return nil
}
