package health

import "time"

// Trace is told about single runs. Any hook may be nil. Hooks run on the
// goroutine of the check's loop and must return soon.
type Trace struct {
	// RunStart is called before a check is started.
	RunStart func(check string)
	// RunDone is called with what a run came to: after it returned, at its
	// timeout, and once per interval while it is stuck.
	RunDone func(check string, status Status, kind Kind, took time.Duration)
	// LateReturn is called when a run that had timed out has returned after
	// all, took after its start. Its result is not used.
	LateReturn func(check string, took time.Duration)
}
