package health

import "time"

// Stats are counters since New, for metrics. They only grow.
type Stats struct {
	// Checks has one entry per check, in the order given to New.
	Checks []CheckStats
	// Changes counts all changes that were queued for listeners.
	Changes uint64
	// DroppedChanges counts the changes that were dropped because a listener was slow.
	DroppedChanges uint64
}

// DurationBounds are the upper bounds of CheckStats.Durations, ascending.
var DurationBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second,
}

// CheckStats are the counters of one check.
type CheckStats struct {
	// Name is the name of the check.
	Name string
	// Status is the raw state, as in CheckState.
	Status Status
	// Confirmed is the confirmed state.
	Confirmed Status
	// Runs counts calls of the Checker.
	Runs uint64
	// Passed, Warned and Failed count results. A timeout, a panic and an interval spent
	// stuck are failures.
	Passed, Warned, Failed uint64
	// Timeouts and Panics count runs that exceeded their timeout, and that panicked or
	// ended their goroutine.
	Timeouts, Panics uint64
	// StuckTicks counts intervals in which no run could start.
	StuckTicks uint64
	// Stuck reports whether a run is now past its timeout.
	Stuck bool
	// Flapping is as in CheckState.
	Flapping bool
	// InTime counts the runs that returned within their timeout.
	InTime uint64
	// RunTime is the sum of the durations of these runs.
	RunTime time.Duration
	// Durations counts the same runs by their duration. Entry i counts the runs of at
	// most DurationBounds[i]. Longer ones are in InTime only.
	Durations [len(DurationBounds)]uint64
	// LastDuration is the duration of the last result.
	LastDuration time.Duration
	// LastSuccess is the zero time if the check has not passed yet.
	LastSuccess time.Time
}

func (c *CheckStats) count(o outcome) {
	switch o.status {
	case Pass:
		c.Passed++
	case Warn:
		c.Warned++
	default:
		c.Failed++
	}
	switch o.kind {
	case KindTimeout:
		c.Timeouts++
	case KindPanic:
		c.Panics++
	case KindStuck:
		c.StuckTicks++
	case KindReported:
		c.InTime++
		c.RunTime += o.took
		for i, bound := range DurationBounds {
			if o.took <= bound {
				c.Durations[i]++
			}
		}
	}
}

// Stats returns the counters.
func (r *Registry) Stats() Stats {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.stats
	st.Checks = make([]CheckStats, len(r.slots))
	for i, s := range r.slots {
		c := s.stats
		state := s.state(now)
		c.Name, c.Status, c.Confirmed = s.Name, state.Status, state.Confirmed
		c.Stuck, c.Flapping = !state.StuckSince.IsZero(), state.Flapping
		c.LastDuration, c.LastSuccess = state.Took, state.LastSuccess
		st.Checks[i] = c
	}
	return st
}
