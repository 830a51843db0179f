package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Alerter sends notifications about the checks of a registry. Create one with [New].
// All methods are safe for concurrent use.
type Alerter struct {
	reg       *health.Registry
	opts      Options
	log       *slog.Logger
	receivers []*receiver
	boot      string
	running   atomic.Bool
	wake      chan struct{}

	deciding sync.Mutex // one decision at a time; never held while a message is sent
	watch    watch      // guarded by deciding

	mu        sync.Mutex // guards the fields below; never held during a call to the outside
	local     *document  // the last known state; replaced, never changed
	stored    []byte     // the encoding of local if the store has it, or nil
	unsaved   bool       // local has changes that are not in the store
	cutOff    bool       // the store was unreachable in the last run of the loop
	conflict  bool       // another process writes under the same instance name
	wrote     bool       // a heartbeat of this process is in the store
	speakFrom time.Time  // while cut off: when this instance may send messages itself
	history   map[string]history
	results   []outcome
	sending   int
	cancels   map[*plan]context.CancelFunc // of the running deliveries
	stuck     map[string]time.Time         // receivers whose last call has not returned
	stats     Stats
}

// Stats are counters since [New].
type Stats struct {
	// Sent counts messages that a receiver accepted. Failed counts attempts that
	// failed.
	Sent, Failed uint64
	// Dropped counts alerts that ended before a message about them was delivered.
	Dropped uint64
	// StoreErrors counts how often the store was unreachable.
	StoreErrors uint64
	// Conflicts counts how often another process used the same instance name and store.
	// Give each process its own Options.Instance.
	Conflicts uint64
	// LastError is the text of the last failed delivery. It is empty after a successful
	// one.
	LastError string
}

const (
	tick = 30 * time.Second // changes wake the loop sooner; this finds what is due by time
	busy = 5 * time.Second  // the pause before a busy store is tried again
	// rankStep spreads the instances that cannot reach their store. If the store of an
	// instance comes back in time, it finds that another instance has sent the message.
	rankStep = 15 * time.Second
	// onceSlack lets a command that runs hourly send the reminder that is due after an
	// hour.
	onceSlack = 5 * time.Minute
	// stopWait is how long Run waits for deliveries, and then for the store.
	stopWait = 5 * time.Second
	// leastWait keeps the loop from spinning.
	leastWait = 100 * time.Millisecond
)

// New returns an Alerter that notifies to about reg. Options.Receivers adds receivers
// with their own routes. Then to may be nil. Each channel of a notify.Multi becomes a
// separate receiver. New sends no message and starts no goroutine. Call [Alerter.Run],
// or [Alerter.Once] in a command.
func New(reg *health.Registry, to notify.Notifier, opts *Options) (*Alerter, error) {
	if reg == nil {
		return nil, errors.New("alert: New needs a registry")
	}
	o, err := opts.normalized(reg)
	if err != nil {
		return nil, err
	}
	for _, w := range o.Windows {
		for _, name := range w.Checks {
			if !slices.Contains(reg.Names(), name) {
				return nil, fmt.Errorf("alert: a maintenance window names the unknown check %q", name)
			}
		}
	}
	receivers, err := o.receivers(to)
	if err != nil {
		return nil, err
	}
	return &Alerter{
		reg: reg, opts: o, log: o.Logger, receivers: receivers, boot: rand.Text()[:12],
		wake: make(chan struct{}, 1), local: newDocument(), history: map[string]history{}, stuck: map[string]time.Time{},
		cancels: map[*plan]context.CancelFunc{},
	}, nil
}

// rules returns the current parameters of decisions.
func (a *Alerter) rules(once bool) *rules {
	o := &a.opts
	r := &rules{
		instance: o.Instance, boot: a.boot, once: once, known: a.reg.Names(), minStatus: o.MinStatus,
		groupWait: o.GroupWait, groupInterval: o.GroupInterval, retries: o.Retries, sendTimeout: o.SendTimeout,
		maxPerHour: o.MaxPerHour, windows: o.Windows, lost: !o.ForgetLost, tellUnclean: o.TellUncleanStop,
		receivers: a.receivers, history: map[string]history{},
	}
	if once {
		r.groupWait, r.groupInterval, r.slack = 0, 0, onceSlack
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, h := range a.history {
		r.history[name] = h
	}
	return r
}

// Run watches the registry until ctx ends, and then returns nil within 12 s. It never
// delays a check. Only one Run can be active at a time.
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
		wake, _ := a.look(ctx, a.reg.Snapshot(), a.rules(false)) // its error was logged
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

// changed records when results turned, and wakes Run when a confirmed state changed.
func (a *Alerter) changed(c health.Change) {
	if c.Kind != health.RawChange {
		a.poke()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.history[c.State.Name]
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
		if errors.Is(err, ErrBusy) {
			err = nil
		}
		if err != nil && !tried[err.Error()] {
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

// look applies the outcomes of deliveries, then observes and decides under the lock of
// the store, and starts deliveries. It returns the latest time for the next look.
func (a *Alerter) look(ctx context.Context, snap *health.Snapshot, r *rules) (wake time.Time, err error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	now := time.Now()
	r.unsettled = unsettled(snap)
	outcomes := a.take()
	var plans []*plan
	called := false
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	storeErr := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		called = true
		d, err := a.read(state)
		if err != nil {
			a.log.ErrorContext(ctx, "alert: starting from what this process knows", "error", err)
			d = a.known()
		}
		a.mu.Lock()
		if a.unsaved {
			d.absorb(a.local.clone())
		}
		a.mu.Unlock()
		a.checkConflict(ctx, d, r)
		plans, wake = a.step(d, snap, now, r, outcomes)
		return a.write(d)
	})
	if storeErr != nil && !called { // otherwise they are in local, which is absorbed later
		a.restore(outcomes)
	}
	switch {
	case called:
		a.mu.Lock()
		a.unsaved, a.speakFrom = storeErr != nil, time.Time{}
		if storeErr == nil {
			a.cutOff, a.wrote = false, true
		}
		a.mu.Unlock()
		if storeErr != nil {
			a.note(ctx, storeErr)
		}
	case errors.Is(storeErr, ErrBusy), ctx.Err() != nil:
		return now.Add(busy), storeErr
	default:
		plans, wake = a.alone(ctx, snap, now, r, storeErr)
	}
	for _, p := range plans {
		a.start(ctx, p, snap, now)
	}
	return wake, storeErr
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
		if plans, _ := a.decide(trial, snap, now, r); len(plans) > 0 {
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
		if o.err == nil {
			d.delivered(o.at, r, o.plan)
		} else {
			d.failed(o.at, o.plan)
		}
	}
	plans, wake := a.decide(d, snap, now, r)
	a.remember(d)
	return plans, wake
}

// decide observes and returns the messages that are due.
func (a *Alerter) decide(d *document, snap *health.Snapshot, now time.Time, r *rules) (plans []*plan, wake time.Time) {
	d.clamp(now)
	d.observe(now, r, snap)
	a.watch.judge(d, now, r)
	untold := d.untold()
	d.advance(now, r, &a.watch)
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
	d.settle(now)
	d.prune(now)
	a.mu.Lock()
	for id := range untold {
		if !slices.ContainsFunc(d.list(), func(al *state) bool { return al.ID == id }) {
			a.stats.Dropped++
		}
	}
	a.mu.Unlock()
	return plans, wake
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
		if !al.everTold() {
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

// remember keeps the state for readers and for times without a store.
func (a *Alerter) remember(d *document) {
	local := d.clone()
	a.mu.Lock()
	a.local, a.stored = local, nil
	a.mu.Unlock()
}

// read returns the stored state. It decodes only a state that another process
// wrote.
func (a *Alerter) read(state []byte) (*document, error) {
	a.mu.Lock()
	local, same := a.local, a.stored != nil && bytes.Equal(state, a.stored)
	a.mu.Unlock()
	if same {
		return local.clone(), nil
	}
	return decode(state)
}

// write encodes a document that remember has just kept.
func (a *Alerter) write(d *document) ([]byte, error) {
	b, err := d.encode()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.stored = b
	a.mu.Unlock()
	return b, nil
}

// known returns a copy of the last known state.
func (a *Alerter) known() *document {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.local.clone()
}

// change applies f to the stored state.
func (a *Alerter) change(ctx context.Context, f func(d *document, now time.Time) error) error {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	err := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := a.read(state)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		d.clamp(now)
		if err := f(d, now); err != nil {
			return nil, err
		}
		a.remember(d)
		return a.write(d)
	})
	if err == nil {
		a.poke()
	}
	return err
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
		in.Unclean = append(in.Unclean[max(0, len(in.Unclean)-50):], now)
		in.Run.Boot = ""
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
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	r := a.rules(false)
	err := a.change(ctx, func(d *document, now time.Time) error {
		for _, o := range outcomes {
			if o.err == nil {
				d.delivered(o.at, r, o.plan)
			} else {
				d.failed(o.at, o.plan)
			}
		}
		if in := d.Instances[a.opts.Instance]; in != nil {
			in.Stopped = now
		}
		d.settle(now)
		return nil
	})
	a.take()
	if err != nil {
		a.log.WarnContext(ctx, "alert: the stop cannot be recorded; another instance will report this one as lost", "error", a.reg.Scrub(err.Error()))
	}
}

// Stats returns the counters.
func (a *Alerter) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}
