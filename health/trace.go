package health

import (
	"context"
	"slices"
	"time"
)

// Trace receives single runs. Any hook may be nil. Hooks run on the goroutine of the
// check, outside all locks, and must return quickly.
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
	Check  string
	Time   time.Time // of the start for RunStart, else of the outcome
	Status Status
	Kind   Kind
	// Took is the time since the start of the run.
	Took time.Duration
	// Output and Observed are as in CheckState.
	Output   string
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
		if f := hook(t); f != nil {
			f(context.Background(), RunEvent{
				Check: s.Name, Time: o.at, Status: o.status, Kind: o.kind, Took: o.took,
				Output: o.output, Observed: o.observed,
			})
		}
	}
}
