package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A critical check that hangs is noticed within 5 s by default, and /ready/ is
// 503 after one more interval. A single failure drains nothing.
func TestReadinessOfAHungCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging, failOnce atomic.Bool
		release := make(chan struct{})
		r := newRegistry(t, nil, Func("db", 2*time.Second, func(context.Context) error {
			if hanging.Load() {
				<-release
			}
			if failOnce.CompareAndSwap(true, false) {
				return errors.New("lost packet")
			}
			return nil
		}))
		stop := start(t, r)
		time.Sleep(time.Minute)
		failOnce.Store(true)
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code, "one failure moves no traffic")
		}
		hanging.Store(true)
		began := time.Now()
		await := func(path string) time.Duration {
			for get(t, r.Handler(), path).Code == 200 {
				time.Sleep(10 * time.Millisecond)
				require.Less(t, time.Since(began), time.Minute, path)
			}
			return time.Since(began)
		}
		require.LessOrEqual(t, await("/health/"), 5*time.Second)
		noticed := time.Since(began)
		require.LessOrEqual(t, await("/ready/")-noticed, promptInterval+promptInterval/10+20*time.Millisecond)
		require.Equal(t, Pass, state(t, r, "db").Confirmed, "alerts wait for a state that lasts")
		time.Sleep(30 * time.Second)
		require.Equal(t, Fail, state(t, r, "db").Confirmed)
		close(release)
		hanging.Store(false)
		time.Sleep(2*promptInterval + time.Second)
		require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code)
		require.NoError(t, stop())
	})
}

// A check that runs every few seconds is confirmed no sooner than one that runs
// every 15 s, and one that runs every hour is run again soon while its state is
// not confirmed.
func TestConfirmationTakesTimeAndNotOnlyResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		var confirmed atomic.Int32
		check := Func("db", time.Second, func(context.Context) error {
			if bad.Load() {
				return errors.New("down")
			}
			return nil
		})
		rare := check
		rare.Name, rare.Critical, rare.Interval = "rare", false, time.Hour
		r := newRegistry(t, &Options{OnChange: func(c Change) {
			if c.Kind == ConfirmedChange && c.To == Fail {
				confirmed.Add(1)
			}
		}}, check, rare)
		stop := start(t, r)
		for range 24 {
			time.Sleep(40 * time.Minute)
			bad.Store(true)
			time.Sleep(20 * time.Second)
			bad.Store(false)
		}
		require.Zero(t, confirmed.Load(), "outages of 20 s")
		bad.Store(true)
		time.Sleep(40 * time.Second)
		require.Equal(t, Fail, state(t, r, "db").Confirmed)
		time.Sleep(66*time.Minute + 140*time.Second)
		require.Equal(t, Fail, state(t, r, "rare").Confirmed, "within 140 s after the first bad result")
		require.NoError(t, stop())
	})
}

func TestAddAndRemoveWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, nil, passing("a"))
		stop := start(t, r)
		time.Sleep(time.Second)
		require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code)

		runs := atomic.Int32{}
		tenant := Func("tenant", time.Second, func(context.Context) error { runs.Add(1); return errors.New("down") })
		tenant.DependsOn, tenant.Groups = []string{"a"}, []string{"tenants"}
		require.NoError(t, r.Add(tenant))
		require.Equal(t, []string{"a", "tenant"}, r.Names())
		time.Sleep(30 * time.Second)
		require.Greater(t, runs.Load(), int32(5))
		require.Equal(t, 503, get(t, r.Handler(), "/ready/").Code)
		group, ok := r.Snapshot().Group("tenants")
		require.True(t, ok)
		require.Equal(t, "tenant", group.Checks[0].Name)

		require.ErrorContains(t, r.Remove("a"), `"tenant" depends on the unknown check "a"; remove it as well`)
		require.ErrorContains(t, r.Remove("x"), `no check "x"`)
		require.ErrorContains(t, r.Add(passing("b"), passing("a")), `two checks named "a"`)
		require.Equal(t, []string{"a", "tenant"}, r.Names(), "all or none")

		require.NoError(t, r.Remove("tenant"))
		synctest.Wait()
		before := runs.Load()
		require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code)
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
		time.Sleep(time.Hour)
		require.Equal(t, before, runs.Load())
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
		require.NoError(t, stop())

		require.NoError(t, r.Add(tenant)) // without Run
		_, err := r.RunOnce(t.Context(), "tenant")
		require.NoError(t, err)
		require.Equal(t, 503, get(t, r.Handler(), "/health/").Code)
	})
}

// A removed check that hangs changes nothing when it returns.
func TestRemovedCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRegistry(t, nil, passing("a"), hanging("hung", release))
		stop := start(t, r)
		time.Sleep(10 * time.Second)
		require.Equal(t, 503, get(t, r.Handler(), "/ready/").Code)
		require.NoError(t, r.Remove("hung"))
		require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code)
		require.NoError(t, r.Add(passing("hung")))
		time.Sleep(time.Second)
		close(release)
		time.Sleep(time.Minute)
		require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
		require.NoError(t, stop())
	})
}

// The incremental counts equal a full evaluation, whatever came before.
func TestTallyEqualsAFullEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		say := map[string]Status{}
		r := newRegistry(t, nil)
		for i := range 200 {
			switch name := fmt.Sprintf("c%d", i%17); i * 7 % 5 {
			case 0:
				c := Check{
					Name: name, Timeout: time.Second, Critical: i%3 == 0, Shared: i%4 == 0, Ready: i%6 == 0,
					Checker: CheckerFunc(func(context.Context) Result {
						mu.Lock()
						defer mu.Unlock()
						return Result{Status: say[name]}
					}),
				}
				_ = r.Add(c) // refused if it is there
			case 1:
				_ = r.Remove(name)
			case 2:
				time.Sleep(time.Duration(i) * time.Second)
			default:
				mu.Lock()
				say[name] = Status(1 + i%3)
				mu.Unlock()
				_, _ = r.RunOnce(t.Context(), name)
			}
			v, s := r.current(time.Now()), r.Snapshot()
			require.Equal(t, s.Status, v.health, "step %d", i)
			require.Equal(t, s.Ready, v.ready, "step %d", i)
		}
	})
}

func TestMountFitsBesideGet(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("app")) })
	newRegistry(t, nil, passing("a")).Mount(mux)
	require.Equal(t, `{"status":"pass"}`, get(t, mux, "/health/").Body.String())
	require.Equal(t, "app", get(t, mux, "/other").Body.String())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/health/", nil))
	require.Equal(t, 405, w.Code)
}

func TestPlainOK(t *testing.T) {
	bad := atomic.Bool{}
	c := Func("a", time.Second, func(context.Context) error {
		if bad.Load() {
			return errors.New("x")
		}
		return nil
	})
	c.FailAfter = 1
	r := newRegistry(t, &Options{PlainOK: "OK", Authorize: BearerToken("let-me-in")}, c)
	for _, path := range []string{"/health/", "/ready/", "/alive/"} {
		w := get(t, r.Handler(), path)
		require.Equal(t, "OK", w.Body.String())
		require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		require.Equal(t, `{"status":"pass"}`, get(t, r.Handler(), path, "Accept", "application/json").Body.String())
	}
	require.Contains(t, get(t, r.Handler(), "/health/", "Authorization", "Bearer let-me-in").Body.String(), `"checks"`)
	bad.Store(true)
	_, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	w := get(t, r.Handler(), "/ready/")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "fail", w.Body.String())
}

// One result costs the same with 10 and with 2,000 checks.
func BenchmarkResult(b *testing.B) {
	for _, n := range []int{10, 2000} {
		for kind, err := range map[string]error{
			"good":   nil,
			"failed": errors.New("dial tcp 10.0.0.7:5432: connect: connection refused"),
		} {
			b.Run(fmt.Sprintf("checks=%d/%s", n, kind), func(b *testing.B) {
				var checks []Check
				for i := range n {
					checks = append(checks, Func(fmt.Sprintf("c%d", i), time.Second, func(context.Context) error { return err }))
				}
				r, newErr := New(checks, &Options{Logger: quiet})
				require.NoError(b, newErr)
				_, _ = r.RunOnce(b.Context())
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					r.runCheck(b.Context(), r.slots[i%n], false)
					i++
				}
			})
		}
	}
}

// asking is code of the user that reads the registry: a log handler, an error, a Checker.
type asking struct {
	slog.Handler
	reg *Registry
}

func (a *asking) Handle(context.Context, slog.Record) error { return a.Validate() }
func (a *asking) Enabled(context.Context, slog.Level) bool  { return true }
func (a *asking) Check(context.Context) Result              { return Passed("") }
func (a *asking) Error() string                             { _ = a.Validate(); return "a cause" }

func (a *asking) Validate() error {
	if a.reg != nil {
		a.reg.Snapshot()
	}
	return nil
}

// The registry calls no code of the user with its lock held.
func TestUserCodeMayReadTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a deadlock fails at once
		a := &asking{}
		r := newRegistry(t, &Options{Logger: slog.New(a)}, failing("db"))
		a.reg = r
		r.SetBroken(a)
		require.Equal(t, 503, get(t, r.Handler(), "/alive/").Code)
		r.SetBroken(nil)
		require.NoError(t, r.Add(Check{Name: "asking", Timeout: time.Second, Checker: a}))
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
		require.NoError(t, r.Remove("asking"))
	})
}
