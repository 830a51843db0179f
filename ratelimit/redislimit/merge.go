package redislimit

import (
	"context"
	"time"
)

// merge prepares a decision about the keys of calls after an outage. It finds out whether
// Redis is back, and books the unmerged uses of these keys there. So a decision on Redis
// knows every use that this process has allowed.
func (s *Store) merge(ctx context.Context, calls []*call) error {
	if s.outage.calm() {
		return nil
	}
	p, err := s.pipeOf(ctx, calls[0].at())
	if err != nil {
		return err
	}
	if p.breaker.open() { // other decisions may still fall back, so the first command is not a decision
		if err := p.probe(ctx, calls[0].at()); err != nil {
			return err
		}
	}
	for _, c := range calls {
		if err := s.mergeKey(ctx, c.at()); err != nil {
			return err
		}
	}
	return nil
}

// mergeAll books all unmerged uses on Redis. It stops when Redis is away again.
func (s *Store) mergeAll() {
	for _, key := range s.outage.list() {
		if err := s.mergeKey(context.Background(), key); err != nil && !ofKey(err) {
			return
		}
	}
}

// mergeLeft starts mergeAll at most once a second, for uses that an earlier merge has left.
func (s *Store) mergeLeft() {
	if s.outage.waiting.Load() == 0 {
		return
	}
	now, last := int64(time.Since(s.base)), s.outage.tried.Load()
	if now-last >= int64(time.Second) && s.outage.tried.CompareAndSwap(last, now) {
		s.sending.Go(s.mergeAll)
	}
}

// mergeKey returns after all uses of a key are on Redis. It waits for a merge of another
// goroutine.
func (s *Store) mergeKey(ctx context.Context, key string) error {
	for {
		b, first := s.outage.begin(key)
		if first != nil {
			select {
			case <-first:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if b == nil {
			return nil
		}
		if err := s.book(ctx, key, b); err != nil {
			return err
		}
	}
}

// book merges one batch.
func (s *Store) book(ctx context.Context, key string, b *batch) error {
	c := b.uses[0].call
	script, at := mergeScript, key
	args := []any{grain(&c.l.policy, c.limit), c.limit, c.l.window, time.Since(b.made).Microseconds()}
	if c.l.gcra != nil {
		script, at = gcraMerge, gcraPrefix+key
		args[0] = 64 * c.l.window
	}
	for _, u := range b.uses {
		units := int64(u.merged)
		if c.l.gcra != nil {
			units = u.call.flow(u.merged).Microseconds()
		}
		args = append(args, b.made.Sub(u.at).Microseconds(), units)
	}
	stamps, err := s.integers(ctx, len(b.uses), script, []string{at, at + ":" + b.name}, args...)
	if err != nil {
		s.outage.end(key, false, ofKey(err)) // a key of another kind never takes them
		return err
	}
	var changed []*call
	var from, costs []int
	for i, u := range b.uses {
		c, merged := u.call, u.merged
		c.mu.Lock()
		c.stamp, c.sent, c.booked, c.local = stamps[i], u.made, true, false
		c.flows = time.Duration(stamps[i])*time.Microsecond + u.at.Sub(u.made)
		cost := s.outage.final(u)
		c.mu.Unlock()
		if cost != merged { // settled during the merge
			changed, from, costs = append(changed, c), append(from, merged), append(costs, cost)
		}
	}
	if len(changed) > 0 {
		if err := s.give(ctx, changed, from, costs); err != nil {
			s.opts.Logger.WarnContext(ctx, "redislimit: units of an outage stay counted until the window has passed", "error", err)
		}
	}
	s.outage.end(key, true, false)
	if c.l.denials != nil {
		c.l.denials.drop(c.check.Key)
	}
	return nil
}
