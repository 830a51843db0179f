package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

const (
	// wakeEvery is the interval between readings of the wall clock. Timers stop while a
	// machine sleeps, and do not follow a clock that was set.
	wakeEvery = time.Minute
	// askTimeout is the time limit for a call of LastGood.
	askTimeout = 30 * time.Second
)

// Options configures a [Scheduler].
type Options struct {
	// LastGood returns the start time of the newest good run, false if there is none. The
	// Scheduler calls it before each run. A restarted process therefore runs a missed
	// backup, and does not repeat a backup of another host. If LastGood fails, the backup
	// runs: one backup too many is better than one too few. Default: nil. Then the
	// Scheduler knows only its own runs, and does not run backups that were due before Run.
	LastGood func(ctx context.Context) (time.Time, bool, error)
	// Jitter is the maximum random delay of a run, so that many hosts do not start at the
	// same time. A negative value means no delay. Default: 2 min.
	Jitter time.Duration
	// Retries is the maximum number of retries of a failed run before the next day. A
	// negative value means no retries. A run is not retried if it published a backup that
	// is suspect or was not copied to a target. Default: 3.
	Retries int
	// RetryDelay is the pause before each retry. Default: 15 min.
	RetryDelay time.Duration
	// Timeout is the time limit of the context of a run. Default: 6 h.
	Timeout time.Duration
	// Logger receives a message for each run. Default: slog.Default().
	Logger *slog.Logger
	// Trace receives each run. Default: nil.
	Trace *Trace
}

// Trace receives the events of a [Scheduler]. Any hook may be nil. Hooks run in the
// goroutine of Run and must return soon.
type Trace struct {
	// Start is called before each attempt.
	Start func(context.Context, RunEvent)
	// Done is called after each attempt.
	Done func(context.Context, RunEvent)
}

// RunEvent is one attempt of a run.
type RunEvent struct {
	Due     time.Time     // the scheduled time
	Attempt int           // 1 for the first
	Took    time.Duration // 0 for Start
	Err     error         // nil for Start and for a good run
}

// Stats counts the work of a [Scheduler] since the start of the process.
type Stats struct {
	Running  bool      // a run is in progress
	Runs     uint64    // attempts, good and failed
	Failures uint64    // failed attempts
	GivenUp  uint64    // scheduled times for which every attempt failed
	LastRun  time.Time // start of the latest attempt; zero if there was none
	LastGood time.Time // start of the newest good run, its own or one from LastGood
	Next     time.Time // the next scheduled time
}

// Scheduler makes one good run per civil day. It runs at each time of a [Daily]. It also
// runs when it starts or wakes up, if the latest scheduled time has no good run. It reads
// the wall clock every minute. A suspended machine or a changed clock therefore delays a
// run by at most a minute. Runs of one Scheduler never overlap. The job must take a lock
// against runs of other processes.
//
// All methods are safe for concurrent use.
type Scheduler struct {
	when Daily
	job  func(context.Context) error
	opts Options
	log  *slog.Logger
	now  func() time.Time // the wall clock

	running atomic.Bool
	mu      sync.Mutex
	stats   Stats
}

// New returns a Scheduler that calls job. A nil error means a good run for the scheduled
// time. job should return soon after the end of its context, because Run waits for it. The
// Scheduler starts no runs before [Scheduler.Run].
func New(when Daily, job func(ctx context.Context) error, opts *Options) (*Scheduler, error) {
	if job == nil {
		return nil, errors.New("backup: schedule.New needs a job")
	}
	s := &Scheduler{when: when, job: job, now: func() time.Time { return time.Now().Round(0) }}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	if o.RetryDelay < 0 || o.Timeout < 0 {
		return nil, errors.New("backup: schedule.Options has a negative RetryDelay or Timeout")
	}
	o.Jitter = cmp.Or(o.Jitter, 2*time.Minute)
	o.Retries = cmp.Or(o.Retries, 3)
	o.RetryDelay = cmp.Or(o.RetryDelay, 15*time.Minute)
	o.Timeout = cmp.Or(o.Timeout, 6*time.Hour)
	s.log = cmp.Or(o.Logger, slog.Default())
	return s, nil
}

// turn is the state of the latest scheduled time.
type turn struct {
	due      time.Time
	settled  bool      // has a good run, or no attempts left
	attempts int       // failed attempts so far
	notYet   time.Time // by the monotonic clock: jitter or pause before a retry
}

// Run follows the schedule until ctx ends. Then it waits for a run in progress and returns
// nil. Only one call of Run may be active at a time.
func (s *Scheduler) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("backup: this Scheduler is running already")
	}
	defer s.running.Store(false)

	var current turn
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := s.now()
		if due := s.when.Last(now); !due.Equal(current.due) {
			current = turn{due: due, notYet: time.Now().Add(s.jitter())}
			if first && s.opts.LastGood == nil {
				current.settled = true
			}
		}
		if !current.settled && !time.Now().Before(current.notYet) {
			s.attend(ctx, &current)
		}
		timer.Reset(s.pause(&current))
	}
}

// pause returns how long to sleep: until the next action, and at most until the next
// reading of the clock.
func (s *Scheduler) pause(t *turn) time.Duration {
	now := s.now()
	next := s.when.Next(now)
	s.mu.Lock()
	s.stats.Next = next
	s.mu.Unlock()
	wait := min(wakeEvery, next.Sub(now))
	if !t.settled {
		wait = min(wait, time.Until(t.notYet))
	}
	return max(0, wait)
}

// attend makes the run for a scheduled time, unless it has one.
func (s *Scheduler) attend(ctx context.Context, t *turn) {
	if s.covered(ctx, t.due) {
		t.settled = true
		return
	}
	if ctx.Err() != nil {
		return
	}
	attempt := t.attempts + 1
	began := s.now()
	took, err := s.once(ctx, t.due, attempt)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Runs++
	if err == nil {
		t.settled = true
		s.stats.LastGood = began
		return
	}
	s.stats.Failures++
	if ctx.Err() != nil {
		return // Run ends, so an interrupted run is not a failure
	}
	if stage := new(backup.StageError); errors.As(err, &stage) && stage.Published && !errors.Is(err, backup.ErrVerification) {
		t.settled = true // a second dump on the same day would not help
		s.log.WarnContext(ctx, "backup: the scheduled run has published a backup, with a problem", "due", t.due, "attempt", attempt, "took", took, "error", err)
		return
	}
	t.attempts = attempt
	if t.attempts > s.opts.Retries {
		t.settled = true
		s.stats.GivenUp++
		s.log.ErrorContext(ctx, "backup: the scheduled run failed and is given up until the next day", "due", t.due, "attempt", attempt, "took", took, "error", err)
		return
	}
	t.notYet = time.Now().Add(s.opts.RetryDelay)
	s.log.WarnContext(ctx, "backup: the scheduled run failed and will be repeated", "due", t.due, "attempt", attempt, "took", took, "in", s.opts.RetryDelay, "error", err)
}

// once calls job and reports the result.
func (s *Scheduler) once(ctx context.Context, due time.Time, attempt int) (took time.Duration, err error) {
	s.mu.Lock()
	s.stats.Running, s.stats.LastRun = true, s.now()
	s.mu.Unlock()
	trace := s.opts.Trace
	if trace != nil && trace.Start != nil {
		trace.Start(ctx, RunEvent{Due: due, Attempt: attempt})
	}
	s.log.InfoContext(ctx, "backup: the scheduled run starts", "due", due, "attempt", attempt)
	start := time.Now()
	err = s.call(ctx)
	took = time.Since(start)
	if err == nil {
		s.log.InfoContext(ctx, "backup: the scheduled run is done", "due", due, "attempt", attempt, "took", took)
	}
	if trace != nil && trace.Done != nil {
		trace.Done(ctx, RunEvent{Due: due, Attempt: attempt, Took: took, Err: err})
	}
	s.mu.Lock()
	s.stats.Running = false
	s.mu.Unlock()
	return took, err
}

// call runs job with its time limit. A panic counts as a failed run. It must not end the
// service or future runs.
func (s *Scheduler) call(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "backup: the scheduled run panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("backup: the scheduled run panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return s.job(ctx)
}

// covered reports whether the scheduled time has a good run, by this Scheduler or by any
// process that LastGood includes.
func (s *Scheduler) covered(ctx context.Context, due time.Time) bool {
	s.mu.Lock()
	own := s.stats.LastGood
	s.mu.Unlock()
	if s.counts(own, due) {
		return true
	}
	if s.opts.LastGood == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	last, found, err := s.opts.LastGood(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "backup: the time of the last good run is unknown, so another one is made", "error", err)
		return false
	}
	if !found || !s.counts(last, due) {
		return false
	}
	s.mu.Lock()
	s.stats.LastGood = last
	s.mu.Unlock()
	return true
}

// counts reports whether a good run covers a scheduled time. The run must have started then
// or later. After a clock was set back, its start may be slightly in the future. A start
// further ahead comes from a wrong clock. Waiting for that time would mean no runs until
// then.
func (s *Scheduler) counts(good, due time.Time) bool {
	return !good.Before(due) && good.Before(s.when.Next(s.when.Next(due)))
}

func (s *Scheduler) jitter() time.Duration {
	if s.opts.Jitter <= 0 {
		return 0
	}
	return rand.N(s.opts.Jitter)
}

// Stats returns the counts so far. Next is zero before Run.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
