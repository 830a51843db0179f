package mainstay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Part is one piece of a service that works in the background: a server, a cache, a scheduler.
type Part struct {
	// Name is used in errors and log lines.
	Name string
	// Run works until ctx ends and returns after everything that it started has ended. Nil: the part has only Close.
	Run func(ctx context.Context) error
	// Close releases what the part holds, after Run has returned. Nil: nothing to release.
	Close func() error
}

// Options tune Run. The zero value is ready to use.
type Options struct {
	// StopTimeout bounds the time that one part may take to stop. Run then reports the part by name, leaves it behind,
	// and stops the next one. An HTTP part takes its drain delay and its shutdown timeout out of this time.
	// Default 30 s.
	StopTimeout time.Duration
	// Logger receives a line for each part that ends or does not stop. Default slog.Default().
	Logger *slog.Logger
}

// ErrStopTimeout is wrapped by the error of Run when a part did not return in time after its context had ended.
var ErrStopTimeout = errors.New("mainstay: the part did not stop in time")

// Run starts the parts of a service and stops them in the reverse order when ctx ends or a part fails.
//
// List first what others use: caches, then checks, then the HTTP server. The server then stops first, while everything
// that its last requests need still works. Each part is stopped, waited for and closed before the one in front of it.
//
// A part whose Run returns nil early has finished its work: the other parts go on. If a part's Run returns an error, Run
// stops all parts and returns that error. Run returns nil if ctx ended and every part stopped cleanly, and otherwise all
// errors joined, each with the name of its part. The error of a context that Run itself ended is not reported.
//
// Run does not recover panics. It installs no signal handler: use signal.NotifyContext.
func Run(ctx context.Context, parts []Part, opts *Options) error {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
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

// start calls a part's Run with a context that ends only when the part's turn to stop has come. Values of ctx stay.
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
			if errors.Is(r.err, context.Canceled) {
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

// stop ends the part's context, waits for Run and calls Close. A part that is left behind is not closed, because its Run
// may still use what Close releases.
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
	return errors.Join(r.err, r.Close())
}
