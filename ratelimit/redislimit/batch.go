package redislimit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// SharesBackend implements ratelimit.Batcher: limiters of one Store decide together,
// but for GCRA, whose script takes one key.
func (l *Limiter) SharesBackend(other ratelimit.Limiter) bool {
	o, ok := other.(*Limiter)
	return ok && o.store == l.store && o.gcra == nil && l.gcra == nil
}

// Batch implements ratelimit.Batcher. Keys of one slot are decided in one script, and
// on a single server all keys are. On a Cluster the scripts of several slots travel in
// one pipeline, and what some have booked is given back when another denies.
//
// When this process remembers one of the keys as exhausted, Redis is not asked, and
// the results of the other checks have no Policy: nothing is known of them.
func (l *Limiter) Batch(ctx context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	calls := make([]*call, len(checks))
	var asked []*call
	refused := false
	for i, check := range checks {
		c := &call{l: check.Limiter.(*Limiter), key: check.Key, cost: check.Cost}
		if slices.ContainsFunc(calls[:i], func(other *call) bool { return other.at() == c.at() }) {
			return reservations(calls, i-1), ratelimit.ErrDuplicateCheck // the script would count each as if it were alone
		}
		calls[i] = c
		ask, err := c.prepare(ctx)
		if err != nil {
			return reservations(calls, i), err
		}
		if ask {
			asked = append(asked, c)
		}
		refused = refused || !ask && c.cost > 0 && !c.res.Allowed
	}
	var err error
	switch {
	case refused:
		for _, c := range asked {
			c.res = ratelimit.Result{Allowed: true, Limit: ratelimit.Unlimited}
		}
	case len(asked) > 0:
		err = l.store.decideTogether(ctx, asked)
	}
	for _, c := range calls {
		if c.res.Policy != "" {
			c.finish(ctx, err) //nolint:errcheck // it hands back the error that it is given
		}
	}
	return reservations(calls, len(calls)-1), err
}

// reservations of the calls up to and with the one at last.
func reservations(calls []*call, last int) []*ratelimit.Reservation {
	list := make([]*ratelimit.Reservation, len(calls))
	for i, c := range calls[:last+1] {
		list[i] = c.reservation()
	}
	return list
}

// decideTogether decides calls in one script where they share a slot, or all of them
// where the server has no slots.
func (s *Store) decideTogether(ctx context.Context, calls []*call) error {
	if !s.slots.Load() {
		err := s.run(ctx, calls)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !crossSlot(err) {
			return s.fallbackAll(ctx, calls, err)
		}
		s.slots.Store(true) // one address of a Cluster after all
	}
	groups := bySubject(calls)
	if len(groups) == 1 {
		return s.decide(ctx, calls)
	}
	errs := s.runGroups(ctx, groups)
	if ctx.Err() != nil {
		s.undo(ctx, calls)
		return ctx.Err()
	}
	denied := false
	for i, group := range groups {
		if errs[i] != nil {
			errs[i] = s.fallbackAll(ctx, group, errs[i])
		}
		for _, c := range group {
			denied = denied || errs[i] != nil || c.cost > 0 && !c.res.Allowed
		}
	}
	if denied {
		s.undo(ctx, calls)
	}
	return errors.Join(errs...)
}

func crossSlot(err error) bool { return strings.HasPrefix(err.Error(), "CROSSSLOT") }

// bySubject groups calls whose keys have the same hash tag.
func bySubject(calls []*call) (groups [][]*call) {
	index := make(map[string]int, len(calls))
	for _, c := range calls {
		i, ok := index[c.key]
		if !ok {
			i = len(groups)
			index[c.key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// runGroups sends one script a group, all of them in one pipeline if the client can.
func (s *Store) runGroups(ctx context.Context, groups [][]*call) []error {
	errs := make([]error, len(groups))
	p, ok := s.client.(pipeliner)
	if !ok {
		for i, group := range groups {
			errs[i] = s.run(ctx, group)
		}
		return errs
	}
	type answer struct {
		reply []int64
		err   error
	}
	type question struct {
		keys   []string
		args   []any
		script *redis.Script
	}
	questions := make([]question, len(groups))
	for i, group := range groups {
		q := &questions[i]
		q.keys, q.args, q.script = arguments(group)
	}
	sent := time.Now()
	answers, err := ask(ctx, s, func(ctx context.Context) ([]answer, error) {
		cmds, err := p.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, q := range questions {
				q.script.EvalSha(ctx, pipe, q.keys, q.args...)
			}
			return nil
		})
		if len(cmds) != len(questions) {
			return nil, err
		}
		answers, answered := make([]answer, len(questions)), false
		for i, q := range questions {
			a := &answers[i]
			a.reply, a.err = integers(cmds[i].(*redis.Cmd), len(q.keys))
			if redis.HasErrorPrefix(a.err, "NOSCRIPT") {
				a.reply, a.err = integers(q.script.Eval(ctx, s.client, q.keys, q.args...), len(q.keys))
			}
			answered = answered || a.err == nil
		}
		if !answered {
			return nil, answers[0].err
		}
		return answers, nil
	})
	for i, group := range groups {
		switch {
		case err != nil:
			errs[i] = err
		case answers[i].err != nil:
			errs[i] = answers[i].err
		default:
			settle(group, answers[i].reply, sent)
		}
	}
	return errs
}

// undo gives back what has been booked and what FailLocal has counted.
func (s *Store) undo(ctx context.Context, calls []*call) {
	ctx = context.WithoutCancel(ctx)
	for _, c := range calls {
		var err error
		if c.local != nil {
			err = c.local.Cancel(ctx)
		} else if err = c.cancel(ctx); err == nil {
			c.booked = false
		}
		if err != nil {
			s.opts.Logger.Warn("redislimit: units of a denied decision stay counted until the window has passed", "policy", c.l.policy.Name, "error", err)
		}
	}
}
