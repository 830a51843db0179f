package schedule

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// wallClock runs with the bubble's time and can be set, as the clock of a
// machine that slept or that an administrator corrected.
type wallClock struct{ offset atomic.Int64 }

func (w *wallClock) now() time.Time {
	return time.Now().Add(time.Duration(w.offset.Load())).Round(0).UTC()
}
func (w *wallClock) jump(d time.Duration) { w.offset.Add(int64(d)) }

// scheduled runs a Scheduler at 02:00 UTC in a bubble, whose time begins at
// 2000-01-01 00:00 UTC, and records when the job was called.
type scheduled struct {
	*Scheduler
	clock wallClock

	mu   sync.Mutex
	runs []time.Time
}

func (s *scheduled) calls() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.runs...)
}

func follow(t *testing.T, opts *Options, job func(call int) error) *scheduled {
	t.Helper()
	daily, err := ParseDaily("02:00", time.UTC)
	require.NoError(t, err)
	opts.Logger = silent
	s := &scheduled{}
	s.Scheduler, err = New(daily, func(context.Context) error {
		s.mu.Lock()
		s.runs = append(s.runs, s.clock.now())
		call := len(s.runs)
		s.mu.Unlock()
		if job == nil {
			return nil
		}
		return job(call)
	}, opts)
	require.NoError(t, err)
	s.now = s.clock.now
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
	synctest.Wait()
	return s
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func never(context.Context) (time.Time, bool, error) { return time.Time{}, false, nil }

func TestSchedulerRunsOncePerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := follow(t, &Options{}, nil)
		pass(90 * time.Minute)
		assert.Empty(t, s.calls(), "without LastGood nothing is made up for")
		pass(30 * 24 * time.Hour)
		calls := s.calls()
		require.Len(t, calls, 30)
		for i, call := range calls {
			due := time.Date(2000, 1, 1+i, 2, 0, 0, 0, time.UTC)
			assert.WithinRange(t, call, due, due.Add(2*time.Minute))
		}
		spread := make(map[time.Duration]bool)
		for _, call := range calls {
			spread[call.Sub(call.Truncate(time.Hour))] = true
		}
		assert.Greater(t, len(spread), 20, "the runs are spread")
		stats := s.Stats()
		assert.EqualValues(t, 30, stats.Runs)
		assert.Equal(t, time.Date(2000, 1, 31, 2, 0, 0, 0, time.UTC), stats.Next)
		assert.Equal(t, calls[29], stats.LastGood)
	})
}

func TestSchedulerCatchesUp(t *testing.T) {
	for name, c := range map[string]struct {
		last  time.Time // of the newest good run; the day before's moment is 1999-12-31 02:00
		found bool
		err   error
		runs  int
	}{
		"nothing ever":            {runs: 1},
		"an old one":              {last: time.Date(1999, 12, 31, 1, 59, 0, 0, time.UTC), found: true, runs: 1},
		"one since":               {last: time.Date(1999, 12, 31, 2, 0, 0, 0, time.UTC), found: true, runs: 0},
		"nobody knows":            {err: errors.New("storage is down"), runs: 1},
		"a little in the future":  {last: time.Date(2000, 1, 1, 20, 0, 0, 0, time.UTC), found: true, runs: 0},
		"made by a clock in 2031": {last: time.Date(2031, 1, 1, 2, 0, 0, 0, time.UTC), found: true, runs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := follow(t, &Options{LastGood: func(context.Context) (time.Time, bool, error) {
					return c.last, c.found, c.err
				}}, nil)
				pass(time.Hour)
				assert.Len(t, s.calls(), c.runs)
				pass(24 * time.Hour)
				expected := c.runs + 1
				if name == "a little in the future" {
					expected-- // it serves the moment that lay between
				}
				assert.Len(t, s.calls(), expected, "and the day after as ever")
			})
		})
	}
}

func TestSchedulerRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		trace := &Trace{Done: func(_ context.Context, e RunEvent) { attempts = append(attempts, e.Attempt) }}
		s := follow(t, &Options{Jitter: -1, Trace: trace}, func(call int) error {
			if call <= 4 {
				return errors.New("the database is down")
			}
			return nil
		})
		pass(12 * time.Hour)
		day := time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)
		assert.Equal(t, []time.Time{day, day.Add(15 * time.Minute), day.Add(30 * time.Minute), day.Add(45 * time.Minute)}, s.calls())
		assert.EqualValues(t, 1, s.Stats().GivenUp)
		pass(24 * time.Hour)
		assert.Len(t, s.calls(), 5)
		assert.Equal(t, []int{1, 2, 3, 4, 1}, attempts)
		assert.Equal(t, Stats{
			Runs: 5, Failures: 4, GivenUp: 1,
			LastRun: day.AddDate(0, 0, 1), LastGood: day.AddDate(0, 0, 1), Next: day.AddDate(0, 0, 2),
		}, s.Stats())
	})
}

// A suspect backup, or a target that is away, is not mended by another dump; a backup that
// cannot be read back may be.
func TestSchedulerRepeatsNoPublishedRun(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		calls int
	}{
		"suspect":      {&backup.StageError{Stage: "retain", Published: true, Err: backup.ErrSuspect}, 1},
		"target":       {&backup.StageError{Stage: "replicate", Published: true, Err: errors.New("away")}, 1},
		"verification": {&backup.StageError{Stage: "verify", Published: true, Err: backup.ErrVerification}, 4},
		"failed":       {&backup.StageError{Stage: "dump", Err: errors.New("no room")}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := follow(t, &Options{Jitter: -1}, func(int) error { return c.err })
				pass(12 * time.Hour)
				assert.Len(t, s.calls(), c.calls)
				assert.EqualValues(t, c.calls, s.Stats().Failures)
				pass(24 * time.Hour)
				assert.Len(t, s.calls(), 2*c.calls)
			})
		})
	}
}

func TestSchedulerLeavesARetryToAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var elsewhere atomic.Int64
		s := follow(t, &Options{Jitter: -1, LastGood: func(context.Context) (time.Time, bool, error) {
			return time.Unix(elsewhere.Load(), 0), true, nil
		}}, func(int) error { return errors.New("locked by another host") })
		elsewhere.Store(time.Now().Unix())
		before := len(s.calls())
		pass(2*time.Hour + time.Minute)
		elsewhere.Store(time.Now().Unix())
		pass(10 * time.Hour)
		assert.Len(t, s.calls(), before+1, "the run of the other host serves the moment")
	})
}

func TestSchedulerSurvivesClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := follow(t, &Options{Jitter: -1, LastGood: never}, nil)
		require.Len(t, s.calls(), 1, "the catch-up at the start")

		pass(time.Hour)                 // 01:00
		s.clock.jump(10 * time.Hour)    // the machine slept until 11:00
		pass(wakeEvery + 2*time.Second) // and wakes up
		require.Len(t, s.calls(), 2, "made up for within a minute")

		s.clock.jump(-6 * time.Hour) // an administrator sets the clock back behind the run
		pass(3 * time.Hour)
		require.Len(t, s.calls(), 2)
		s.clock.jump(-10 * time.Hour) // and behind the moment, to 22:00 of the day before
		pass(6 * time.Hour)           // 04:00
		require.Len(t, s.calls(), 2, "no second run for the same day")
		pass(24 * time.Hour)
		require.Len(t, s.calls(), 3)

		s.clock.jump(400 * 24 * time.Hour) // the clock runs ahead by a year
		pass(2 * time.Minute)
		require.Len(t, s.calls(), 4)
		s.clock.jump(-400 * 24 * time.Hour) // and is corrected
		pass(2 * time.Minute)
		require.Len(t, s.calls(), 5, "a run dated next year serves no moment of this one")
		pass(48 * time.Hour)
		require.Len(t, s.calls(), 7)
	})
}

// Runs that take longer than a day, while the clock jumps: no two go on at once.
func TestSchedulerNeverOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, most atomic.Int32
		s := follow(t, &Options{Jitter: -1, LastGood: never}, func(int) error {
			most.Store(max(most.Load(), inside.Add(1)))
			time.Sleep(30 * time.Hour) // longer than a day
			inside.Add(-1)
			return nil
		})
		for range 50 {
			pass(7 * time.Hour)
			s.clock.jump(5 * time.Hour)
		}
		assert.EqualValues(t, 1, most.Load())
		assert.Greater(t, len(s.calls()), 8)
		assert.ErrorContains(t, s.Run(t.Context()), "running already")
		pass(40 * time.Hour)
	})
}

func TestSchedulerStopsWithItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var ended atomic.Bool
		s, err := New(Daily{}, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second) // a dump that tidies up
			ended.Store(true)
			return ctx.Err()
		}, &Options{Jitter: -1, Logger: silent, LastGood: never})
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		pass(time.Minute)
		assert.True(t, s.Stats().Running)
		cancel()
		require.NoError(t, <-done)
		assert.True(t, ended.Load(), "Run waits for the run it started")
		assert.False(t, s.Stats().Running)
		assert.Zero(t, s.Stats().GivenUp)
	})
}

func TestSchedulerBoundsAndOutlivesARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daily, err := ParseDaily("02:00", time.UTC)
		require.NoError(t, err)
		calls := 0
		var reasons []error
		s, err := New(daily, func(ctx context.Context) error {
			calls++
			if calls == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			panic("a bug")
		}, &Options{Jitter: -1, Timeout: time.Hour, Logger: silent, LastGood: never, Trace: &Trace{
			Done: func(_ context.Context, e RunEvent) { reasons = append(reasons, e.Err) },
		}})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
		defer cancel()
		require.NoError(t, s.Run(ctx))
		require.Len(t, reasons, 3)
		assert.ErrorIs(t, reasons[0], context.DeadlineExceeded)
		assert.ErrorContains(t, reasons[1], "panicked: a bug")
	})
}

func TestNewSchedulerRefuses(t *testing.T) {
	_, err := New(Daily{}, nil, nil)
	assert.ErrorContains(t, err, "needs a job")
	_, err = New(Daily{}, func(context.Context) error { return nil }, &Options{RetryDelay: -1})
	assert.ErrorContains(t, err, "negative")
}
