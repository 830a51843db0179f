package health

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/internal/foreign"
)

// stopWait is how long Run waits for its goroutines after its context has ended.
const stopWait = 5 * time.Second

// Run runs every check in a loop of its own until ctx ends. The first run is at once,
// then every Interval, varied by 10 %. Run returns nil when all its goroutines have
// ended. After 5 s it returns an error that names the checks that still have not
// returned. Only one Run can be active at a time.
func (r *Registry) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return fmt.Errorf("health: Run is already at work")
	}
	work := &background{ctx: ctx}
	r.mu.Lock()
	r.work = work
	for _, s := range r.slots {
		work.start(r, s)
	}
	r.mu.Unlock()
	if r.opts.Heartbeat != nil {
		work.loops.Go(func() { r.heartbeat(ctx) })
	}
	<-ctx.Done()
	r.mu.Lock()
	r.work = nil // a check that is added from now on starts no loop
	slots := r.slots
	r.mu.Unlock()
	work.loops.Wait()
	r.running.Store(false)
	return r.awaitStragglers(slots, stopWait)
}

// background holds the goroutines that one Run has started.
type background struct {
	ctx   context.Context
	loops sync.WaitGroup
}

// start begins the loop of a check. Callers hold r.mu.
func (b *background) start(r *Registry, s *slot) {
	ctx, cancel := context.WithCancel(b.ctx)
	s.stop = cancel
	b.loops.Go(func() {
		defer cancel()
		r.loop(ctx, s)
	})
}

func (r *Registry) loop(ctx context.Context, s *slot) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.runCheck(ctx, s, false)
		spread := 0.9 + 0.2*rand.Float64()
		r.mu.Lock()
		pause := s.pause()
		r.mu.Unlock()
		timer.Reset(time.Duration(float64(pause) * spread))
	}
}

// awaitStragglers waits for check runs and listeners that have not finished.
func (r *Registry) awaitStragglers(slots []*slot, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	expired := false
	wait := func(done <-chan struct{}) bool {
		if done == nil {
			return true
		}
		if !expired {
			select {
			case <-done:
				return true
			case <-timer.C:
				expired = true
			}
		}
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	var stuck []string
	for _, s := range slots {
		if !wait(r.inFlight(s)) {
			stuck = append(stuck, s.Name)
		}
	}
	r.mu.Lock()
	subs := append([]*subscription(nil), r.subs...)
	r.mu.Unlock()
	for _, sub := range subs {
		r.mu.Lock()
		idle := sub.idle
		r.mu.Unlock()
		if !wait(idle) {
			stuck = append(stuck, "a listener")
		}
	}
	if len(stuck) > 0 {
		return fmt.Errorf("health: still at work %v after the stop: %s", limit, strings.Join(stuck, ", "))
	}
	return nil
}

func (r *Registry) inFlight(s *slot) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.run == nil {
		return nil
	}
	return s.run.done
}

// RunOnce runs the named checks now, or all checks if no name is given, at most
// MaxConcurrent at a time. It returns the snapshot after the runs, narrowed to those
// checks. It waits for each check no longer than its Timeout. If at least two and
// MaxConcurrent checks hang, it starts no other check after the longest Timeout, and those
// fail. It joins a run that is already in flight, and counts a stuck run as stuck at once.
// The error reports an unknown name, or that ctx ended before all checks had returned.
// Failing checks are not an error.
//
// Each result counts for the confirmed states, even directly after the previous one. A
// one-shot command that needs a confirmed state calls RunOnce FailAfter times with a
// pause between the calls.
func (r *Registry) RunOnce(ctx context.Context, names ...string) (*Snapshot, error) {
	slots, err := r.named(names)
	if err != nil {
		return nil, err
	}
	// The runs have the registry's context. A caller that goes away must not turn a
	// healthy check into a failed one.
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.runAll(slots, true)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		return nil, fmt.Errorf("health: not all checks had answered: %w", ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshotOf(slots, time.Now()), nil
}

// named returns the slots of the given names, or all slots if no name is given.
func (r *Registry) named(names []string) ([]*slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(names) == 0 {
		return r.slots, nil
	}
	var slots []*slot
	for _, name := range names {
		s := r.byName[name]
		if s == nil {
			return nil, fmt.Errorf("health: there is no check %q; known are %s", name, strings.Join(namesOf(r.slots), ", "))
		}
		slots = append(slots, s)
	}
	return slots, nil
}

// runAll runs checks, at most MaxConcurrent at a time. After the longest timeout, and if so
// many hung in this pass that the others may wait for several timeouts, it starts no further
// check. A check that it did not start fails.
func (r *Registry) runAll(slots []*slot, asked bool) {
	limit, begin := longest(slots), time.Now()
	permits := make(chan struct{}, r.opts.MaxConcurrent)
	var all sync.WaitGroup
	for i, s := range slots {
		permits <- struct{}{}
		if time.Since(begin) >= limit {
			if n := r.hanging(slots[:i], begin); n >= max(2, r.opts.MaxConcurrent) {
				r.skip(slots[i:], limit, n, asked)
				break
			}
		}
		all.Go(func() {
			r.runCheck(context.Background(), s, asked)
			<-permits
		})
	}
	all.Wait()
}

func longest(slots []*slot) (limit time.Duration) {
	for _, s := range slots {
		limit = max(limit, s.Timeout)
	}
	return limit
}

// hanging counts the checks whose run is at its timeout, and was not at begin. A run that was
// stuck before delays no other check.
func (r *Registry) hanging(slots []*slot, begin time.Time) (n int) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slots {
		if s.run != nil && now.Sub(s.run.started) >= s.Timeout*9/10 && s.run.started.Add(s.Timeout).After(begin) {
			n++
		}
	}
	return n
}

// skip records that checks were not started.
func (r *Registry) skip(slots []*slot, limit time.Duration, hanging int, asked bool) {
	for _, s := range slots {
		now := time.Now()
		o := outcome{
			kind: KindTimeout, status: Fail, at: now, took: limit, asked: asked,
			output: fmt.Sprintf("not started within %v, because %d other checks hang", limit, hanging),
		}
		r.mu.Lock()
		if s.removed {
			r.mu.Unlock()
			continue
		}
		tr := r.settle(s, o)
		r.mu.Unlock()
		r.report(s, o, tr)
	}
}

// readersWait is how long a reader waits after the longest timeout, for its results.
const readersWait = 100 * time.Millisecond

// refresh is one pass of freshen.
type refresh struct {
	done  chan struct{}
	until time.Time // when readers stop to wait
}

// freshen runs the checks that are due, for a reader of a registry without Run. It
// waits for them no longer than the longest timeout, or until the reader goes away.
// Concurrent readers share the runs.
func (r *Registry) freshen(ctx context.Context) {
	r.mu.Lock()
	pass := r.refresh
	if pass == nil {
		var due []*slot
		now := time.Now()
		for _, s := range r.slots {
			if s.due(now) {
				due = append(due, s)
			}
		}
		if len(due) == 0 {
			r.recount(now)
			r.publish()
			r.mu.Unlock()
			return
		}
		pass = &refresh{done: make(chan struct{}), until: now.Add(longest(due) + readersWait)}
		r.refresh = pass
		go func() {
			r.runAll(due, false)
			r.mu.Lock()
			r.recount(time.Now())
			r.publish()
			r.refresh = nil
			r.mu.Unlock()
			close(pass.done)
		}()
	}
	r.mu.Unlock()
	timer := time.NewTimer(time.Until(pass.until))
	defer timer.Stop()
	select {
	case <-pass.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// runCheck runs one check and returns when there is an outcome, at the latest at the
// timeout. It joins a run in flight and reports a stuck one again.
func (r *Registry) runCheck(ctx context.Context, s *slot, asked bool) {
	r.mu.Lock()
	if s.removed {
		r.mu.Unlock()
		return
	}
	if s.run != nil && s.run.timedOut {
		now := time.Now()
		o := outcome{
			kind: KindStuck, status: Fail, at: now, took: now.Sub(s.run.started), asked: asked,
			output: "stuck since " + s.run.started.UTC().Format(time.RFC3339),
		}
		tr := r.settle(s, o)
		r.mu.Unlock()
		r.report(s, o, tr)
		return
	}
	current := s.run
	fresh := current == nil
	if fresh {
		current = &run{owner: s, started: time.Now(), done: make(chan struct{})}
		s.run = current
		s.stats.Runs++
	}
	current.asked = current.asked || asked
	r.mu.Unlock()
	if fresh {
		r.traced(func(t *Trace) func(context.Context, RunEvent) { return t.RunStart }, s, outcome{at: current.started})
		go r.execute(ctx, s, current)
	}

	timer := time.NewTimer(time.Until(current.started.Add(s.Timeout)))
	defer timer.Stop()
	select {
	case <-current.done:
	case <-timer.C:
		r.expire(s, current)
	case <-ctx.Done():
	}
}

// execute calls the Checker and records its result, unless the run has already timed
// out or the end of Run canceled it.
func (r *Registry) execute(base context.Context, s *slot, current *run) {
	ctx, cancel := context.WithTimeout(base, s.Timeout)
	o := outcome{kind: KindPanic, status: Fail, output: "the check ended its goroutine"}
	defer func() {
		defer close(current.done)
		cancel()
		if p := recover(); p != nil {
			o.output = r.panicText(p)
			r.log.Error("health: a check panicked", "check", s.Name, "panic", o.output,
				"stack", r.scrub.text(string(debug.Stack())))
		}
		o.at = time.Now()
		o.took = o.at.Sub(current.started)
		r.finish(current, o, base.Err() != nil)
	}()
	res := s.Checker.Check(ctx)
	// Err.Error is code of the check too and needs the same recover.
	output := r.outputOf(&res)
	res.Observed = slices.Clone(res.Observed) // the check may change its own later
	status := s.grades.grade(&res)
	o = outcome{kind: KindReported, status: status, output: output, observed: r.cleanObserved(res.Observed)}
}

// finish frees the slot and records the outcome of the run.
func (r *Registry) finish(current *run, o outcome, aborted bool) {
	r.mu.Lock()
	s := current.owner
	s.run = nil
	if s.removed {
		maps.DeleteFunc(r.left, func(_ any, left *run) bool { return left == current })
	}
	if current.timedOut || aborted || s.removed {
		late := current.timedOut && !s.removed
		r.mu.Unlock()
		if late {
			r.traced(func(t *Trace) func(context.Context, RunEvent) { return t.LateReturn }, s, o)
		}
		return
	}
	o.asked = current.asked
	tr := r.settle(s, o)
	r.mu.Unlock()
	r.report(s, o, tr)
}

// panicText also handles a panic value whose String method panics.
func (r *Registry) panicText(p any) (text string) {
	defer func() {
		if recover() != nil {
			text = "panic"
		}
	}()
	return "panic: " + r.scrub.text(fmt.Sprint(p))
}

// expire records the timeout of a run, once.
func (r *Registry) expire(s *slot, current *run) {
	r.mu.Lock()
	if s.run != current || current.timedOut || s.removed {
		r.mu.Unlock()
		return
	}
	current.timedOut = true
	now := time.Now()
	o := outcome{
		kind: KindTimeout, status: Fail, at: now, took: now.Sub(current.started), asked: current.asked,
		output: "no answer within " + s.Timeout.String(),
	}
	tr := r.settle(s, o)
	r.mu.Unlock()
	r.report(s, o, tr)
}

// settle records an outcome, queues the changes and publishes a new view. Its cost does
// not depend on the number of checks. Callers hold r.mu.
func (r *Registry) settle(s *slot, o outcome) transition {
	tr := s.settle(o)
	r.count(s, o.at)
	r.publish()
	if !tr.any() {
		return tr
	}
	c := Change{Time: o.at, State: s.state(o.at)}
	c.State.Blocked = r.blocked(s, o.at)
	emit := func(happened bool, kind ChangeKind, from, to Status) {
		if happened {
			c.Kind, c.From, c.To = kind, from, to
			r.emit(c)
		}
	}
	confirmed := s.tracker.confirmed
	emit(tr.raw, RawChange, tr.fromRaw, s.tracker.raw)
	emit(tr.confirmed, ConfirmedChange, tr.fromConfirmed, confirmed)
	emit(tr.flapStart, FlappingStarted, confirmed, confirmed)
	emit(tr.flapStop, FlappingStopped, confirmed, confirmed)
	return tr
}

// report logs and traces an outcome, outside the lock. The log gets a line per change
// and not per run, so a check that fails for hours does not fill a disk.
func (r *Registry) report(s *slot, o outcome, tr transition) {
	r.traced(func(t *Trace) func(context.Context, RunEvent) { return t.RunDone }, s, o)
	if tr.raw && (tr.fromRaw != Unknown || o.status != Pass) {
		level := slog.LevelWarn
		if o.status == Pass {
			level = slog.LevelInfo
		}
		r.log.Log(context.Background(), level, "health: a check changed", "check", s.Name,
			"from", tr.fromRaw.String(), "to", o.status.String(), "kind", o.kind.String(),
			"output", o.output, "took", o.took)
	}
	if tr.slow {
		r.log.Warn("health: a check is slow", "check", s.Name, "took", o.took, "timeout", s.Timeout)
	}
}

// Trace receives single runs. Any hook may be nil. Hooks run outside all locks and must
// return quickly, because the check waits for them. A hook that panics is logged.
type Trace struct {
	// RunStart is called before a check is started.
	RunStart func(context.Context, RunEvent)
	// RunDone is called with the outcome of a run: after it returned, at its timeout,
	// and once per interval while it is stuck.
	RunDone func(context.Context, RunEvent)
	// LateReturn is called when a run returns after its timeout. Its result is not
	// used.
	LateReturn func(context.Context, RunEvent)
}

// RunEvent is the information about one run that a [Trace] receives.
type RunEvent struct {
	// Check is the name of the check.
	Check string
	// Time is the start of the run for RunStart, and otherwise the time of the outcome.
	Time time.Time
	// Status is the raw state that follows from the run. It is Unknown for RunStart.
	Status Status
	// Kind says how the run ended.
	Kind Kind
	// Took is the time since the start of the run.
	Took time.Duration
	// Output is as in CheckState.
	Output string
	// Observed are the measurements, as in CheckState.
	Observed []Measurement
}

// AddTrace adds a trace to that of Options, until the returned function is called.
func (r *Registry) AddTrace(t *Trace) (cancel func()) {
	change := func(edit func([]*Trace) []*Trace) {
		r.mu.Lock()
		defer r.mu.Unlock()
		traces := edit(slices.Clone(*r.traces.Load()))
		r.traces.Store(&traces)
	}
	change(func(all []*Trace) []*Trace { return append(all, t) })
	return func() {
		change(func(all []*Trace) []*Trace {
			return slices.DeleteFunc(all, func(other *Trace) bool { return other == t })
		})
	}
}

// traced calls one hook of every trace.
func (r *Registry) traced(hook func(*Trace) func(context.Context, RunEvent), s *slot, o outcome) {
	for _, t := range *r.traces.Load() {
		f := hook(t)
		if f == nil {
			continue
		}
		fault := foreign.Call(func() {
			f(context.Background(), RunEvent{
				Check: s.Name, Time: o.at, Status: o.status, Kind: o.kind, Took: o.took,
				Output: o.output, Observed: o.observed,
			})
		})
		if fault == nil {
			continue
		}
		if n := r.faults.Add(1); bits.OnesCount64(n) == 1 { // not one line per run
			r.log.Error("health: a trace hook failed", "check", s.Name, "error", r.scrub.text(fault.Text), "faults", n)
		}
	}
}

// publish makes a new view of the tally. Callers hold r.mu.
func (r *Registry) publish() *view {
	v := &view{r: r, until: r.staleFrom, dueAt: r.dueFrom}
	v.health, v.ready, _ = r.tally.verdict(r.phase())
	r.view.Store(v)
	return v
}
