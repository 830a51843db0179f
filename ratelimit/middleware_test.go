package ratelimit

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func memory(t testing.TB, p Policy, o *Options) *Memory {
	t.Helper()
	m, err := NewMemory(p, o)
	require.NoError(t, err)
	return m
}

func wrap(t testing.TB, opts *MiddlewareOptions, next http.HandlerFunc, rules ...Rule) http.Handler {
	t.Helper()
	m, err := NewMiddleware(rules, opts)
	require.NoError(t, err)
	return m.Wrap(next)
}

func byIP(t testing.TB) KeyFunc {
	t.Helper()
	k, err := ByIP(nil)
	require.NoError(t, err)
	return k
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func send(h http.Handler, method, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.RemoteAddr = "203.0.113.7:4711"
	h.ServeHTTP(w, r)
	return w
}

func TestMiddlewareTellsTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, nil, ok, Rule{Limiter: memory(t, Policy{Name: "login", Limit: 2, Window: time.Hour}, nil), Key: byIP(t)})
		start := time.Now().Unix()
		w := send(h, http.MethodGet, "")
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Equal(t, "2", w.Header().Get("X-RateLimit-Limit"))
		require.Equal(t, "1", w.Header().Get("X-RateLimit-Remaining"))
		require.Equal(t, `"login";q=2;w=3600`, w.Header().Get("RateLimit-Policy"))
		require.Empty(t, w.Header().Get("Retry-After"))
		time.Sleep(10 * time.Minute)
		send(h, http.MethodGet, "")

		w = send(h, http.MethodGet, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "0", w.Header().Get("X-RateLimit-Remaining"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "3000", w.Header().Get("Retry-After"), "the first use is free again before the second")
		var body struct {
			Error, Policy    string
			Limit, Remaining int
			RetryAfter       int64 `json:"retry_after"`
			Reset            int64
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Equal(t, "rate_limited", body.Error)
		require.Equal(t, "login", body.Policy)
		require.EqualValues(t, 3000, body.RetryAfter)
		require.Equal(t, start+4200, body.Reset)

		w = send(h, http.MethodHead, "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Zero(t, w.Body.Len())
		time.Sleep(time.Duration(body.RetryAfter) * time.Second)
		require.Equal(t, http.StatusNoContent, send(h, http.MethodGet, "").Code, "whoever waits as told must succeed")
	})
}

func TestLimitsHandlerCostsNothing(t *testing.T) {
	t.Parallel()
	rule := Rule{Limiter: memory(t, API(), nil), Key: byIP(t)}
	send(wrap(t, nil, ok, rule), http.MethodGet, "")
	limits := LimitsHandler(rule)
	for range 100 {
		w := send(limits, http.MethodGet, "")
		require.Equal(t, http.StatusOK, w.Code)
		var body struct{ Limits []limitStatus }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Len(t, body.Limits, 1)
		require.Equal(t, 99, body.Limits[0].Remaining)
		require.Equal(t, 1, body.Limits[0].Used)
	}
}

// Two policies of one name would be one member twice in the headers, and one key in Redis.
func TestRulesNeedNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	a, b := memory(t, API(), nil), memory(t, API(), nil)
	_, err := NewMiddleware([]Rule{{Limiter: a, Key: byIP(t)}, {Limiter: memory(t, Sale(), nil), Key: byIP(t)}, {Limiter: b, Key: byIP(t)}}, nil)
	require.ErrorContains(t, err, `rules 0 and 2 both have a policy "api"`)
}

// hijackable is what a real server's ResponseWriter can do.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }
func (h hijackable) FlushError() error                            { return io.ErrClosedPipe }

// Handlers that stream or take the connection over do so behind a limiter as well,
// whether they ask the old way or the new.
func TestWhatAWriterCanDoStays(t *testing.T) {
	t.Parallel()
	conn, other := net.Pipe()
	defer other.Close()
	defer conn.Close()
	for _, failures := range []bool{false, true} {
		served := false
		h := wrap(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			served = true
			require.ErrorIs(t, http.NewResponseController(w).Flush(), io.ErrClosedPipe)
			old, ok := w.(http.Hijacker)
			require.True(t, ok)
			got, _, err := old.Hijack()
			require.NoError(t, err)
			require.Equal(t, conn, got)
			got, _, err = http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			require.Equal(t, conn, got)
			_, ok = w.(http.Flusher)
			require.True(t, ok)
		}, Rule{Limiter: memory(t, API(), nil), Key: byIP(t), FailuresOnly: failures})
		h.ServeHTTP(hijackable{httptest.NewRecorder(), conn}, httptest.NewRequest(http.MethodGet, "/", nil))
		require.True(t, served)
	}
}
