package health

import "math"

// Result is the answer of one run of a check.
//
// The status that counts is the worst of Status and of every graded
// measurement. A Result with an Err and no Status is a Fail. A Result that says
// nothing at all (no status, no error, no graded measurement) is a Fail too:
// silence is not health.
type Result struct {
	Status Status
	// Summary is one line for people who may see details: "83.2 % used, full
	// in about 30 h". At most 1,000 bytes are kept.
	Summary string
	// Err is the cause. Its text is cut at 1,000 bytes and passes the scrubber
	// before anybody, the log included, sees it.
	Err error
	// Observed are the numbers behind the answer, at most 32.
	Observed []Measurement
}

// Passed is the Result of a healthy check.
func Passed(summary string) Result { return Result{Status: Pass, Summary: summary} }

// Warned is the Result of something that works and needs a person's eye.
func Warned(summary string) Result { return Result{Status: Warn, Summary: summary} }

// Failed is the Result of something that does not work; err may be nil.
func Failed(summary string, err error) Result {
	return Result{Status: Fail, Summary: summary, Err: err}
}

// Measurement is one observed number.
type Measurement struct {
	// Name says what was measured, in the form of application/health+json:
	// "utilization", "responseTime", "connections".
	Name string
	// Component tells two measurements of the same name apart, such as the
	// path of a disk.
	Component string
	Value     float64
	// Unit is "percent", "ms", "bytes", "connections" and the like.
	Unit string
	// Limits grade the value; the zero value grades nothing.
	Limits Limits
	// Status is set by the registry from Limits; what a check writes here is
	// overwritten when Limits has a threshold.
	Status Status
}

// Limits are the thresholds of a measurement. A level is entered when the value
// reaches the threshold and left only when it has come back by Clear, so that a
// value that trembles around the threshold does not make the state tremble too.
// NaN is a Fail: a number that could not be computed is no good news.
type Limits struct {
	// Warn and Fail are the thresholds; 0 = none.
	Warn, Fail float64
	// Below turns the direction: smaller is worse, as with free bytes.
	Below bool
	// Clear is the distance by which a level is left; 0 = left at once.
	Clear float64
}

// None reports whether there is no threshold.
func (l Limits) None() bool { return l.Warn == 0 && l.Fail == 0 }

// Grade returns the level of a value whose level was prev before (Unknown for
// the first one).
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
	maxName     = 64 // bytes of a measurement's name, component and unit
)

// grades remembers the level of each measurement between two runs.
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
	for i := range res.Observed {
		m := &res.Observed[i]
		if m.Limits.None() {
			continue
		}
		key := [2]string{m.Name, m.Component}
		m.Status = m.Limits.Grade(m.Value, g[key])
		g[key] = m.Status
		status = max(status, m.Status)
	}
	if status == Unknown {
		return Fail
	}
	return status
}
