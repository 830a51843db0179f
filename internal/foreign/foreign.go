// Package foreign calls code of the user, such as a hook, a listener or the methods of
// an error. A fault of that code then ends neither the process nor the calling goroutine.
package foreign

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Fault is the error of foreign code that panicked or that ended its goroutine.
type Fault struct {
	// Text says what happened, with the value of the panic.
	Text string
	// Stack is the stack of the panic. It is empty if the code called runtime.Goexit.
	Stack string
}

func (f *Fault) Error() string { return f.Text }

// Call calls f on its own goroutine, because runtime.Goexit ends the goroutine that
// calls it. Call returns after f has returned. The result is nil unless f panicked or
// called runtime.Goexit.
func Call(f func()) *Fault {
	ended := make(chan *Fault, 1)
	go func() {
		fault := &Fault{Text: "ended its goroutine"}
		defer func() { ended <- fault }()
		defer func() {
			if p := recover(); p != nil {
				fault = &Fault{Text: "panicked", Stack: string(debug.Stack())}
				fault.Text = "panicked: " + fmt.Sprint(p) // the String method of p may end this goroutine
			}
		}()
		f()
		fault = nil
	}()
	return <-ended
}

// Error returns err if its methods work, and otherwise an error that describes it. The
// methods of an error are foreign code too. A typed nil pointer is the usual cause.
func Error(err error) error {
	if err == nil {
		return nil
	}
	fault := Call(func() {
		use(err)
		errors.Is(err, errNone)
		var asked interface{ RetryAfter() time.Duration }
		if errors.As(err, &asked) {
			asked.RetryAfter()
		}
	})
	if fault != nil {
		return fmt.Errorf("an error of type %T whose methods do not work: it %w", err, fault)
	}
	return err
}

var errNone = errors.New("no error is equal to this one")

// use calls the methods of an error and of the errors that it wraps.
func use(err error) {
	if err == nil {
		return
	}
	_ = err.Error()
	switch e := err.(type) { //nolint:errorlint // the walk visits each wrapped error itself
	case interface{ Unwrap() error }:
		use(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, wrapped := range e.Unwrap() {
			use(wrapped)
		}
	}
}
