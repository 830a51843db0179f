package ratelimit

import (
	"context"
	"encoding/json"
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

// away is a back-end that cannot decide.
type away struct {
	Limiter
	res Result
	err error
}

func (a away) Policy() Policy { return Policy{Name: "away"} }

func (a away) Backend() Backend { return &a }

func (a *away) Group() any { return a }

func (a *away) Take(context.Context, []Check) ([]*Reservation, error) {
	return []*Reservation{{result: a.res}}, a.err
}

func (a *away) Settle(context.Context, []*Reservation, []int) error { return nil }

func constant(key string) KeyFunc { return func(*http.Request) string { return key } }

func hourly(name string, n int) Policy { return Policy{Name: name, Limit: n, Window: time.Hour} }

// decode reads a body that must be JSON of the given type, with nothing that a cache keeps.
func decode(t *testing.T, w *httptest.ResponseRecorder, contentType string) map[string]any {
	t.Helper()
	require.Equal(t, contentType, w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return body
}

// What is not a denial is not answered as one, and tells the client nothing of its cause.
func TestAnswersWithoutADecision(t *testing.T) {
	t.Parallel()
	login := memory(t, hourly("login", 5), nil)
	gone, leave := context.WithCancel(context.Background())
	leave()
	for name, c := range map[string]struct {
		rule   Rule
		ctx    context.Context
		status int
		retry  string
	}{
		"closed":        {Rule{Limiter: away{res: Result{RetryAfter: 1500 * time.Millisecond}, err: ErrUnavailable}, Key: constant("k")}, t.Context(), 503, "2"},
		"broken":        {Rule{Limiter: away{err: errors.New("secret.internal:6379")}, Key: constant("k")}, t.Context(), 500, ""},
		"empty key":     {Rule{Limiter: login, Key: constant("")}, t.Context(), 500, ""},
		"negative cost": {Rule{Limiter: login, Key: constant("k"), Cost: func(*http.Request) int { return -1 }}, t.Context(), 500, ""},
		"client gone":   {Rule{Limiter: login, Key: constant("k")}, gone, 503, "1"},
	} {
		for _, failures := range []bool{false, true} {
			for _, problem := range []bool{false, true} {
				c.rule.FailuresOnly = failures
				h := wrap(t, &MiddlewareOptions{ProblemJSON: problem, Logger: slog.New(slog.DiscardHandler)}, func(http.ResponseWriter, *http.Request) {
					t.Error(name, ": let through")
				}, c.rule)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(c.ctx))
				require.Equal(t, c.status, w.Code, name)
				require.Equal(t, c.retry, w.Header().Get("Retry-After"), name)
				require.NotContains(t, w.Body.String(), "secret")
				own := httptest.NewRecorder() // in the form of the service
				wrap(t, &MiddlewareOptions{Logger: slog.New(slog.DiscardHandler), Failed: func(w http.ResponseWriter, r *http.Request, status int) {
					w.WriteHeader(status)
					fmt.Fprint(w, "sorry, ", r.URL.Path)
				}}, ok, c.rule).ServeHTTP(own, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(c.ctx))
				require.Equal(t, c.status, own.Code, name)
				require.Equal(t, c.retry, own.Header().Get("Retry-After"), name)
				require.Equal(t, "sorry, /", own.Body.String())
				if problem {
					require.EqualValues(t, c.status, decode(t, w, "application/problem+json")["status"])
				} else {
					require.NotEqual(t, "rate_limited", decode(t, w, "application/json")["error"])
				}
			}
		}
	}
	r, err := login.Peek(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, 5, r.Remaining)
}

// A request that can never fit is told so, and not when to come again.
func TestAnswersToWhatNeverFits(t *testing.T) {
	t.Parallel()
	blocked := memory(t, API(), &Options{LimitFunc: func(context.Context, string) (int, bool) { return 0, true }})
	for _, rule := range []Rule{
		{Limiter: blocked, Key: constant("tenant:1")},
		{Limiter: memory(t, hourly("login", 5), nil), Key: constant("k"), Cost: func(*http.Request) int { return 6 }},
	} {
		w := send(wrap(t, nil, ok, rule), http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Empty(t, w.Header().Get("Retry-After"))
		body := decode(t, w, "application/json")
		require.NotContains(t, body, "retry_after")
		require.Contains(t, body["message"], "now or later")
	}
}

func TestProblemNamesWhatIsViolated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // of the seconds that are told, none has passed
		h := wrap(t, &MiddlewareOptions{ProblemJSON: true}, ok,
			Rule{Limiter: memory(t, hourly("loose", 50), nil), Key: constant("k")},
			Rule{Limiter: memory(t, hourly("tight", 1), nil), Key: constant("k")})
		send(h, http.MethodGet, "")
		w := send(h, http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		body := decode(t, w, "application/problem+json")
		require.Equal(t, "https://iana.org/assignments/http-problem-types#quota-exceeded", body["type"])
		require.Equal(t, []any{"tight"}, body["violated-policies"])
		require.EqualValues(t, 3600, body["retry_after"])
		require.Equal(t, "1", w.Header().Get("X-RateLimit-Limit"), "the policy that denies binds")
		require.Equal(t, "49", strings.Split(strings.Split(w.Header().Get("RateLimit"), "r=")[1], ";")[0], "a denial takes from none")
	})
}

func TestHeaderOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // of the seconds that are told, none has passed
		rule := Rule{Limiter: memory(t, hourly("p", 1), nil), Key: constant("k")}
		w := send(wrap(t, &MiddlewareOptions{DeltaReset: true}, ok, rule), http.MethodGet, "")
		require.Equal(t, "3600", w.Header().Get("X-RateLimit-Reset"))
		w = send(wrap(t, nil, ok, rule), http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		exposed := http.Header{}
		for name := range strings.SplitSeq(ExposeHeaders, ", ") {
			require.NotEmpty(t, w.Header().Get(name), name)
			exposed.Set(name, "")
		}
		for name := range w.Header() {
			if name != "Content-Type" && name != "Cache-Control" { // scripts of other origins may read these
				require.Contains(t, exposed, name)
			}
		}
		w = send(wrap(t, &MiddlewareOptions{NoHeaders: true}, ok, rule), http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "3600", w.Header().Get("Retry-After"))
		require.Len(t, w.Header(), 3)
		w = send(wrap(t, &MiddlewareOptions{Denied: func(w http.ResponseWriter, _ *http.Request, d *Decision) {
			http.Error(w, d.Binding().Policy, http.StatusTeapot)
		}}, ok, rule), http.MethodGet, "")
		require.Equal(t, http.StatusTeapot, w.Code)
		require.Equal(t, "p\n", w.Body.String())
		require.Equal(t, "3600", w.Header().Get("Retry-After"))
	})
}

// The stricter of two nested limiters is the one that X-RateLimit tells of, whichever lies
// outside; RateLimit tells of both.
func TestNestedLimiters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ outer, inner int }{{3, 9}, {9, 3}} {
		inner := wrap(t, nil, ok, Rule{Limiter: memory(t, hourly("inner", c.inner), nil), Key: constant("k")})
		outer := wrap(t, nil, inner.ServeHTTP, Rule{Limiter: memory(t, hourly("outer", c.outer), nil), Key: constant("k")})
		w := send(outer, http.MethodGet, "")
		require.Equal(t, "3", w.Header().Get("X-RateLimit-Limit"))
		require.Equal(t, "2", w.Header().Get("X-RateLimit-Remaining"))
		require.Len(t, strings.Split(w.Header().Get("RateLimit"), ", "), 2)
		require.Len(t, strings.Split(w.Header().Get("RateLimit-Policy"), ", "), 2)
		for range 2 {
			send(outer, http.MethodGet, "")
		}
		w = send(outer, http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "3", w.Header().Get("X-RateLimit-Limit"))
		require.Equal(t, "0", w.Header().Get("X-RateLimit-Remaining"))
	}
}

// What is left out is not counted, and not told of.
func TestSkipAndFreeRequests(t *testing.T) {
	t.Parallel()
	l := memory(t, hourly("p", 1), nil)
	for _, rule := range []Rule{
		{Limiter: l, Key: constant("k"), Skip: func(*http.Request) bool { return true }},
		{Limiter: l, Key: constant("k"), Cost: func(*http.Request) int { return 0 }},
		{Limiter: l, Key: constant("k"), Skip: func(*http.Request) bool { return true }, FailuresOnly: true},
	} {
		for range 3 {
			w := send(wrap(t, nil, ok, rule), http.MethodGet, "")
			require.Equal(t, http.StatusNoContent, w.Code)
			require.Empty(t, w.Header())
		}
	}
	require.Zero(t, l.Stats().Keys)
}

func TestShadowInTheMiddleware(t *testing.T) {
	t.Parallel()
	p := hourly("p", 1)
	p.Shadow = true
	h := wrap(t, nil, ok, Rule{Limiter: memory(t, p, nil), Key: constant("k")})
	for range 3 {
		w := send(h, http.MethodGet, "")
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Empty(t, w.Header(), "a policy that only watches is invisible")
	}
}

// A policy that only watches refuses no cost and no limit of its LimitFunc, and delays no request.
func TestShadowNeitherRefusesNorDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := hourly("watched", 1)
		p.Shadow = true
		high := memory(t, p, &Options{LimitFunc: func(context.Context, string) (int, bool) { return maxLimit + 1, true }})
		for name, rule := range map[string]Rule{
			"a cost above the limit": {Limiter: memory(t, p, nil), Cost: func(*http.Request) int { return 9 }},
			"a limit too high":       {Limiter: high},
			"a delay":                {Limiter: memory(t, p, nil), Delay: 5 * time.Hour},
			"a full queue":           {Limiter: memory(t, p, &Options{MaxQueue: 1}), Delay: time.Millisecond},
		} {
			rule.Key = constant("k")
			h := wrap(t, nil, ok, rule)
			start := time.Now()
			for range 5 {
				require.Equal(t, http.StatusNoContent, send(h, http.MethodGet, "").Code, name)
			}
			require.Zero(t, time.Since(start), name)
		}
		require.EqualValues(t, 5, high.Stats().BadLimits)
		r, err := high.Allow(t.Context(), "k")
		require.NoError(t, err)
		require.True(t, r.Shadowed && r.Limit == 1, "the policy's own limit watches: %+v", r)
		r, err = memory(t, p, nil).Wait(t.Context(), "k", 1)
		require.NoError(t, err)
		require.True(t, r.Allowed)
	})
}

// Failures are counted before their handlers have answered, so that tries sent at once
// gain nothing; those that panic stay counted, and early hints are no answer.
func TestRefundCannotBeOutrun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, refundCannotBeOutrun)
}

func refundCannotBeOutrun(t *testing.T) {
	rule := Rule{Limiter: memory(t, hourly("login", 5), nil), Key: constant("k"), FailuresOnly: true}
	var handled, denied atomic.Int32
	answer := make(chan struct{})
	h := wrap(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		handled.Add(1)
		<-answer
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusUnauthorized)
	}, rule)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if send(h, http.MethodPost, "").Code == http.StatusTooManyRequests && denied.Add(1) == 35 {
				close(answer)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 5, handled.Load())

	rule.Limiter = memory(t, hourly("login", 2), nil)
	hinting := wrap(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		AdmissionFrom(r.Context()).Succeed()
		w.Write([]byte("welcome"))
	}, rule)
	for range 10 {
		require.NotEqual(t, http.StatusTooManyRequests, send(hinting, http.MethodPost, "").Code)
	}
	crashing := wrap(t, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, rule)
	for range 2 {
		require.Panics(t, func() { send(crashing, http.MethodPost, "") })
	}
	require.Equal(t, http.StatusTooManyRequests, send(crashing, http.MethodPost, "").Code)
}

// Hooks hear each decision once, and of a key that comes near its limit once a crossing.
func TestTraceOfMemory(t *testing.T) {
	t.Parallel()
	var near, decided []Result
	l := memory(t, hourly("p", 5), &Options{Trace: &Trace{
		Decided:   func(_ context.Context, e DecidedEvent) { decided = append(decided, e.Result) },
		NearLimit: func(_ context.Context, e DecidedEvent) { near = append(near, e.Result) },
	}})
	for range 3 * denialRun {
		_, err := l.Allow(t.Context(), "k")
		require.NoError(t, err)
		_, err = l.Peek(t.Context(), "k")
		require.NoError(t, err)
	}
	require.Len(t, decided, 3*denialRun)
	require.Len(t, near, 1)
	require.Equal(t, 1, near[0].Remaining, "80 of 100")
	d, err := Decide(t.Context(), Check{Limiter: l, Key: "a", Cost: 4}, Check{Limiter: l, Key: "b", Cost: 1})
	require.NoError(t, err)
	require.True(t, d.Allowed)
	require.Len(t, near, 2)
	require.Len(t, decided, 3*denialRun+2)
}

func TestLimitsHandlerAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // of the seconds that are told, none has passed
		off := memory(t, Policy{Name: "off", Limit: Unlimited}, nil)
		full := memory(t, hourly("full", 1), nil)
		_, err := full.Allow(t.Context(), "k")
		require.NoError(t, err)
		h := LimitsHandler(Rule{Limiter: off, Key: constant("k")}, Rule{Limiter: full, Key: constant("k")},
			Rule{Limiter: full, Key: constant("k"), Skip: func(*http.Request) bool { return true }})
		w := send(h, http.MethodGet, "")
		require.Equal(t, http.StatusOK, w.Code)
		limits := decode(t, w, "application/json")["limits"].([]any)
		require.Len(t, limits, 2)
		require.EqualValues(t, Unlimited, limits[0].(map[string]any)["limit"])
		require.EqualValues(t, 3600, limits[1].(map[string]any)["retry_after"])
		require.EqualValues(t, 1, limits[1].(map[string]any)["used"])
		require.Zero(t, send(h, http.MethodHead, "").Body.Len())
		w = send(h, http.MethodPost, "")
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		require.Equal(t, http.StatusServiceUnavailable, send(LimitsHandler(Rule{Limiter: full, Key: constant("")}), http.MethodGet, "").Code)
	})
}

// A limiter that somebody has wrapped, in a type that Go cannot compare, is a limiter.
func TestDecideOverWrappedLimiters(t *testing.T) {
	t.Parallel()
	type wrapped struct {
		Limiter
		_ []string
	}
	a, b := wrapped{Limiter: memory(t, hourly("a", 1), nil)}, wrapped{Limiter: memory(t, hourly("b", 1), nil)}
	for _, want := range []bool{true, false} {
		d, err := Decide(t.Context(), Check{Limiter: a, Key: "k", Cost: 1}, Check{Limiter: b, Key: "k", Cost: 1})
		require.NoError(t, err)
		require.Equal(t, want, d.Allowed)
	}
}
