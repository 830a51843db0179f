package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Tokens that are known after the call are charged, the debt delays the next call, and in the
// long run no more is spent than the limit.
func TestTokensChargedAfterwards(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
		synctest.Test(t, func(t *testing.T) {
			l := memory(t, Policy{Name: "tokens", Limit: 10_000, Window: time.Minute, Algorithm: algorithm}, nil)
			spent := 0
			h := wrap(t, nil, func(_ http.ResponseWriter, r *http.Request) {
				spent += 3000
				AdmissionFrom(r.Context()).Charge(3000)
			}, Rule{Limiter: l, Key: constant("k")})
			for range 100 {
				send(h, http.MethodPost, "")
			}
			require.LessOrEqual(t, spent, 12_000, algorithm)
			start := time.Now()
			for time.Since(start) < 20*time.Minute {
				if w := send(h, http.MethodPost, ""); w.Code == http.StatusTooManyRequests {
					time.Sleep(time.Second)
				}
			}
			require.LessOrEqual(t, spent, 21*10_000+12_000, "the debt is repaid: %v", algorithm)
			require.GreaterOrEqual(t, spent, 15*10_000, algorithm)
		})
	}
}

// A charge reaches the rules of all layers, those whose cost is not known before, and any number
// of charges of one request.
func TestChargeReachesEveryLayer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cost, inner int
		charge      func(a *Admission) error
	}{
		"outer policy by its name": {1, 999, func(a *Admission) error { return a.Charge(3000, "tokens") }},
		"all policies":             {1, 0, func(a *Admission) error { return a.Charge(3000) }},
		"a cost of 0":              {0, 999, func(a *Admission) error { return a.Charge(3000, "tokens") }},
		"a running total": {1, 999, func(a *Admission) (err error) {
			for sum := 100; sum <= 3000; sum += 100 {
				err = errors.Join(err, a.Charge(sum, "tokens"))
			}
			return err
		}},
	} {
		tokens, exports := memory(t, hourly("tokens", 10_000), nil), memory(t, hourly("exports", 1000), nil)
		inner := wrap(t, nil, func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, c.charge(AdmissionFrom(r.Context())), name)
		}, Rule{Limiter: exports, Key: constant("k")})
		outer := wrap(t, nil, inner.ServeHTTP, Rule{Limiter: tokens, Key: constant("k"), Cost: func(*http.Request) int { return c.cost }})
		send(outer, http.MethodPost, "")
		r, err := tokens.Peek(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, 7000, r.Remaining, name)
		r, err = exports.Peek(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, c.inner, r.Remaining, name)
	}
}

// A charge that counts nowhere is an error, and a line in the log of its middleware.
func TestAChargeWithoutAPolicy(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := &MiddlewareOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	var errs []error
	h := wrap(t, o, func(_ http.ResponseWriter, r *http.Request) {
		a := AdmissionFrom(r.Context())
		errs = append(errs, a.Charge(3000, "tokken"), a.Charge(-1), a.Charge(1, "left-out"), a.Charge(2, "tokens"))
	}, Rule{Limiter: memory(t, hourly("tokens", 10), nil), Key: constant("k")},
		Rule{Limiter: memory(t, hourly("left-out", 10), nil), Key: constant("k"), Skip: func(*http.Request) bool { return true }})
	send(h, http.MethodPost, "")
	send(h, http.MethodPost, "")
	require.ErrorContains(t, errs[0], `does not reach policies ["tokken"]`)
	require.ErrorIs(t, errs[1], ErrInvalidCost)
	require.NoError(t, errs[2])
	require.NoError(t, errs[3])
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "tokken")
	require.Error(t, AdmissionFrom(t.Context()).Charge(1), "outside of any limit")

	log.Reset()
	h = wrap(t, o, func(_ http.ResponseWriter, r *http.Request) {
		errs = append(errs, AdmissionFrom(r.Context()).Charge(5))
	},
		Rule{Limiter: memory(t, Login(), nil), Key: constant("k"), FailuresOnly: true})
	send(h, http.MethodPost, "")
	require.Error(t, errs[len(errs)-1])
	require.NotEmpty(t, log.String())
}

// A request of cost 0 is never refused, and the log says so when charges have used its key up.
func TestChargesThatRefuseNoRequest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := &MiddlewareOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for cost, want := range []int{100, 4} {
		served := 0
		h := wrap(t, o, func(_ http.ResponseWriter, r *http.Request) {
			served++
			require.NoError(t, AdmissionFrom(r.Context()).Charge(3000))
		}, Rule{Limiter: memory(t, hourly("unrefused", 10_000), nil), Key: constant("k"), Cost: func(*http.Request) int { return cost }})
		for range 100 {
			send(h, http.MethodPost, "")
		}
		require.Equal(t, want, served)
		require.Equal(t, 1, strings.Count(log.String(), "policy=unrefused"))
	}
}

// 1,000 waiters on 10 in 50 ms: a decision each, in their order, and those without hope at once.
func TestThousandWaiters(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
		synctest.Test(t, func(t *testing.T) {
			l := memory(t, Policy{Name: "out", Limit: 10, Window: 50 * time.Millisecond, Algorithm: algorithm}, nil)
			var mu sync.Mutex
			var order []int
			late := 0
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					start := time.Now()
					_, err := l.Wait(ctx, "k", 1)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						order = append(order, i)
					case !errors.Is(err, ErrWouldExceedDeadline):
						t.Error(err)
					case time.Since(start) > 0:
						late++
					}
				})
				synctest.Wait()
			}
			wg.Wait()
			st := l.Stats()
			require.LessOrEqual(t, st.Allowed+st.Denied, uint64(2000))
			require.Zero(t, late, "hopeless waiters waited")
			require.GreaterOrEqual(t, len(order), 350, algorithm)
			require.LessOrEqual(t, len(order), 420, algorithm)
			for i := range order { // those of one instant may wake up in any order
				require.InDelta(t, i, order[i], 10)
			}
		})
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
		synctest.Test(t, func(t *testing.T) {
			l := memory(t, Policy{Name: "out", Limit: 1, Window: time.Second, Algorithm: algorithm}, &Options{MaxQueue: 5})
			var full, served atomic.Int64
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, err := l.Wait(t.Context(), "k", 1); errors.Is(err, ErrQueueFull) {
						full.Add(1)
					} else if err == nil {
						served.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 14, full.Load(), algorithm)
			require.EqualValues(t, 6, served.Load(), algorithm)
		})
	}
}

// Delayed requests are served at the pace of the policy, as a shaping proxy does.
func TestShaping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := memory(t, Policy{Name: "shape", Limit: 10, Window: time.Second}, nil)
		var mu sync.Mutex
		var at []time.Time
		h := wrap(t, nil, func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
		}, Rule{Limiter: l, Key: constant("k"), Delay: 3 * time.Second})
		var denied atomic.Int64
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if send(h, http.MethodGet, "").Code == http.StatusTooManyRequests {
					denied.Add(1)
				}
			})
		}
		wg.Wait()
		require.Len(t, at, 40)
		require.EqualValues(t, 20, denied.Load())
		for i := 10; i < len(at); i++ {
			require.GreaterOrEqual(t, at[i].Sub(at[i-10]), time.Second)
		}
	})
}

// Requests that are refused by units in flight alone wait for the outcome, and are told to come
// again soon when that takes too long.
func TestUnitsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := memory(t, Login(), nil)
		release := make(chan struct{})
		h := wrap(t, nil, func(_ http.ResponseWriter, r *http.Request) { <-release }, Rule{Limiter: l, Key: constant("k"), FailuresOnly: true})
		var retry sync.Map
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				w := send(h, http.MethodPost, "")
				retry.Store(i, w.Header().Get("Retry-After"))
			})
		}
		time.Sleep(10 * time.Second)
		soon := 0
		retry.Range(func(_, v any) bool {
			if v == "1" {
				soon++
			}
			return true
		})
		require.Equal(t, 3, soon, "refused for a second, not an hour")
		close(release)
		wg.Wait()
		w := send(h, http.MethodPost, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Greater(t, len(w.Header().Get("Retry-After")), 3, "failures are refused for the rest of the hour")
	})
}

// Handlers that never state an outcome, or never a failure, are reported once.
func TestTheOutcomeIsWatched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status func(int) bool
		n      int
		want   string
	}{
		"no outcome": {nil, 100, "no handler has stated"},
		"no failure": {func(s int) bool { return s < 400 }, 1500, "every request a success"},
	} {
		var log bytes.Buffer
		p := Policy{Name: "login", Limit: 4000, Window: time.Hour}
		h := wrap(t, &MiddlewareOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, ok,
			Rule{Limiter: memory(t, p, nil), Key: constant("k"), FailuresOnly: true, SuccessStatus: c.status})
		for range c.n {
			send(h, http.MethodPost, "")
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"), name)
		require.Contains(t, log.String(), c.want)
	}
}

// With SuccessStatus, an answer that nobody saw is no success.
func TestSuccessStatus(t *testing.T) {
	t.Parallel()
	rule := Rule{Limiter: memory(t, Login(), nil), Key: constant("k"), FailuresOnly: true, SuccessStatus: func(s int) bool { return s < 400 }}
	h := wrap(t, nil, ok, rule)
	for range 50 {
		require.Equal(t, http.StatusNoContent, send(h, http.MethodPost, "").Code)
	}
	reached := 0
	silent := wrap(t, nil, func(http.ResponseWriter, *http.Request) { reached++ }, rule)
	for range 50 {
		send(silent, http.MethodPost, "")
	}
	require.Equal(t, 5, reached)
}

// A status that one rule accepts gives back the units of that rule only: the failures of
// another rule, and of an outer layer, stay counted.
func TestSuccessStatusSpeaksForItsOwnRule(t *testing.T) {
	t.Parallel()
	for name, nested := range map[string]bool{"one middleware": false, "two middlewares": true} {
		failures := memory(t, hourly("errors", 100), nil)
		login := Rule{Limiter: memory(t, Login(), nil), Key: constant("k"), FailuresOnly: true}
		errors := Rule{Limiter: failures, Key: constant("k"), FailuresOnly: true, SuccessStatus: func(s int) bool { return s < 500 }}
		delayed := Rule{Limiter: memory(t, hourly("delayed", 1000), nil), Key: constant("k"), Delay: time.Second}
		reached, right := 0, true
		handler := func(w http.ResponseWriter, r *http.Request) {
			reached++
			if right {
				AdmissionFrom(r.Context()).Succeed()
				w.WriteHeader(http.StatusInternalServerError) // the handler's word counts
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
		}
		h := wrap(t, nil, handler, login, errors, delayed)
		if nested {
			h = wrap(t, nil, wrap(t, nil, handler, errors, delayed).ServeHTTP, login)
		}
		for range 20 {
			send(h, http.MethodPost, "")
		}
		right, reached = false, 0
		for range 100 {
			send(h, http.MethodPost, "")
		}
		require.Equal(t, 5, reached, name)
		r, err := failures.Peek(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, 100, r.Remaining, name)
	}
}

// Success reaches the limiters of outer layers, and their limit is announced on denials only.
func TestNestedAdmissions(t *testing.T) {
	t.Parallel()
	inner := wrap(t, nil, func(_ http.ResponseWriter, r *http.Request) { AdmissionFrom(r.Context()).Succeed() },
		Rule{Limiter: memory(t, hourly("api", 1000), nil), Key: constant("k")})
	outer := wrap(t, nil, inner.ServeHTTP, Rule{Limiter: memory(t, Login(), nil), Key: constant("k"), FailuresOnly: true})
	for range 50 {
		w := send(outer, http.MethodPost, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "1000", w.Header().Get("X-RateLimit-Limit"))
		require.NotContains(t, w.Header().Get("RateLimit"), "login")
	}
	var none *Admission
	none.Succeed()
	none.Charge(5)
	none.End()
	require.True(t, none.Decision().Allowed)
}

// Policies are named, w is never shorter than the window, and what only watches is invisible.
func TestTheWire(t *testing.T) {
	t.Parallel()
	shadow := hourly("watched", 1)
	shadow.Shadow = true
	h := wrap(t, &MiddlewareOptions{ProblemJSON: true}, ok,
		Rule{Limiter: memory(t, Policy{Name: "burst", Limit: 10, Window: 1500 * time.Millisecond}, nil), Key: constant("user:1")},
		Rule{Limiter: memory(t, hourly("hourly", 5), nil), Key: constant("user:1"), Cost: func(*http.Request) int { return 9 }},
		Rule{Limiter: memory(t, shadow, nil), Key: constant("user:1")},
		Rule{Limiter: memory(t, Policy{Name: "daily", Limit: 100, Window: 24 * time.Hour}, nil), Key: constant("user:1")})
	w := send(h, http.MethodPost, "")
	require.Equal(t, `"burst";q=10;w=2, "hourly";q=5;w=3600, "daily";q=100;w=86400`, w.Header().Get("RateLimit-Policy"))
	require.Contains(t, w.Body.String(), `"violated-policies":["hourly"]`)
	require.NotContains(t, fmt.Sprint(w.Header(), w.Body), "watched")
}

// A key without a limit cannot be blocked, and Block says so. To unlock it is no mistake.
func TestBlockOfAnUnlimitedKey(t *testing.T) {
	t.Parallel()
	plan := Unlimited
	for _, l := range []*Memory{
		memory(t, Policy{Name: "off", Limit: Unlimited}, nil),
		memory(t, hourly("off", Unlimited), nil),
		memory(t, hourly("plan", 5), &Options{LimitFunc: func(context.Context, string) (int, bool) { return plan, true }}),
	} {
		require.ErrorIs(t, l.Block(t.Context(), "k", time.Hour), ErrUnlimited)
		require.NoError(t, l.Reset(t.Context(), "k"))
		require.Error(t, l.Block(t.Context(), "k", -1))
	}
	l := memory(t, hourly("plan", 5), &Options{LimitFunc: func(context.Context, string) (int, bool) { return plan, true }})
	plan = 5
	require.NoError(t, l.Block(t.Context(), "k", time.Hour))
	r, err := l.Allow(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, r.Allowed)
}

// A limit above what a policy can hold is an error and is counted; one above 4,096 is held. A listing has the other keys.
func TestLimitFuncAboveTheBound(t *testing.T) {
	t.Parallel()
	limit := 10_000
	l := memory(t, API(), &Options{MaxKeys: 100, LimitFunc: func(_ context.Context, key string) (int, bool) { return limit, key == "k" }})
	allowed := 0
	for range 12_000 {
		r, err := l.Allow(t.Context(), "k")
		require.NoError(t, err)
		if r.Allowed {
			allowed++
		}
	}
	require.Equal(t, 10_000, allowed)
	limit = maxLimit + 1
	_, err := l.Allow(t.Context(), "k")
	require.ErrorIs(t, err, ErrLimitFunc)
	require.EqualValues(t, 1, l.Stats().BadLimits)
	var keys []string
	for _, key := range []string{"j", "l"} {
		_, err := l.Allow(t.Context(), key)
		require.NoError(t, err)
	}
	for key := range l.Keys(t.Context(), "") {
		keys = append(keys, key)
	}
	require.Equal(t, []string{"j", "l"}, keys)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	key := func(o IPOptions, remote string) string {
		f, err := ByIP(&o)
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		return f(r)
	}
	require.Equal(t, "ip:192.0.2.33", key(IPOptions{}, "[64:ff9b::192.0.2.33]:1"))
	require.Equal(t, "ip:192.0.2.0_24", key(IPOptions{IPv4Prefix: 24}, "192.0.2.33:1"))
	for _, o := range []IPOptions{{Header: "X-Real-IP"}, {TrustedProxies: []string{"0.0.0.0/0"}}, {TrustedProxies: []string{"10.0.0.0/8, ::/0"}}} {
		_, err := ByIP(&o)
		require.Error(t, err)
	}
	alice := func(*http.Request) string { return "alice@example.org" }
	hashed, err := Hashed(alice, []byte("a secret of bytes"))
	require.NoError(t, err)
	require.NotContains(t, hashed(nil), "alice")
	for _, secret := range []string{"", "short"} { // such as a variable that is not set
		_, err := Hashed(alice, []byte(secret))
		require.Error(t, err)
		_, err = NewMiddleware(nil, &MiddlewareOptions{PartitionSecret: []byte(secret)})
		require.Error(t, err)
	}

	for name, c := range map[string]struct{ remote, forwarded, want string }{
		"proxy": {"10.0.0.7:1", "203.0.113.5", "TrustedProxies"},
		"local": {"127.0.0.1:1", "203.0.113.5", "TrustedProxies"},
		"unix":  {"@", "", "unix socket"},
		"none":  {"203.0.113.7:1", "198.51.100.1", ""},
	} {
		var log bytes.Buffer
		f, err := ByIP(&IPOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		for range 3 {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.remote
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			f(r)
		}
		if c.want == "" {
			require.Empty(t, log.String(), name)
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"), name)
		require.Contains(t, log.String(), c.want)
	}
}

// The same limit around a router and around a route is reported once, whether the request goes
// on or not.
func TestALimitTwiceOnOneRequest(t *testing.T) {
	t.Parallel()
	for _, rules := range [][]Rule{
		{{Key: constant("user:1")}},
		{{Key: constant("user:1")}, {Key: constant("user:2"), Limiter: memory(t, hourly("second", 500), nil)}},
	} {
		var log bytes.Buffer
		o := &MiddlewareOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		api := memory(t, API(), nil)
		rules[0].Limiter = api
		route := wrap(t, o, ok, rules...)
		send(wrap(t, o, route.ServeHTTP, Rule{Limiter: memory(t, API(), nil), Key: constant("user:1")}), http.MethodGet, "")
		send(wrap(t, o, route.ServeHTTP, Rule{Limiter: api, Key: constant("user:3")}), http.MethodGet, "")
		require.Empty(t, log.String(), "another limit, or another key")
		for range 60 {
			send(wrap(t, o, route.ServeHTTP, Rule{Limiter: api, Key: constant("user:1")}), http.MethodGet, "")
		}
		require.Equal(t, 1, strings.Count(log.String(), "policy=api"), log.String())
	}
}

// tagged is a limiter of a service whose own back-end decides. Neither type is comparable.
type tagged struct {
	Limiter
	tags []string
}

func (l tagged) Backend() Backend { return taggedBackend{l.Limiter.Backend(), l.tags} }

type taggedBackend struct {
	Backend
	tags []string
}

func (b taggedBackend) Take(ctx context.Context, checks []Check) ([]*Reservation, error) {
	checks[0].backend = b.Backend
	return b.Backend.Take(ctx, checks)
}

func TestABackendThatIsNotComparable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := tagged{memory(t, hourly("tagged", 1), nil), []string{"a"}}
		for range 2 {
			first, err := Admit(t.Context(), Check{Limiter: l, Key: "k", Cost: 1, FailuresOnly: true})
			require.NoError(t, err)
			time.AfterFunc(time.Second, first.Succeed)
			second, err := Admit(first.Context(t.Context()), Check{Limiter: l, Key: "k", Cost: 1, FailuresOnly: true})
			require.NoError(t, err)
			require.True(t, second.Decision().Allowed)
			second.Succeed()
		}
	})
}
