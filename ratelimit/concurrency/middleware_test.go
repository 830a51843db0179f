package concurrency

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func wrapInFlight(t testing.TB, l Limiter, o *MiddlewareOptions, next http.HandlerFunc) http.Handler {
	t.Helper()
	m, err := NewMiddleware(l, byIP(t), o)
	require.NoError(t, err)
	return m.Wrap(next)
}

// idle waits until nothing is in flight.
func idle(t testing.TB, c *Memory) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Stats().InFlight == 0 }, 20*time.Second, time.Millisecond)
}

func get(t testing.TB, ctx context.Context, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	return http.DefaultTransport.(*http.Transport).Clone().RoundTrip(req)
}

func TestMiddlewareTellsTheClient(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 2, nil)
	for range 2 {
		mustAcquire(t, c, "ip:203.0.113.7")
	}
	served := 0
	h := wrapInFlight(t, c, nil, func(http.ResponseWriter, *http.Request) { served++ })
	w := send(h, http.MethodGet, "")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, `"exports";r=0`, w.Header().Get("RateLimit"))
	require.Equal(t, `"exports";q=2;qu="concurrent-requests"`, w.Header().Get("RateLimit-Policy"))
	require.Empty(t, w.Header().Get("X-RateLimit-Limit"), "its unit is another")
	var body struct {
		Error, Message, Policy string
		Limit, Remaining       int
		RetryAfter             int64 `json:"retry_after"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Equal(t, "concurrency_limited", body.Error)
	require.Equal(t, "exports", body.Policy)
	require.Equal(t, 2, body.Limit)
	require.EqualValues(t, 1, body.RetryAfter)
	require.NotEmpty(t, body.Message)

	w = send(h, http.MethodHead, "")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Zero(t, w.Body.Len())
	require.Zero(t, served)

	problem := wrapInFlight(t, c, &MiddlewareOptions{ProblemJSON: true, NoHeaders: true}, ok)
	w = send(problem, http.MethodGet, "")
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Empty(t, w.Header().Get("RateLimit"))
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())

	full := wrapInFlight(t, c, &MiddlewareOptions{Status: http.StatusServiceUnavailable}, ok)
	w = send(full, http.MethodGet, "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())

	own := wrapInFlight(t, c, &MiddlewareOptions{
		Denied: func(w http.ResponseWriter, _ *http.Request, r ratelimit.Result) {
			http.Error(w, r.Policy, http.StatusTeapot)
		},
	}, ok)
	require.Equal(t, http.StatusTeapot, send(own, http.MethodGet, "").Code)
	skipped := wrapInFlight(t, c, &MiddlewareOptions{Skip: func(*http.Request) bool { return true }}, ok)
	require.Equal(t, http.StatusNoContent, send(skipped, http.MethodGet, "").Code)
}

// Beside a limit of a rate, each keeps its member of the lists.
func TestMiddlewareBesideALimiter(t *testing.T) {
	t.Parallel()
	inner := wrapInFlight(t, concurrency(t, 2, nil), nil, ok)
	api, err := ratelimit.NewMemory(ratelimit.API(), nil)
	require.NoError(t, err)
	outer, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: api, Key: byIP(t)}}, nil)
	require.NoError(t, err)
	h := outer.Wrap(inner)
	w := send(h, http.MethodGet, "")
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, "100", w.Header().Get("X-RateLimit-Limit"))
	require.Equal(t, []string{`"api";r=99;t=3600, "exports";r=1`}, w.Header()["Ratelimit"])
	require.Equal(t, []string{`"api";q=100;w=3600, "exports";q=2;qu="concurrent-requests"`}, w.Header()["Ratelimit-Policy"])
}

// A policy that only watches refuses no request and is in no header field.
func TestMiddlewareOfAShadowPolicy(t *testing.T) {
	t.Parallel()
	c, err := New(Policy{Name: "watched", Limit: 1, Shadow: true, Wait: time.Minute}, nil)
	require.NoError(t, err)
	for weight := range 3 {
		inner := http.Handler(http.HandlerFunc(ok))
		for range 2 { // the second one finds the slot taken
			inner = wrapInFlight(t, c, &MiddlewareOptions{Weight: func(*http.Request) int { return weight + 1 }}, inner.ServeHTTP)
		}
		w := send(inner, http.MethodGet, "")
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Empty(t, w.Header())
	}
	idle(t, c)
}

func TestMiddlewareFreesTheSlot(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 1, nil)
	started := make(chan struct{}, 1)
	server := httptest.NewServer(wrapInFlight(t, c, nil, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/wait":
			started <- struct{}{}
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	_, err := get(t, t.Context(), server.URL+"/panic")
	require.Error(t, err)
	idle(t, c)

	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-started
		for range 3 {
			if resp, err := get(t, t.Context(), server.URL); err == nil {
				if resp.StatusCode != http.StatusTooManyRequests {
					t.Errorf("status %d while the slot was taken", resp.StatusCode)
				}
				resp.Body.Close()
			}
		}
		leave()
	}()
	_, err = get(t, ctx, server.URL+"/wait")
	require.ErrorIs(t, err, context.Canceled)
	idle(t, c)
	resp, err := get(t, t.Context(), server.URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	resp.Body.Close()
}

// The handler gets the server's own ResponseWriter: streams flush, and connections can
// be taken over, while the slot is held.
func TestMiddlewareStreams(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 1, nil)
	next := make(chan struct{})
	server := httptest.NewServer(wrapInFlight(t, c, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			<-next
			conn.Close()
			return
		}
		if _, ok := w.(http.Flusher); !ok {
			t.Error("no http.Flusher")
		}
		io.WriteString(w, "one\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		<-next
		io.WriteString(w, "two\n")
	}))
	defer server.Close()
	resp, err := get(t, t.Context(), server.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "one\n", line)
	require.Equal(t, 1, c.Stats().InFlight, "a stream is in flight until it ends")
	next <- struct{}{}
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "two\n", line)
	idle(t, c)

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	io.WriteString(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	line, err = bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "101")
	require.Equal(t, 1, c.Stats().InFlight)
	next <- struct{}{}
	idle(t, c)
}

// failing is a back-end that answers with an error.
type failing struct{ err error }

func (failing) Policy() Policy { return Policy{Name: "failing", Limit: 1} }

func (f failing) Acquire(context.Context, string, int) (*Slot, error) {
	return NewSlot(ratelimit.Result{RetryAfter: 1500 * time.Millisecond}, nil), f.err
}

func TestMiddlewareOfAFailingBackend(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		ratelimit.ErrUnavailable:           http.StatusServiceUnavailable,
		errors.New("secret.internal:6379"): http.StatusInternalServerError,
	} {
		w := send(wrapInFlight(t, failing{err}, &MiddlewareOptions{Logger: slog.New(slog.DiscardHandler)}, ok), http.MethodGet, "")
		require.Equal(t, want, w.Code)
		require.NotContains(t, w.Body.String(), "secret")
		require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
		if want == http.StatusServiceUnavailable {
			require.Equal(t, "2", w.Header().Get("Retry-After"))
		}
	}
}

// lease is one that a test loses.
type lease struct{ lost context.Context }

func (l lease) Release() error        { return ErrSlotLost }
func (l lease) Held() bool            { return l.lost.Err() == nil }
func (l lease) Lost() context.Context { return l.lost }
func (l lease) Token() int64          { return 1 }

type leasing struct{ lost context.Context }

func (leasing) Policy() Policy { return Policy{Name: "leasing", Limit: 1} }

func (l leasing) Acquire(context.Context, string, int) (*Slot, error) {
	return NewSlot(ratelimit.Result{Allowed: true, Limit: 1}, lease(l)), nil
}

func TestMiddlewareEndsWhatIsLost(t *testing.T) {
	t.Parallel()
	lost, lose := context.WithCancel(context.Background())
	h := wrapInFlight(t, leasing{lost}, &MiddlewareOptions{EndLost: true}, func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.Context().Err())
		lose()
		<-r.Context().Done()
		require.ErrorIs(t, context.Cause(r.Context()), ErrSlotLost)
	})
	require.Equal(t, http.StatusOK, send(h, http.MethodGet, "").Code)
}
