package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Run watches the registry until ctx ends, and then returns nil within 12 s. It never
// delays a check. Only one Run can be active at a time.
//
// The registry needs its own Run. A critical check that has no result after 5 minutes
// counts as failing, and that is logged.
//
// Run writes a heartbeat to the store once a minute. If it is missing for 3 minutes,
// another instance reports this one as lost.
func (a *Alerter) Run(ctx context.Context) error {
	if !a.running.CompareAndSwap(false, true) {
		return errors.New("alert: Run is already at work")
	}
	defer a.running.Store(false)
	defer a.reg.Subscribe(a.changed)()
	a.begin(ctx)
	for ctx.Err() == nil {
		snap := a.judged(ctx, a.reg.Snapshot(), time.Now())
		wake, _ := a.look(ctx, snap, a.rules(false)) // its error was logged
		wait := tick
		if !wake.IsZero() {
			wait = min(wait, max(time.Until(wake), leastWait))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-a.wake:
		}
		timer.Stop()
	}
	a.end(ctx)
	return nil
}

// neverRan is how long a check may have no result before it counts as not run. The loop of
// a registry runs each check at once.
const neverRan = 5 * time.Minute

// judged returns the snapshot with the critical checks that no registry runs as failing.
func (a *Alerter) judged(ctx context.Context, snap *health.Snapshot, now time.Time) *health.Snapshot {
	out := *snap
	out.Checks = slices.Clone(snap.Checks)
	for i := range out.Checks {
		c := &out.Checks[i]
		if c.Kind != health.KindPending || !c.LastRun.IsZero() {
			delete(a.pending, c.Name)
			continue
		}
		since, ok := a.pending[c.Name]
		if !ok {
			a.pending[c.Name] = now
			continue
		}
		if !c.Critical || now.Sub(since) < neverRan {
			continue
		}
		if !a.idle {
			a.idle = true
			a.log.ErrorContext(ctx, "alert: a critical check has never run; call Run of its registry", "check", c.Name)
		}
		c.Status, c.Confirmed, c.Kind, c.Since, c.ConfirmedSince = health.Fail, health.Fail, health.KindStale, since, since
		c.Output = "the check has never run: the service does not call Run of its health.Registry"
	}
	return &out
}

// changed records when results turned, and wakes Run when a confirmed state changed.
func (a *Alerter) changed(c health.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.history[c.State.Name]
	if c.State.Status >= health.Warn {
		h.output, h.values = c.State.Output, values(c.State.Observed)
		a.history[c.State.Name] = h
	}
	if c.Kind != health.RawChange {
		a.poke()
		return
	}
	was, is := c.From >= health.Warn, c.To >= health.Warn
	switch {
	case is && !was:
		h.bad = c.Time
	case was && !is:
		h.good = c.Time
	}
	a.history[c.State.Name] = h
}

func (a *Alerter) poke() {
	select {
	case a.wake <- struct{}{}:
	default: // the loop has not run since the last wake-up
	}
}

// begin records that this instance runs, and whether its last run ended without
// a clean stop.
func (a *Alerter) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	err := a.change(ctx, func(d *document, now time.Time) error {
		in := d.Instances[a.opts.Instance]
		if in == nil || in.Run == nil || !in.Stopped.IsZero() {
			return nil
		}
		in.Unclean = append(in.Unclean[max(0, len(in.Unclean)-50):], uncleanStart{At: now, Boot: in.Run.Boot})
		in.Run.Boot = a.boot
		return nil
	})
	if err != nil {
		a.log.WarnContext(ctx, "alert: the start cannot be recorded; an unclean stop before it goes unnoticed", "error", a.reg.Scrub(err.Error()))
	}
}

// end waits for deliveries and records a clean stop.
func (a *Alerter) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	wait, cancelWait := context.WithTimeout(ctx, stopWait)
	defer cancelWait()
	a.await(wait)
	outcomes := a.abort(ctx)
	ctx, cancel := context.WithTimeout(ctx, stopStore)
	defer cancel()
	r := a.rules(false)
	err := a.change(ctx, func(d *document, now time.Time) error {
		for _, o := range outcomes {
			d.finish(r, o)
		}
		if in := d.Instances[a.opts.Instance]; in != nil {
			in.acquit(a.boot)
			if in.Run == nil || in.Run.Boot == a.boot { // no newer process has this name
				in.Stopped = now
			}
		}
		a.report(losses{givenUp: d.settle(now)})
		return nil
	})
	a.take()
	if err != nil {
		a.log.WarnContext(ctx, "alert: the stop cannot be recorded; another instance will report this one as lost", "error", a.reg.Scrub(err.Error()))
	}
}

// Once reads a snapshot and sends the messages that are due, without GroupWait. It is
// for a command that runs at intervals. If the snapshot is narrowed to some checks, the
// other checks keep their stored state. An error means that a message was not
// delivered, or that the store is unreachable. Without the store, Once decides by the
// results of this process, and the next run may repeat a message.
func (a *Alerter) Once(ctx context.Context, s *health.Snapshot) error {
	var errs []error
	tried := map[string]bool{}
	for range 2*len(a.receivers) + 2 { // a message per receiver and thread; other messages wait for the next run
		_, err := a.look(ctx, s, a.rules(true))
		for (errors.Is(err, ErrBusy) || errors.Is(err, errHung)) && a.waits(ctx) {
			_, err = a.look(ctx, s, a.rules(true))
		}
		if err != nil && !errors.Is(err, ErrStandby) && !tried[err.Error()] {
			tried[err.Error()] = true
			errs = append(errs, err)
		}
		a.await(ctx)
		outcomes := a.abort(context.WithoutCancel(ctx))
		if len(outcomes) == 0 {
			break
		}
		for _, o := range outcomes {
			if o.err != nil {
				errs = append(errs, fmt.Errorf("alert: %q was not delivered to %s: %w", o.subject, o.plan.receiver.Name, o.err))
			}
		}
	}
	return errors.Join(errs...)
}

// waits pauses before a busy store is tried again. It returns false if this process does
// not wait longer.
func (a *Alerter) waits(ctx context.Context) bool {
	a.mu.Lock()
	since := a.busySince
	a.mu.Unlock()
	if since.IsZero() || time.Since(since) >= busyLimit {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(busy):
		return true
	}
}
