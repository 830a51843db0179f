package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHungCheckIsNoticedAndStartedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		hang := make(chan struct{})
		var hanging atomic.Bool
		r := newRegistry(t, nil, Func("db", time.Second, func(context.Context) error {
			calls.Add(1)
			if hanging.Load() {
				<-hang // a driver that ignores its context
			}
			return nil
		}))
		stop := start(t, r)
		time.Sleep(10 * time.Second)
		require.Equal(t, Pass, state(t, r, "db").Status)

		hanging.Store(true)
		limit := 3*defaultInterval + time.Second
		time.Sleep(limit)
		c := state(t, r, "db")
		require.Equal(t, Fail, c.Status)
		require.Contains(t, []Kind{KindTimeout, KindStuck}, c.Kind)
		require.Equal(t, 503, get(t, r.Handler(), "/health/").Code)

		time.Sleep(time.Hour)
		c = state(t, r, "db")
		require.Equal(t, KindStuck, c.Kind)
		require.Equal(t, Fail, c.Confirmed)
		require.Contains(t, c.Output, "stuck since ")
		require.InDelta(t, time.Hour+limit, time.Since(c.StuckSince), float64(20*time.Second))
		before := calls.Load()
		require.Equal(t, 503, get(t, r.Handler(), "/ready/").Code, "a local critical check that hangs")

		hanging.Store(false)
		close(hang)
		time.Sleep(4 * defaultInterval)
		c = state(t, r, "db")
		require.Equal(t, Pass, c.Status)
		require.Equal(t, Pass, c.Confirmed)
		require.Zero(t, c.StuckSince)
		require.Greater(t, calls.Load(), before)
		require.NoError(t, stop())
		st := r.Stats().Checks[0]
		require.EqualValues(t, 1, st.Timeouts)
		require.Greater(t, st.StuckTicks, uint64(200))
	})
}

// Ten thousand polls while three checks hang: three goroutines, with Run and
// without.
func TestPollsOfHungChecksLeakNothing(t *testing.T) {
	for _, withRun := range []bool{true, false} {
		t.Run(fmt.Sprint("run=", withRun), func(t *testing.T) {
			release := make(chan struct{})
			var checks []Check
			for i := range 3 {
				c := hanging(fmt.Sprintf("hung-%d", i), release)
				c.Timeout, c.Interval = time.Millisecond, time.Millisecond
				checks = append(checks, c)
			}
			checks = append(checks, passing("fine"))
			r := newRegistry(t, nil, checks...)
			loops := 0
			stop := func() error { return nil }
			if withRun {
				stop = start(t, r)
				loops = 1 + len(checks) // Run and its loops
			}
			h := r.Handler()
			for range 10_000 {
				require.Equal(t, 503, get(t, h, "/health/").Code)
			}
			// Runs of the healthy check and refreshes come and go.
			awaitGoroutines(t, loops+3)
			for _, c := range r.Stats().Checks[:3] {
				require.EqualValues(t, 1, c.Runs, "a hung check is never started again")
			}
			close(release)
			require.NoError(t, stop())
			awaitGoroutines(t, 0)
		})
	}
}

// awaitGoroutines waits until exactly so many goroutines are at work for a
// registry. Those of other tests, such as connections that are being closed, do
// not count.
func awaitGoroutines(t *testing.T, want int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		n := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "health.(*Registry).") && !strings.Contains(stack, "testing.tRunner(") {
				n++
			}
		}
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want exactly %d:\n%s", n, want, stacks)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLateAnswerIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan time.Duration, 1)
		r := newRegistry(t, &Options{Trace: &Trace{LateReturn: func(_ context.Context, e RunEvent) { late <- e.Took }}},
			Func("slow", time.Second, func(context.Context) error {
				time.Sleep(3 * time.Second)
				return nil
			}))
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, KindTimeout, state(t, r, "slow").Kind)
		require.Equal(t, 3*time.Second, <-late)
		require.Equal(t, Fail, state(t, r, "slow").Status, "a pass that came too late is no pass")
	})
}

func TestContextOfACheckEndsAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, nil, Func("obedient", 2*time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		begin := time.Now()
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(begin))
		require.Equal(t, Fail, state(t, r, "obedient").Status)
		synctest.Wait()
	})
}

type panickyError struct{}

func (panickyError) Error() string { panic("in Error") }

type panickyStringer struct{}

func (panickyStringer) String() string { panic("in String") }

func TestPanicsAreFailures(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	for name, f := range map[string]func(context.Context) error{
		"panic":           func(context.Context) error { panic("boom password=S3cr3t") },
		"out of range":    func(context.Context) error { return make([]error, 0)[runtime.NumGoroutine()] },
		"panic in Error":  func(context.Context) error { return panickyError{} },
		"panic in String": func(context.Context) error { panic(panickyStringer{}) },
		"10 MB of panic":  func(context.Context) error { panic(long) },
		"goexit":          func(context.Context) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, nil, Func("bad", time.Second, f), passing("good"))
			snap, err := r.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, Fail, snap.Checks[0].Status)
			require.Equal(t, KindPanic, snap.Checks[0].Kind)
			require.NotEmpty(t, snap.Checks[0].Output)
			require.NotContains(t, snap.Checks[0].Output, "S3cr3t")
			require.Less(t, len(snap.Checks[0].Output), 2*maxText)
			require.Equal(t, Pass, snap.Checks[1].Status)
			require.EqualValues(t, 1, r.Stats().Checks[0].Panics)
		})
	}
}

func TestHugeAnswersAreBounded(t *testing.T) {
	huge := strings.Repeat("ä password=S3cr3t ", 1<<19) // 10 MB
	observed := make([]Measurement, 1000)
	for i := range observed {
		observed[i] = Measurement{Name: huge, Component: huge, Unit: huge, Value: float64(i)}
	}
	r := newRegistry(t, &Options{Authorize: everyone}, Check{
		Name: "huge", Timeout: 10 * time.Second, Critical: true,
		Checker: CheckerFunc(func(context.Context) Result {
			return Result{Status: Fail, Summary: huge, Err: errors.New(huge), Observed: observed}
		}),
	})
	for _, format := range []string{"json", "text", "html"} {
		body := get(t, r.Handler(), "/health/?format="+format).Body.String()
		require.Less(t, len(body), 64<<10, format)
		require.False(t, strings.Contains(body, "S3cr3t"), format)
	}
	require.Len(t, state(t, r, "huge").Observed, maxObserved)
}

func TestSilenceIsNotHealth(t *testing.T) {
	for _, res := range []Result{{}, {Err: errors.New("x")}, {Observed: []Measurement{{Name: "n", Value: 1}}}} {
		r := newRegistry(t, nil, Check{
			Name: "silent", Timeout: time.Second, Critical: true,
			Checker: CheckerFunc(func(context.Context) Result { return res }),
		})
		snap, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, Fail, snap.Status)
	}
}

func TestChecksRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks []Check
		for i := range 10 {
			checks = append(checks, Func(fmt.Sprintf("c%d", i), time.Second, func(context.Context) error {
				time.Sleep(100 * time.Millisecond)
				return nil
			}))
		}
		r := newRegistry(t, nil, checks...)
		begin := time.Now()
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
		require.Equal(t, 100*time.Millisecond, time.Since(begin))

		narrow := newRegistry(t, &Options{MaxConcurrent: 4}, checks...)
		begin = time.Now()
		_, err := narrow.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 300*time.Millisecond, time.Since(begin), "four at a time")
	})
}

// A client that goes away must not turn a healthy check into a failed one.
func TestClientThatLeavesChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, nil, Func("db", time.Second, func(ctx context.Context) error {
			select {
			case <-time.After(20 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		begin := time.Now()
		r.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/health/", nil))
		require.Equal(t, 5*time.Millisecond, time.Since(begin), "its handler does not stay behind")
		time.Sleep(time.Second)
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
		require.EqualValues(t, 1, r.Stats().Checks[0].Runs)
	})
}

func TestOnDemandRunsAreSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, nil, Func("db", time.Second, func(context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if code := get(t, r.Handler(), "/health/").Code; code != 200 {
					t.Errorf("answered %d", code)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, r.Stats().Checks[0].Runs)
		time.Sleep(promptInterval - 200*time.Millisecond)
		get(t, r.Handler(), "/health/")
		require.EqualValues(t, 1, r.Stats().Checks[0].Runs, "not due yet")
		time.Sleep(time.Second)
		get(t, r.Handler(), "/health/")
		require.EqualValues(t, 2, r.Stats().Checks[0].Runs)
	})
}

// A registry whose loops have died must not go on saying what they said last.
func TestStaleResultsFailWhileBeingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, &Options{Authorize: everyone}, passing("db"))
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		r.running.Store(true) // loops that should be there and are not
		h := r.Handler()
		time.Sleep(3*defaultInterval + time.Second)
		require.Equal(t, 200, get(t, h, "/health/").Code)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 503, get(t, h, "/health/").Code)
		require.Equal(t, 503, get(t, h, "/ready/").Code)
		c := state(t, r, "db")
		require.Equal(t, KindStale, c.Kind)
		require.Contains(t, c.Output, "no result for 46 s; the last one was pass")
		require.Contains(t, get(t, h, "/health/").Body.String(), `"kind":"stale"`)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		obedient := Func("obedient", time.Minute, func(ctx context.Context) error {
			<-ctx.Done()
			ended.Add(1)
			return ctx.Err()
		})
		r := newRegistry(t, nil, obedient, passing("other"))
		stop := start(t, r)
		time.Sleep(time.Second)
		require.ErrorContains(t, r.Run(t.Context()), "already at work")
		begin := time.Now()
		require.NoError(t, stop())
		require.Zero(t, time.Since(begin))
		require.EqualValues(t, 1, ended.Load())
		require.Equal(t, KindPending, state(t, r, "obedient").Kind, "being stopped is not a failure of the check")

		stop = start(t, r) // and again
		time.Sleep(time.Second)
		require.NoError(t, stop())
	})
}

func TestRunNamesWhatDidNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		patient := hanging("ldap", release)
		patient.Timeout = time.Hour // still within its time when Run ends
		r := newRegistry(t, nil, hanging("db", release), patient, passing("other"))
		stop := start(t, r)
		time.Sleep(time.Minute)
		begin := time.Now()
		require.EqualError(t, stop(), "health: still at work 5s after the stop: db, ldap")
		require.Equal(t, stopWait, time.Since(begin))
		close(release)
	})
}

func TestRunSpreadsItsTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r := newRegistry(t, nil, Func("c", time.Second, func(context.Context) error {
			at = append(at, time.Now())
			return nil
		}))
		begin := time.Now()
		stop := start(t, r)
		time.Sleep(time.Hour)
		require.NoError(t, stop())
		require.Equal(t, begin, at[0], "the first run is at once")
		gaps := map[time.Duration]bool{}
		for i := range len(at) - 1 {
			gap := at[i+1].Sub(at[i])
			require.InDelta(t, promptInterval, gap, float64(promptInterval)/10)
			gaps[gap] = true
		}
		require.Greater(t, len(gaps), len(at)/2)
	})
}

func TestRunOnceByName(t *testing.T) {
	r := newRegistry(t, nil, passing("a"), failing("b"), passing("c"))
	snap, err := r.RunOnce(t.Context(), "c", "a")
	require.NoError(t, err)
	require.Equal(t, Pass, snap.Status)
	require.Len(t, snap.Checks, 2)
	require.Equal(t, KindPending, state(t, r, "b").Kind)

	_, err = r.RunOnce(t.Context(), "d")
	require.EqualError(t, err, `health: there is no check "d"; known are a, b, c`)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	slow := newRegistry(t, nil, hanging("slow", release))
	_, err = slow.RunOnce(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestListenersHearInOrderAndMayAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := true
		var heard []string
		var r *Registry
		o := &Options{OnChange: func(c Change) {
			r.Snapshot() // no lock is held
			heard = append(heard, fmt.Sprintf("%s %s %s>%s", c.State.Name, c.Kind, c.From, c.To))
			if c.Kind == RawChange {
				panic("a listener's own trouble")
			}
		}}
		r = newRegistry(t, o, Func("db", time.Second, func(context.Context) error {
			if bad {
				return errors.New("refused")
			}
			return nil
		}))
		for i := range 6 {
			bad = i < 4
			_, err := r.RunOnce(t.Context())
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, []string{
			"db raw unknown>fail", "db confirmed unknown>fail",
			"db raw fail>pass", "db confirmed fail>pass",
		}, heard)
	})
}

func TestSlowListenerDelaysOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := false
		release := make(chan struct{})
		var slow, quick []Change
		r := newRegistry(t, nil, Func("c", time.Second, func(context.Context) error {
			if bad = !bad; bad {
				return errors.New("x")
			}
			return nil
		}))
		r.Subscribe(func(c Change) { <-release; slow = append(slow, c) })
		cancel := r.Subscribe(func(c Change) { quick = append(quick, c) })
		for range maxQueued + 100 {
			_, err := r.RunOnce(t.Context())
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Greater(t, len(quick), maxQueued)
		require.Positive(t, r.Stats().DroppedChanges)
		cancel()
		seen := len(quick)
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		close(release)
		synctest.Wait()
		require.Len(t, quick, seen)
		require.LessOrEqual(t, len(slow), maxQueued+1)
		require.True(t, slices.IsSortedFunc(slow, func(a, b Change) int { return a.Time.Compare(b.Time) }))
	})
}

// The endpoint is asked every second by everybody; what it costs is decided
// here and not by the number of checks.
func TestAnswersAllocateNothing(t *testing.T) {
	var checks []Check
	for i := range 10 {
		checks = append(checks, passing(fmt.Sprintf("c%d", i)))
	}
	r := newRegistry(t, &Options{Authorize: BearerToken("let-me-in")}, checks...)
	_, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	r.running.Store(true)
	for _, token := range []string{"", "Bearer let-me-in"} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health/", nil)
		if token != "" {
			req.Header.Set("Authorization", token)
		}
		w := &bareWriter{header: http.Header{}}
		allocs := testing.AllocsPerRun(1000, func() {
			clear(w.header)
			r.ServeHealth(w, req)
		})
		require.Equal(t, 200, w.code)
		require.LessOrEqual(t, allocs, 2.0, "with the token %q", token)
	}
}

// bareWriter is a ResponseWriter that costs nothing itself.
type bareWriter struct {
	header http.Header
	code   int
}

func (w *bareWriter) Header() http.Header         { return w.header }
func (w *bareWriter) WriteHeader(code int)        { w.code = code }
func (w *bareWriter) Write(b []byte) (int, error) { return len(b), nil }

// Everything at once, for the race detector.
func TestManyReadersWritersAndChanges(t *testing.T) {
	r := newRegistry(t, &Options{Authorize: everyone}, passing("a"), failing("b"), passing("c"))
	stop := start(t, r)
	var wg sync.WaitGroup
	for _, f := range []func(){
		func() { get(t, r.Handler(), "/health/?verbose") },
		func() { get(t, r.Handler(), "/ready/") },
		func() { get(t, r.Handler(), "/status/") },
		func() { r.Stats() },
		func() { _, _ = r.RunOnce(t.Context(), "a", "b") },
		func() { r.Subscribe(func(Change) {})() },
		func() { r.SetBroken(errors.New("x")); r.SetBroken(nil) },
		func() { r.Drain() },
	} {
		wg.Go(func() {
			for range 50 {
				f()
			}
		})
	}
	wg.Wait()
	require.NoError(t, stop())
}

// A hook or a listener that panics or ends its goroutine costs itself only.
func TestForeignCodeFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){"panics": func() { panic("metrics") }, "ends its goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls, heard atomic.Int32
				hook := func(context.Context, RunEvent) { calls.Add(1); fail() }
				c := Check{Name: "db", Timeout: time.Second, Checker: CheckerFunc(func(ctx context.Context) Result {
					switch calls.Load() % 3 {
					case 0:
						time.Sleep(2 * time.Second) // a late return
					case 1:
						return Failed("down", nil)
					}
					return Passed("")
				})}
				r, err := New([]Check{c}, &Options{
					Logger: slog.New(slog.DiscardHandler), Trace: &Trace{RunStart: hook, RunDone: hook, LateReturn: hook},
					OnChange: func(Change) { heard.Add(1); fail() },
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- r.Run(ctx) }()
				time.Sleep(time.Hour)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if st := r.Stats(); calls.Load() < 200 || heard.Load() < 2 || int(heard.Load()) != int(st.Changes) || r.faults.Load() != uint64(calls.Load()) {
					t.Errorf("%d hooks, %d faults, %d of %d changes", calls.Load(), r.faults.Load(), heard.Load(), st.Changes)
				}
			})
		})
	}
}

// Many checks that hang delay a reader by one timeout, and say why others were not started.
func TestManyHangingChecksDelayOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var checks []Check
		for i := range 50 {
			c := hanging(fmt.Sprintf("c%d", i), release)
			c.Timeout = 5 * time.Second
			checks = append(checks, c)
		}
		r := newRegistry(t, nil, checks...)
		begin := time.Now()
		require.Equal(t, 503, get(t, r.Handler(), "/ready/").Code)
		require.Equal(t, 5*time.Second, time.Since(begin))
		require.Equal(t, "no answer within 5s", state(t, r, "c0").Output)
		require.Equal(t, "not started within 5s, because 16 other checks hang", state(t, r, "c49").Output)
		for _, c := range r.Snapshot().Checks {
			require.Equal(t, Fail, c.Status, c.Name)
		}
		close(release)
		time.Sleep(time.Minute)
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
	})
}

// Checks that are slow but answer are all run, and a reader does not wait for all of them.
func TestManySlowChecksAreAllRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks []Check
		for i := range 50 {
			checks = append(checks, Func(fmt.Sprintf("c%d", i), time.Second, func(context.Context) error {
				time.Sleep(400 * time.Millisecond)
				return nil
			}))
		}
		r := newRegistry(t, &Options{MaxConcurrent: 10}, checks...)
		begin := time.Now()
		get(t, r.Handler(), "/ready/")
		require.Equal(t, time.Second+readersWait, time.Since(begin))
		time.Sleep(time.Second)
		for _, c := range r.Snapshot().Checks {
			require.Equal(t, Pass, c.Status, c.Name)
		}
	})
}

// A check that hangs, now or since an earlier pass, fails no slow one that answers.
func TestHangingCheckFailsNoOther(t *testing.T) {
	for _, permits := range []int{1, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			hung := hanging("hung", release)
			hung.Timeout = time.Second
			checks := []Check{hung}
			for i := range 50 {
				checks = append(checks, Func(fmt.Sprintf("c%d", i), time.Second, func(context.Context) error {
					time.Sleep(400 * time.Millisecond)
					return nil
				}))
			}
			r := newRegistry(t, &Options{MaxConcurrent: permits}, checks...)
			for range 3 {
				snap, err := r.RunOnce(t.Context())
				require.NoError(t, err)
				for _, c := range snap.Checks {
					require.Equal(t, c.Name == "hung", c.Status == Fail, "%d at a time: %s %s", permits, c.Name, c.Output)
				}
			}
			close(release)
			synctest.Wait()
		})
	}
}

// A Checker that hangs is called once, however often its check is removed and added.
func TestAddedAgainWhileItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls, other atomic.Int32
		counted := func(calls *atomic.Int32) Check {
			return Func("x", time.Second, func(context.Context) error {
				calls.Add(1)
				<-release
				return nil
			})
		}
		c, replacement := counted(&calls), counted(&other)
		r := newRegistry(t, nil, c)
		stop := start(t, r)
		for range 20 {
			time.Sleep(3 * time.Second)
			require.NoError(t, r.Remove("x"))
			require.NoError(t, r.Add(c))
		}
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, calls.Load())
		require.Equal(t, KindStuck, state(t, r, "x").Kind)
		require.NoError(t, r.Remove("x"))
		require.NoError(t, r.Add(replacement), "another Checker does not wait")
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, other.Load())
		require.NoError(t, r.Remove("x"))
		close(release)
		time.Sleep(time.Minute)
		r.mu.Lock()
		require.Empty(t, r.left)
		r.mu.Unlock()
		require.NoError(t, r.Add(c))
		time.Sleep(time.Minute)
		require.Greater(t, calls.Load(), int32(1))
		require.Equal(t, Pass, state(t, r, "x").Status)
		require.NoError(t, stop())
	})
}
