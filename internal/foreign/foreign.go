// Package foreign calls code of the user, such as a hook, a listener or the methods of
// an error. A fault of that code then ends neither the process nor the calling goroutine.
package foreign

import (
	"fmt"
	"runtime/debug"
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

// Text returns the text of an error, whose method Error is foreign code too.
func Text(err error) string {
	var text string
	if fault := Call(func() { text = err.Error() }); fault != nil {
		return fmt.Sprintf("an error of type %T whose method Error %s", err, fault.Text)
	}
	return text
}
