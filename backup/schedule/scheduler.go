package schedule

import (
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
	// wakeEvery is how often the clock on the wall is read: timers stand still while
	// a machine sleeps and know nothing of a clock that was set.
	wakeEvery = time.Minute
	// askTimeout bounds a call of LastGood.
	askTimeout = 30 * time.Second
)

// Options configures a [Scheduler].
type Options struct {
	// LastGood returns when the newest good run began, false if there is none. It is
	// asked before each run, so that a restarted process makes up for what it missed
	// and leaves alone what another host has done. If it fails, the run is made: one
	// backup too many is better than one too few. Default: none; then the Scheduler
	// knows of its own runs only and makes up for nothing that was due before Run.
	LastGood func(ctx context.Context) (time.Time, bool, error)
	// Jitter is the most by which a run is put off, at random, so that many hosts do
	// not all start at once; negative is none. Default: 2 min.
	Jitter time.Duration
	// Retries is how often a failed run is repeated before the next day; negative is
	// never. One that has published a backup, which is suspect or could not be copied to
	// a target, is not repeated. Default: 3.
	Retries int
	// RetryDelay is the pause before each of them. Default: 15 min.
	RetryDelay time.Duration
	// Timeout ends the context of a run. Default: 6 h.
	Timeout time.Duration
	// Logger hears of each run. Default: slog.Default().
	Logger *slog.Logger
	// Trace receives each run. Default: nil.
	Trace *Trace
}

// Trace is told what a [Scheduler] does. Any hook may be nil. Hooks run
// on the goroutine of Run and must return soon.
type Trace struct {
	// Start is called before each attempt.
	Start func(context.Context, RunEvent)
	// Done is called after each attempt.
	Done func(context.Context, RunEvent)
}

// RunEvent is one attempt of a run.
type RunEvent struct {
	Due     time.Time     // the moment of the schedule
	Attempt int           // 1 for the first
	Took    time.Duration // 0 for Start
	Err     error         // nil for Start and for a good run
}

// Stats is what a [Scheduler] has done since the start of the process.
type Stats struct {
	Running  bool      // a run is going on
	Runs     uint64    // attempts, good and failed
	Failures uint64    // failed attempts
	GivenUp  uint64    // moments for which every attempt failed
	LastRun  time.Time // start of the latest attempt; zero if there was none
	LastGood time.Time // start of the newest good run it made or heard of
	Next     time.Time // the next moment of the schedule
}

// Scheduler makes one good run per civil day: at each moment of a [Daily], and
// when it starts or wakes up and finds that the latest moment has had none. It
// looks at the clock on the wall every minute, so that a suspended machine or a
// clock that was set costs a minute and no run. Runs of one Scheduler never
// overlap; against those of other processes the job must take a lock.
//
// All methods are safe for concurrent use.
type Scheduler struct {
	when Daily
	job  func(context.Context) error
	opts Options
	log  *slog.Logger
	now  func() time.Time // the clock on the wall

	running atomic.Bool
	mu      sync.Mutex
	stats   Stats
}

// New returns a Scheduler that calls job. A job that returns nil counts
// as good for the moment it was made for; it should return soon after the end of
// its context, because Run waits for it. Nothing happens before [Scheduler.Run].
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
	if o.Jitter == 0 {
		o.Jitter = 2 * time.Minute
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	if o.RetryDelay == 0 {
		o.RetryDelay = 15 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = 6 * time.Hour
	}
	if s.log = o.Logger; s.log == nil {
		s.log = slog.Default()
	}
	return s, nil
}

// turn is the state of the moment that was due last.
type turn struct {
	due      time.Time
	settled  bool      // has a good run, or has used up its attempts
	attempts int       // failed so far
	notYet   time.Time // by the monotonic clock: jitter or pause before a retry
}

// Run follows the schedule until ctx ends, then waits for a run that is going on
// and returns nil. Only one Run can be at work at a time.
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

// pause returns how long to sleep: until something is to be done, and at most
// until the clock must be read again.
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

// attend makes the run that a moment waits for, unless it has had one.
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
		return // Run ends, and what it interrupted did not fail
	}
	if stage := new(backup.StageError); errors.As(err, &stage) && stage.Published && !errors.Is(err, backup.ErrVerification) {
		t.settled = true // another dump today would be no better
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

// once calls the job and reports it.
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

// call runs the job within its time. A panic is a failure of the run: it must not
// end a service whose other work is sound, nor the runs of the days to come.
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

// covered tells whether the moment has had its good run, by this Scheduler or,
// as far as LastGood knows, by anybody.
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

// counts tells whether a good run serves a moment: it began then or later. After
// a clock was set back a little it may lie in the future; one from further ahead
// was made by a wrong clock, and waiting for it to pass would mean no run for as
// long.
func (s *Scheduler) counts(good, due time.Time) bool {
	return !good.Before(due) && good.Before(s.when.Next(s.when.Next(due)))
}

func (s *Scheduler) jitter() time.Duration {
	if s.opts.Jitter <= 0 {
		return 0
	}
	return rand.N(s.opts.Jitter)
}

// Stats returns what happened so far. Next is zero before Run.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
