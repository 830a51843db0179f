package health

import (
	"maps"
	"math"
)

// Result is the outcome of one run of a check.
//
// The effective status is the worst of Status and of every graded measurement. A Result
// with an Err and no Status is a Fail. A Result without a status, an error and a graded
// measurement is a Fail too, because an empty result does not prove health.
type Result struct {
	// Status is Pass, Warn or Fail. A graded measurement can make it worse. Default:
	// Unknown, and then Err and Observed decide.
	Status Status
	// Summary is one line for authorised callers: "83.2 % used, full in about 30 h". At
	// most 1,000 bytes are kept.
	Summary string
	// Err is the cause. Its text is truncated to 1,000 bytes. It passes the scrubber
	// before it is shown or logged.
	Err error
	// Observed are the numbers behind the result. All are graded, and the worst 32 are
	// kept.
	Observed []Measurement
}

// Passed is the Result of a healthy check.
func Passed(summary string) Result { return Result{Status: Pass, Summary: summary} }

// Warned is the Result of a dependency that works but needs attention.
func Warned(summary string) Result { return Result{Status: Warn, Summary: summary} }

// Failed is the Result of a dependency that does not work. err may be nil.
func Failed(summary string, err error) Result {
	return Result{Status: Fail, Summary: summary, Err: err}
}

// Measurement is one observed number.
type Measurement struct {
	// Name is the measured quantity, in the form of application/health+json:
	// "utilization", "responseTime", "connections".
	Name string
	// Component distinguishes two measurements with the same name, for example by the
	// path of a disk.
	Component string
	// Value is the number, in Unit.
	Value float64
	// Unit is "percent", "ms", "bytes", "connections" and the like.
	Unit string
	// Limits grade the value. The zero value grades nothing.
	Limits Limits
	// Status is set by the registry from Limits. The registry overwrites the value that
	// a check set.
	Status Status
}

// Limits are the thresholds of a measurement. The value enters a level when it reaches
// the threshold. It leaves the level only when it has come back by Clear, so that a
// value that varies around the threshold does not change the state each time. NaN is a
// Fail, because the number could not be computed.
type Limits struct {
	// Warn and Fail are the thresholds; 0 = none.
	Warn, Fail float64
	// Below reverses the direction: smaller is worse, as with free bytes.
	Below bool
	// Clear is the distance to the threshold at which a level is left; 0 = left at
	// once.
	Clear float64
}

// None reports whether there is no threshold.
func (l Limits) None() bool { return l.Warn == 0 && l.Fail == 0 }

// Grade returns the level of a value. prev is the level of the previous value, or
// Unknown for the first one.
func (l Limits) Grade(value float64, prev Status) Status {
	if math.IsNaN(value) {
		return Fail
	}
	reached := func(threshold float64, held bool) bool {
		if threshold == 0 {
			return false
		}
		clear := 0.0
		if held {
			clear = l.Clear
		}
		if l.Below {
			return value <= threshold || held && value < threshold+clear
		}
		return value >= threshold || held && value > threshold-clear
	}
	switch {
	case reached(l.Fail, prev == Fail):
		return Fail
	case reached(l.Warn, prev >= Warn):
		return Warn
	}
	return Pass
}

const (
	maxText     = 1000 // bytes of a summary or an error text that are kept
	maxObserved = 32
	maxGrades   = 10_000
	maxName     = 64 // bytes of a measurement's name, component and unit
)

// grades remembers the level of each measurement between two runs, by name and component.
type grades map[[2]string]Status

// grade sets the status of every measurement, and returns the status of the
// whole result.
func (g grades) grade(res *Result) Status {
	status := res.Status
	if status > Fail {
		status = Fail
	}
	if status == Unknown && res.Err != nil {
		status = Fail
	}
	graded := make(grades, len(res.Observed))
	for i := range res.Observed {
		m := &res.Observed[i]
		m.Status = Unknown
		if m.Limits.None() {
			continue
		}
		key := [2]string{m.Name, m.Component}
		m.Status = m.Limits.Grade(m.Value, g[key])
		graded[key] = m.Status
		status = max(status, m.Status)
	}
	if len(g) > maxGrades { // of components that come and go
		clear(g)
	}
	maps.Copy(g, graded)
	if status == Unknown {
		return Fail
	}
	return status
}
