package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSpoolFull is the error of a message that could be neither delivered nor stored.
var ErrSpoolFull = errors.New("notify: the spool is full; see why its messages are not delivered")

// SpoolOptions configures a [Spool].
type SpoolOptions struct {
	// Delays are the pauses before each further attempt, varied by 10 %. After the last
	// attempt the message goes to Fallback. Without a Fallback it is dropped and
	// logged. Default: 30 s, 2 min, 10 min, 30 min, 60 min.
	Delays []time.Duration
	// MaxMessages limits the number of stored messages. Default: 1000.
	MaxMessages int
	// Fallback gets each message that could not be delivered, once. Default: nil.
	Fallback Notifier
	// Logger receives failed attempts and dropped messages. Default: slog.Default().
	Logger *slog.Logger
}

// Spool is a [Notifier] that keeps messages in a folder until another Notifier has
// accepted them, across restarts and crashes. Delivery is at least once. A crash
// between a delivery and its record repeats the message, with the same id.
//
// Messages with the same Source and Key are delivered in order. Other messages may
// overtake a waiting message. Several processes may share a folder.
type Spool struct {
	next    Notifier
	opts    SpoolOptions
	log     *slog.Logger
	dir     spoolDir
	poke    chan struct{}
	running atomic.Bool
	mu      sync.Mutex // one delivery at a time

	delivered, failed, lost atomic.Uint64
}

// SpoolStats are counters since the start of the process, and the number of waiting
// messages.
type SpoolStats struct {
	// Waiting counts the messages on disk that were not delivered yet.
	Waiting int
	// Delivered counts messages that the notifier accepted.
	Delivered uint64
	// Failed counts attempts that failed. A message may fail several times.
	Failed uint64
	// Lost counts dropped messages.
	Lost uint64
}

// attemptTimeout limits one delivery even if the notifier has no limit of its own.
const attemptTimeout = time.Minute

// NewSpool returns a Spool before next that keeps its messages in dir. It creates dir
// if it does not exist. It delivers no message before [Spool.Run].
func NewSpool(dir string, next Notifier, opts *SpoolOptions) (*Spool, error) {
	s := &Spool{next: next, poke: make(chan struct{}, 1), dir: spoolDir{path: dir}}
	if opts != nil {
		s.opts = *opts
	}
	if next == nil {
		return nil, errors.New("notify: NewSpool needs a notifier")
	}
	if s.opts.Delays == nil {
		s.opts.Delays = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	}
	for _, d := range s.opts.Delays {
		if d <= 0 {
			return nil, fmt.Errorf("notify: SpoolOptions.Delays contains %v", d)
		}
	}
	if s.opts.MaxMessages < 0 {
		return nil, errors.New("notify: SpoolOptions.MaxMessages is negative")
	}
	s.opts.MaxMessages = cmp.Or(s.opts.MaxMessages, 1000)
	s.log = cmp.Or(s.opts.Logger, slog.Default())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("notify: the spool's folder: %w", err)
	}
	return s, nil
}

// Notify writes m to the folder and returns nil. The message will then be delivered, or
// dropped and logged after the last attempt. While [Spool.Run] is running, deliveries
// happen in the background. Otherwise the first attempt is made before Notify returns.
// If m cannot be written, Notify makes one attempt and returns its error.
func (s *Spool) Notify(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	m = m.prepared(time.Now(), forms)
	name, err := s.dir.add(spooled{Message: m, Due: time.Now()}, s.opts.MaxMessages)
	if err != nil {
		s.log.ErrorContext(ctx, "notify: a message could not be kept; trying to deliver it at once", "error", forms.Error(err, 1000))
		if attemptErr := s.attempt(ctx, s.next, m); attemptErr != nil {
			return errors.Join(err, attemptErr)
		}
		return nil
	}
	if s.running.Load() {
		select {
		case s.poke <- struct{}{}:
		default: // Run has a wake-up pending
		}
		return nil
	}
	s.pass(ctx, name)
	return nil
}

// Run delivers the due messages until ctx ends, then returns nil. Only one Run can be
// active at a time.
func (s *Spool) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("notify: Spool.Run is already at work")
	}
	defer s.running.Store(false)
	for {
		wait := s.pass(ctx, "")
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.poke:
			timer.Stop()
		}
	}
}

// Flush makes one attempt for every message that is due and returns how many still
// wait. It is for programs that end soon.
func (s *Spool) Flush(ctx context.Context) int {
	s.pass(ctx, "")
	return len(s.dir.list())
}

// Stats returns the counters.
func (s *Spool) Stats() SpoolStats {
	return SpoolStats{
		Waiting: len(s.dir.list()), Delivered: s.delivered.Load(), Failed: s.failed.Load(), Lost: s.lost.Load(),
	}
}

const (
	idle       = time.Minute      // another process may have added a message
	breath     = 30 * time.Second // after several failures in a row
	maxInARow  = 3
	lockedWait = 5 * time.Second
)

// pass tries the messages that are due, or only the named message. It returns the pause
// before the next pass.
func (s *Spool) pass(ctx context.Context, only string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, ok := s.dir.lock()
	if !ok { // another process is delivering
		return lockedWait
	}
	defer unlock()
	s.dir.sweep(time.Now())
	wait := idle
	failures := 0
	waiting := map[string]bool{} // threads with an older waiting message
	for _, name := range s.dir.list() {
		if ctx.Err() != nil {
			return wait
		}
		entry, err := s.dir.read(name)
		if err != nil {
			s.log.ErrorContext(ctx, "notify: a spooled message cannot be read and was set aside", "file", name, "error", forms.Error(err, 1000))
			s.dir.setAside(name)
			continue
		}
		thread := entry.Message.thread()
		due := time.Until(entry.Due)
		if due > s.opts.longest() { // a clock that was ahead has written it
			due = 0
		}
		if (only != "" && name != only) || due > 0 || (thread != "" && waiting[thread]) {
			waiting[thread] = true
			wait = min(wait, max(due, time.Second))
			continue
		}
		if failures == maxInARow {
			return breath // the receiver is down; further attempts would not help
		}
		if s.try(ctx, name, entry) {
			failures = 0
			continue
		}
		failures++
		waiting[thread] = true
		wait = min(wait, s.opts.delay(entry.Attempts))
	}
	return wait
}

// try makes one attempt and records the outcome. It reports whether the message has
// left the spool.
func (s *Spool) try(ctx context.Context, name string, entry spooled) bool {
	err := s.attempt(ctx, s.next, entry.Message)
	if err == nil {
		s.delivered.Add(1)
		s.forget(ctx, name)
		return true
	}
	s.failed.Add(1)
	if ctx.Err() != nil {
		return false // the process is stopping; this is not a failure of the receiver
	}
	log := s.log.With("subject", entry.Message.Subject, "attempt", entry.Attempts+1)
	if entry.Attempts >= len(s.opts.Delays) {
		if s.opts.Fallback != nil {
			if fallbackErr := s.attempt(ctx, s.opts.Fallback, entry.Message); fallbackErr == nil {
				log.WarnContext(ctx, "notify: a message went to the fallback", "error", forms.Error(err, 1000))
				s.delivered.Add(1)
				s.forget(ctx, name)
				return true
			}
		}
		log.ErrorContext(ctx, "notify: a message was given up", "error", forms.Error(err, 1000))
		s.lost.Add(1)
		s.forget(ctx, name)
		return true
	}
	entry.Due = time.Now().Add(max(s.opts.delay(entry.Attempts), pauseOf(err)))
	entry.Attempts++
	log.WarnContext(ctx, "notify: a message could not be delivered", "error", forms.Error(err, 1000), "next", entry.Due)
	if err := s.dir.write(name, entry); err != nil {
		log.ErrorContext(ctx, "notify: the state of a spooled message cannot be written", "error", forms.Error(err, 1000))
	}
	return false
}

// pauseOf is the pause that a receiver asked for.
func pauseOf(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		return min(asked.RetryAfter(), maxRetryAfter)
	}
	return 0
}

func (s *Spool) attempt(ctx context.Context, n Notifier, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return attempt(ctx, s.log, n, m)
}

func (s *Spool) forget(ctx context.Context, name string) {
	if err := s.dir.remove(name); err != nil {
		s.log.ErrorContext(ctx, "notify: a delivered message cannot be removed and will be repeated", "file", name, "error", forms.Error(err, 1000))
	}
}

// longest is the longest pause before an attempt.
func (o *SpoolOptions) longest() time.Duration {
	return max(maxRetryAfter, slices.Max(append(o.Delays[:len(o.Delays):len(o.Delays)], idle))*11/10)
}

// delay returns the pause after a number of failed attempts, varied by 10 %.
func (o *SpoolOptions) delay(attempts int) time.Duration {
	if len(o.Delays) == 0 {
		return idle
	}
	d := o.Delays[min(attempts, len(o.Delays)-1)]
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
