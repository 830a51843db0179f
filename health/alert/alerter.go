package alert

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Alerter decides when a person is told about the state of a registry. Create
// one with [New]. All methods are safe for concurrent use.
type Alerter struct {
	reg     *health.Registry
	channel notify.Notifier
	opts    Options
	log     *slog.Logger
	rules   rules
	running atomic.Bool

	deciding sync.Mutex // one decision at a time; held while a message is sent

	mu         sync.Mutex // guards what follows; never held during a call to the outside
	local      *document  // the last known state
	unsaved    bool       // local holds what the store does not
	cutOff     bool       // the store was out of reach at the last look
	speakFrom  time.Time  // while cut off: when this replica may speak for itself
	stats      Stats
	reminderAt time.Time
}

// Stats are counters since [New].
type Stats struct {
	Sent   uint64 // messages that were taken
	Failed uint64 // deliveries that were not
	// Dropped counts incidents that were over before anybody could be told.
	Dropped uint64
	// StoreErrors counts looks at which the store was out of reach.
	StoreErrors uint64
	// LastError is the text of the last failed delivery; empty after one that
	// succeeded.
	LastError string
}

const (
	tick = 30 * time.Second // changes wake the loop sooner; this finds what times bring
	busy = 5 * time.Second  // until a store in use by another process is asked again
	// rankStep spreads replicas that cannot reach their store, so that one whose
	// store comes back in time finds that somebody else has spoken.
	rankStep = 15 * time.Second
	// After this an instance that has said nothing is no longer believed.
	believeRun  = 3 * time.Minute
	believeOnce = 26 * time.Hour
	// onceSlack makes the reminder after an hour go out with the run after an hour.
	onceSlack = 5 * time.Minute
)

// New returns an Alerter that tells channel about reg. It sends nothing and
// starts nothing: call [Alerter.Run], or [Alerter.Once] in a command.
func New(reg *health.Registry, channel notify.Notifier, opts *Options) (*Alerter, error) {
	if reg == nil || channel == nil {
		return nil, errors.New("alert: New needs a registry and a notifier")
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
	return &Alerter{
		reg: reg, channel: channel, opts: o, log: o.Logger,
		local: &document{Version: documentVersion},
		rules: rules{
			instance: o.Instance, known: reg.Names(), minStatus: o.MinStatus, groupWait: o.GroupWait,
			groupInterval: o.GroupInterval, reminders: o.Reminders, believe: believeRun,
			noRecovery: o.NoRecovery, maxPerHour: o.MaxPerHour, windows: o.Windows,
		},
	}, nil
}

// Run watches the registry until ctx ends and then returns nil, at the latest
// SendTimeout and 5 s after it. It never delays a check. Only one Run can be at work at a
// time.
func (a *Alerter) Run(ctx context.Context) error {
	if !a.running.CompareAndSwap(false, true) {
		return errors.New("alert: Run is already at work")
	}
	defer a.running.Store(false)
	changed := make(chan struct{}, 1)
	cancel := a.reg.Subscribe(health.ListenerFunc(func(c health.Change) {
		if c.Kind == health.RawChange {
			return
		}
		select {
		case changed <- struct{}{}:
		default: // the loop has not looked since the last one
		}
	}))
	defer cancel()
	if a.opts.TellUncleanStop {
		a.begin(ctx)
		defer a.end(ctx)
	}
	for {
		wake, _ := a.look(ctx, a.reg.Snapshot(), &a.rules) // its error was logged
		wait := tick
		if !wake.IsZero() {
			wait = min(wait, max(time.Until(wake), time.Second))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-changed:
			timer.Stop()
		}
	}
}

// Once looks at a snapshot and sends what is due, without GroupWait, for a
// command that runs now and then. The snapshot may be narrowed to some checks;
// the others keep their stored state. An error means that somebody should have
// been told and could not be, or that the state is out of reach: then what is due
// is sent by what this process knows, and the next run may repeat it.
func (a *Alerter) Once(ctx context.Context, s *health.Snapshot) error {
	r := a.rules
	r.once, r.groupWait, r.slack, r.believe = true, 0, onceSlack, believeOnce
	_, err := a.look(ctx, s, &r)
	if errors.Is(err, ErrBusy) {
		return nil
	}
	return err
}

// look observes, decides and sends under the store's lock, and returns when to
// look again at the latest.
func (a *Alerter) look(ctx context.Context, snap *health.Snapshot, r *rules) (wake time.Time, err error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	now := time.Now()
	called := false
	var sendErr error
	ctx, cancel := context.WithTimeout(ctx, 2*a.opts.SendTimeout+20*time.Second) // the channel, the fallback, the store
	defer cancel()
	storeErr := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		called = true
		d, err := decode(state)
		if err != nil {
			a.log.ErrorContext(ctx, "alert: starting from what this process knows", "error", err)
			d = a.known()
		}
		a.mu.Lock()
		if a.unsaved {
			d.absorb(a.local.clone())
		}
		a.mu.Unlock()
		wake, sendErr = a.step(ctx, d, snap, now, r, false)
		return d.encode()
	})
	switch {
	case called:
		a.mu.Lock()
		a.unsaved, a.speakFrom = storeErr != nil, time.Time{}
		if storeErr == nil {
			a.cutOff = false
		}
		a.mu.Unlock()
		if storeErr != nil {
			a.note(ctx, storeErr)
		}
		return wake, errors.Join(sendErr, storeErr)
	case errors.Is(storeErr, ErrBusy):
		return now.Add(busy), storeErr
	case ctx.Err() != nil:
		return now.Add(busy), storeErr
	}
	return a.alone(ctx, snap, now, r, storeErr)
}

// alone is look without the store: this replica goes by what it sees and knows
// itself. In Run it waits for its turn before it speaks.
func (a *Alerter) alone(ctx context.Context, snap *health.Snapshot, now time.Time, r *rules, storeErr error) (time.Time, error) {
	a.note(ctx, storeErr)
	d := a.known()
	d.isolate(now, r)
	trial := d.clone()
	trial.observe(now, r, snap)
	if p, _ := trial.decide(now, r, unsettled(snap)); p != nil && !r.once { // a command cannot wait
		a.mu.Lock()
		if a.speakFrom.IsZero() {
			a.speakFrom = now.Add(a.turn())
		}
		turn := a.speakFrom
		a.mu.Unlock()
		if now.Before(turn) {
			return turn, storeErr
		}
	}
	wake, sendErr := a.step(ctx, d, snap, now, r, true)
	a.mu.Lock()
	a.unsaved, a.speakFrom = true, time.Time{}
	a.mu.Unlock()
	return wake, errors.Join(sendErr, storeErr)
}

// turn is how long this replica waits before it speaks for itself, the same at
// every try and spread over the replicas.
func (a *Alerter) turn() time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.opts.Instance)) // never fails
	return rankStep * time.Duration(h.Sum32()%4)
}

// note logs a store that is out of reach, once until it is back.
func (a *Alerter) note(ctx context.Context, err error) {
	a.mu.Lock()
	first := !a.cutOff
	a.cutOff = true
	a.stats.StoreErrors++
	a.mu.Unlock()
	if first {
		a.log.ErrorContext(ctx, "alert: the state cannot be stored; this replica goes by its own", "error", err)
	}
}

// step records what is seen in d and sends what is due.
func (a *Alerter) step(ctx context.Context, d *document, snap *health.Snapshot, now time.Time, r *rules, alone bool) (time.Time, error) {
	defer func() { a.remember(d, r) }()
	d.observe(now, r, snap)
	before := d.Incident
	p, wake := d.decide(now, r, unsettled(snap))
	if p == nil {
		if before != nil && d.Incident == nil && before.Delivered == 0 {
			a.log.InfoContext(ctx, "alert: an incident was over before anybody was told", "incident", before.ID)
			a.mu.Lock()
			a.stats.Dropped++
			a.mu.Unlock()
		}
		if !a.opts.TellUncleanStop || alone || r.once {
			return wake, nil
		}
		at, err := a.tellUnclean(ctx, d, now, r)
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
		return wake, err
	}
	m, err := a.compose(p, snap, now, alone)
	if err != nil {
		return now.Add(tick), err
	}
	channel := a.channel
	attempts := d.Incident.Attempts
	err = a.send(ctx, channel, m)
	if err != nil && a.opts.Fallback != nil && attempts >= len(a.opts.Retries) {
		err = a.send(ctx, a.opts.Fallback, m)
	}
	if err != nil {
		pause := a.opts.Retries[min(attempts, len(a.opts.Retries)-1)]
		pause = time.Duration(float64(pause) * (0.9 + 0.2*rand.Float64()))
		d.failed(time.Now(), pause)
		a.log.ErrorContext(ctx, "alert: a message was not taken", "subject", m.Subject, "error", err,
			"attempt", attempts+1, "next", d.Incident.RetryAt)
		return d.Incident.RetryAt, fmt.Errorf("alert: %q was not delivered: %w", m.Subject, err)
	}
	d.delivered(time.Now(), r, p)
	return time.Time{}, nil
}

// unsettled tells whether a check says something else than what is confirmed.
func unsettled(snap *health.Snapshot) bool {
	return slices.ContainsFunc(snap.Checks, func(c health.CheckState) bool {
		return !c.Flapping && c.Confirmed != health.Unknown && (c.Status >= health.Warn) != (c.Confirmed >= health.Warn)
	})
}

func (a *Alerter) send(ctx context.Context, channel notify.Notifier, m notify.Message) (err error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.SendTimeout)
	defer cancel()
	start := time.Now()
	defer func() {
		if p := recover(); p != nil { // a broken channel must not end the watcher
			err = fmt.Errorf("alert: the notifier panicked: %v", p)
		}
		a.mu.Lock()
		if err == nil {
			a.stats.Sent++
			a.stats.LastError = ""
		} else {
			a.stats.Failed++
			a.stats.LastError = err.Error()
		}
		a.mu.Unlock()
		switch {
		case err == nil && a.opts.Trace.Sent != nil:
			a.opts.Trace.Sent(m, time.Since(start))
		case err != nil && a.opts.Trace.Failed != nil:
			a.opts.Trace.Failed(m, err)
		}
	}()
	return channel.Notify(ctx, m)
}

// remember keeps the state for readers and for times without a store.
func (a *Alerter) remember(d *document, r *rules) {
	local := d.clone()
	var next time.Time
	if local.Incident != nil {
		next = local.Incident.reminderAt(r)
	}
	a.mu.Lock()
	a.local, a.reminderAt = local, next
	a.mu.Unlock()
}

// known returns a copy of the last known state.
func (a *Alerter) known() *document {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.local.clone()
}

// Stats returns the counters.
func (a *Alerter) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}
