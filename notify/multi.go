package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// MultiOptions configures a [Multi].
type MultiOptions struct {
	// Timeout is how long Notify waits for a channel, even if the channel ignores its
	// context. Default: 1 min.
	Timeout time.Duration
	// Logger receives panics of channels. Default: slog.Default().
	Logger *slog.Logger
}

// Multi is a [Notifier] that sends to several channels at the same time.
//
// It succeeds after every channel has accepted the message. The error names each
// channel that failed, and a repetition of the same message goes only to the channels
// that do not have it. So a [Spool] before a Multi reaches each channel once. Package
// health/alert uses the channels of a Multi separately and keeps the delivery state of
// each channel itself.
type Multi struct {
	channels []Notifier
	timeout  time.Duration
	log      *slog.Logger
	taken    taken
	mu       sync.Mutex
	hanging  map[int]bool // channels whose last call has not returned
}

// NewMulti returns a Multi over at least one channel.
func NewMulti(channels []Notifier, opts *MultiOptions) (*Multi, error) {
	m := &Multi{channels: append([]Notifier(nil), channels...), log: slog.Default(), timeout: time.Minute, hanging: map[int]bool{}}
	if opts != nil {
		if opts.Timeout < 0 {
			return nil, errors.New("notify: MultiOptions.Timeout is negative")
		}
		m.timeout = cmp.Or(opts.Timeout, m.timeout)
		m.log = cmp.Or(opts.Logger, m.log)
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

// Notifiers returns the channels, for a caller that keeps the delivery state of each
// channel.
func (m *Multi) Notifiers() []Notifier { return append([]Notifier(nil), m.channels...) }

// Notify returns after every channel has responded or timed out. The error names the
// failed channels by their position in the list.
func (m *Multi) Notify(ctx context.Context, msg Message) error {
	if msg.Time.IsZero() {
		msg.Time = time.Now() // one message, one time, one id
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	id := msg.id()
	have := m.taken.has(id)
	errs := make([]error, len(m.channels))
	var wg sync.WaitGroup
	for i := range m.channels {
		if have[i] {
			continue
		}
		wg.Go(func() { errs[i] = m.send(ctx, i, msg) })
	}
	wg.Wait()
	var all outcomes // an alert is accepted, or refused, if it is at every channel
	failed := false
	for i, err := range errs {
		if one := outcomesOf(msg, err); all == nil {
			all = one
		} else {
			all = all.and(one)
		}
		if err == nil {
			have[i] = true
			continue
		}
		failed = true
		errs[i] = fmt.Errorf("channel %d: %w", i, err)
	}
	if !failed {
		return nil
	}
	m.taken.add(id, have)
	return all.failure(msg, errors.Join(errs...))
}

// send calls a channel and does not wait for a channel that ignores its context. Such a
// channel is not called again until it has returned.
func (m *Multi) send(ctx context.Context, i int, msg Message) error {
	m.mu.Lock()
	if m.hanging[i] {
		m.mu.Unlock()
		return Refused(msg, errors.New("notify: the channel has not returned from an earlier message"))
	}
	m.hanging[i] = true
	m.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := attempt(ctx, m.log, m.channels[i], msg)
		m.mu.Lock()
		delete(m.hanging, i)
		m.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(time.Second) // for a more precise error
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("notify: the channel did not return: %w", ctx.Err())
	}
}
