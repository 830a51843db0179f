package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// MultiOptions configures a [Multi].
type MultiOptions struct {
	// Logger hears of channels that failed while another did not. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Multi is a [Notifier] that tells several channels at the same time.
//
// It succeeds when at least one channel has taken the message: somebody knows. A
// channel that failed meanwhile is logged and not tried again, since the others
// would hear twice; put it into a [Spool] to have it retried on its own.
type Multi struct {
	channels []Notifier
	log      *slog.Logger
}

// NewMulti returns a Multi over at least one channel.
func NewMulti(channels []Notifier, opts *MultiOptions) (*Multi, error) {
	m := &Multi{channels: append([]Notifier(nil), channels...), log: slog.Default()}
	if opts != nil && opts.Logger != nil {
		m.log = opts.Logger
	}
	if len(channels) == 0 {
		return nil, errors.New("notify: NewMulti needs at least one channel")
	}
	for i, c := range channels {
		if c == nil {
			return nil, fmt.Errorf("notify: channel %d is nil", i)
		}
	}
	return m, nil
}

// Notify returns when every channel has answered. The error joins those of all
// channels, and there is one only if all failed.
func (m *Multi) Notify(ctx context.Context, msg Message) error {
	if msg.Time.IsZero() {
		msg.Time = time.Now() // one message, one time, one id
	}
	errs := make([]error, len(m.channels))
	var wg sync.WaitGroup
	for i, c := range m.channels {
		wg.Go(func() { errs[i] = attempt(ctx, m.log, c, msg) })
	}
	wg.Wait()
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
		}
	}
	if failed == len(errs) {
		return errors.Join(errs...)
	}
	for i, err := range errs {
		if err != nil {
			m.log.WarnContext(ctx, "notify: a channel did not take a message that others took",
				"channel", i, "subject", oneLine(msg.Subject, maxSubject), "error", err)
		}
	}
	return nil
}

// attempt turns a panic of somebody's Notifier into an error: a broken channel
// must not end the process that reports trouble.
func attempt(ctx context.Context, log *slog.Logger, n Notifier, m Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("notify: a channel panicked: %v", p)
			log.ErrorContext(ctx, "notify: a channel panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return n.Notify(ctx, m)
}
