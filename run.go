package mainstay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// A Part is one component of a service that works in the background: a server, a cache, a
// scheduler.
type Part struct {
	// Name is used in errors and log lines.
	Name string
	// Run works until ctx ends, and returns after everything that it started has ended.
	// Nil: the part has only Close.
	Run func(ctx context.Context) error
	// Close releases the resources of the part after Run has returned. Nil: there are none.
	Close func() error
}

// Options tune Run. The zero value is ready to use.
type Options struct {
	// StopTimeout is the time for one part to stop, Close included. After that, Run reports
	// the part by name, abandons it, and stops the next part. An HTTP part needs its drain
	// delay and its shutdown timeout within this time. Default 30 s.
	StopTimeout time.Duration
	// Logger receives a line for each part that ends or does not stop. Default
	// slog.Default().
	Logger *slog.Logger
}

// ErrStopTimeout is wrapped by the error of Run if Run or Close of a part did not return in
// time after its context had ended.
var ErrStopTimeout = errors.New("mainstay: the part did not stop in time")

// Run starts the parts of a service and stops them in the reverse order when ctx ends or a part fails.
//
// List parts before the parts that use them: caches, then checks, then the HTTP server. The
// server then stops first, while everything that its last requests need still works. Run
// stops each part, waits for it and closes it before it stops the part in front of it.
//
// A part whose Run returns nil early has finished its work, and the other parts continue.
// If a part's Run returns an error, Run stops all parts and returns that error. If ctx
// ended and every part stopped cleanly, Run returns nil. Otherwise it returns all errors
// joined, each with the name of its part. It does not report the error of a context that it
// ended itself, unless the part joined another error with it.
//
// Run does not recover panics. It installs no signal handler: use signal.NotifyContext.
func Run(ctx context.Context, parts []Part, opts *Options) error {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.StopTimeout < 0 {
		return fmt.Errorf("mainstay: StopTimeout %v is negative", o.StopTimeout)
	}
	o.StopTimeout = cmp.Or(o.StopTimeout, 30*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	for i, p := range parts {
		if p.Run == nil && p.Close == nil {
			return fmt.Errorf("mainstay: part %d (%q) has neither Run nor Close: remove it, or check the constructor's error first", i, p.Name)
		}
	}

	failed := make(chan struct{}, len(parts))
	running := make([]*runningPart, 0, len(parts))
	for _, p := range parts {
		running = append(running, start(ctx, p, failed, o.Logger))
	}
	select {
	case <-ctx.Done():
	case <-failed:
	}

	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		if err := running[i].stop(o.StopTimeout); err != nil {
			o.Logger.Error("a part of the service failed", "part", running[i].Name, "error", err)
			errs = append(errs, fmt.Errorf("%s: %w", running[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// runningPart is a part whose Run has been called.
type runningPart struct {
	Part
	cancel context.CancelFunc
	ended  chan struct{} // closed after Run has returned
	err    error         // valid after ended is closed
}

// start calls a part's Run with a context that ends only when it is the part's turn to
// stop. The context keeps the values of ctx.
func start(ctx context.Context, p Part, failed chan<- struct{}, logger *slog.Logger) *runningPart {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &runningPart{Part: p, cancel: cancel, ended: make(chan struct{})}
	if p.Run == nil {
		close(r.ended)
		return r
	}
	go func() {
		defer close(r.ended)
		r.err = p.Run(own)
		if own.Err() != nil {
			if onlyCanceled(r.err) {
				r.err = nil
			}
			return
		}
		if r.err != nil {
			failed <- struct{}{}
			return
		}
		logger.Info("a part of the service has finished", "part", p.Name)
	}()
	return r
}

// stop ends the part's context, waits for Run and calls Close. It does not close a part
// that is abandoned, because its Run may still use the resources that Close releases.
func (r *runningPart) stop(timeout time.Duration) error {
	r.cancel()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
		return fmt.Errorf("%w (%v): its Run must return when its context ends", ErrStopTimeout, timeout)
	}
	if r.Close == nil {
		return r.err
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case err := <-closed:
		return errors.Join(r.err, err)
	case <-timer.C:
		return errors.Join(r.err, fmt.Errorf("%w (%v): its Close does not return", ErrStopTimeout, timeout))
	}
}

// onlyCanceled reports whether an error is the cancellation of a context and no other error
// is joined with it.
func onlyCanceled(err error) bool {
	if err == context.Canceled { //nolint:errorlint // errors.Is would find it beside other errors
		return true
	}
	switch err := err.(type) { //nolint:errorlint // each level is read by itself
	case interface{ Unwrap() error }:
		return onlyCanceled(err.Unwrap())
	case interface{ Unwrap() []error }:
		branches := err.Unwrap()
		return len(branches) > 0 && !slices.ContainsFunc(branches, func(e error) bool { return !onlyCanceled(e) })
	}
	return false
}
