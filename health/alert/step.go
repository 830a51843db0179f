package alert

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// look applies the outcomes of deliveries, then observes and decides under the lock of
// the store, and starts deliveries. It returns the latest time for the next look.
func (a *Alerter) look(ctx context.Context, snap *health.Snapshot, r *rules) (wake time.Time, err error) {
	now := time.Now()
	if err := a.lock(ctx); err != nil {
		return now.Add(busy), err
	}
	defer a.unlock()
	r.unsettled = unsettled(snap)
	outcomes := a.take()
	var plans []*plan
	called, storeErr := a.update(ctx, func(state []byte) ([]byte, error) {
		d, err := a.read(state)
		if err != nil {
			a.log.ErrorContext(ctx, "alert: starting from what this process knows", "error", err)
			d = a.known()
		}
		a.checkConflict(ctx, d, r)
		a.rejoin(d, now)
		plans, wake = a.step(d, snap, now, r, outcomes)
		return a.write(d)
	})
	if storeErr != nil && !called { // otherwise they are in local, which is absorbed later
		a.restore(outcomes)
	}
	switch {
	case called:
		a.mu.Lock()
		a.unsaved, a.speakFrom, a.busySince = storeErr != nil, time.Time{}, time.Time{}
		if storeErr == nil {
			a.cutOff, a.wrote, a.written = false, true, now
		}
		a.mu.Unlock()
		if storeErr != nil {
			a.note(ctx, storeErr)
		}
	case ctx.Err() != nil, errors.Is(storeErr, ErrStandby), (errors.Is(storeErr, ErrBusy) || errors.Is(storeErr, errHung)) && a.isBusy(now):
		return now.Add(busy), storeErr
	default:
		plans, wake = a.alone(ctx, snap, now, r, storeErr)
	}
	for _, p := range plans {
		a.start(ctx, p, snap, now)
	}
	return wake, storeErr
}

// isBusy records that the store is in use or hangs. It returns false if that has lasted so
// long that the store counts as unreachable.
func (a *Alerter) isBusy(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busySince.IsZero() {
		a.busySince = now
	}
	return time.Since(a.busySince) < busyLimit
}

// alone is look without the store. This instance decides by its own results and its
// last copy of the state. In Run it waits for its turn before it sends.
func (a *Alerter) alone(ctx context.Context, snap *health.Snapshot, now time.Time, r *rules, storeErr error) ([]*plan, time.Time) {
	a.note(ctx, storeErr)
	r.alone = true
	outcomes := a.take()
	d := a.known()
	if !r.once && len(outcomes) == 0 { // a command cannot wait
		trial := d.clone()
		if plans, _, _ := a.decide(trial, snap, now, r); len(plans) > 0 {
			a.mu.Lock()
			if a.speakFrom.IsZero() {
				a.speakFrom = now.Add(a.turn())
			}
			turn := a.speakFrom
			a.mu.Unlock()
			if now.Before(turn) {
				return nil, turn
			}
		}
	}
	plans, wake := a.step(d, snap, now, r, outcomes)
	a.mu.Lock()
	a.unsaved, a.speakFrom = true, time.Time{}
	a.mu.Unlock()
	return plans, wake
}

// turn is how long this instance waits before it sends without the store. It is the
// same at every try and differs between instances.
func (a *Alerter) turn() time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.opts.Instance)) // never fails
	return rankStep * time.Duration(h.Sum32()%4)
}

// note logs an unreachable store once, until the store is reachable again.
func (a *Alerter) note(ctx context.Context, err error) {
	a.mu.Lock()
	first := !a.cutOff
	a.cutOff = true
	a.stats.StoreErrors++
	a.mu.Unlock()
	if first {
		a.log.ErrorContext(ctx, "alert: the state cannot be stored; this instance goes by its own", "error", a.reg.Scrub(err.Error()))
	}
}

// checkConflict detects another process that uses the same instance name.
func (a *Alerter) checkConflict(ctx context.Context, d *document, r *rules) {
	in := d.Instances[r.instance]
	if r.once || in == nil || in.Run == nil {
		return
	}
	a.mu.Lock()
	found := a.wrote && in.Run.Boot != a.boot && in.Run.Boot != ""
	first := found && !a.conflict
	a.conflict = a.conflict || found
	if found {
		a.stats.Conflicts++
	}
	a.mu.Unlock()
	if first {
		a.log.ErrorContext(ctx, "alert: another process uses the same instance name and store; set Options.Instance to a name of its own for each", "instance", r.instance)
	}
}

// step records outcomes and observations in d, and returns the messages that are
// due.
func (a *Alerter) step(d *document, snap *health.Snapshot, now time.Time, r *rules, outcomes []outcome) ([]*plan, time.Time) {
	for _, o := range outcomes {
		d.finish(r, o)
	}
	plans, wake, lost := a.decide(d, snap, now, r)
	a.report(lost)
	a.remember(d)
	return plans, wake
}

// losses are alerts that a receiver got too little about.
type losses struct {
	dropped uint64   // ended before a message
	givenUp []*state // the message about the end was not accepted
}

func (a *Alerter) report(lost losses) {
	for _, al := range lost.givenUp {
		a.log.Error("alert: the end of an alert was given up, because a receiver did not accept it for 7 days; the alert may be open there",
			"alert", subjectName(al.Name, al.Instance), "id", al.ID)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Dropped += lost.dropped
	a.stats.GivenUp += uint64(len(lost.givenUp))
}

// decide observes and returns the messages that are due.
func (a *Alerter) decide(d *document, snap *health.Snapshot, now time.Time, r *rules) (plans []*plan, wake time.Time, lost losses) {
	d.clamp(now)
	d.observe(now, r, snap)
	a.watch.judge(d, now, r)
	untold := d.untold()
	d.advance(now, r, &a.watch)
	d.listen(now, r)
	for _, to := range a.receivers {
		p, at := d.decide(now, r, to)
		if p != nil {
			if p.topic == "" {
				p.topic = a.topic(p, d)
			}
			d.begin(now, r, p)
			plans = append(plans, p)
		}
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	lost.givenUp = d.settle(now)
	d.prune(now)
	for id := range untold {
		if !slices.ContainsFunc(d.list(), func(al *state) bool { return al.ID == id }) {
			lost.dropped++
		}
	}
	return plans, wake, lost
}

func (d *document) list() []*state {
	all := make([]*state, 0, len(d.Alerts))
	for _, al := range d.Alerts {
		all = append(all, al)
	}
	return all
}

// untold returns the ids of alerts without a delivered message.
func (d *document) untold() map[string]bool {
	ids := map[string]bool{}
	for _, al := range d.Alerts {
		if !al.everTold() && !al.hidden() {
			ids[al.ID] = true
		}
	}
	return ids
}

// unsettled reports whether the last result of a check differs from its
// confirmed state.
func unsettled(snap *health.Snapshot) bool {
	return slices.ContainsFunc(snap.Checks, func(c health.CheckState) bool {
		return !c.Flapping && c.Confirmed != health.Unknown && (c.Status >= health.Warn) != (c.Confirmed >= health.Warn)
	})
}
