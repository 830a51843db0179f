package outbound_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/outbound"
)

// upstream is a service with a limit of its own, in the process.
type upstream struct {
	mu      sync.Mutex
	handler http.Handler
	got     []time.Time
	bodies  []string
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.mu.Lock()
	u.got = append(u.got, time.Now())
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		u.bodies = append(u.bodies, string(b))
	}
	u.mu.Unlock()
	w := &writer{header: http.Header{}}
	u.handler.ServeHTTP(w, r)
	return &http.Response{StatusCode: max(w.status, 200), Header: w.header, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(p []byte) (int, error) { return len(p), nil }
func (w *writer) WriteHeader(s int)           { w.status = s }

func get(ctx context.Context, t *outbound.Transport, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://service.example/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return t.RoundTrip(r)
}

// A client behind the transport never sees the upstream's refusals, whichever way it says them.
func TestObeysTheUpstream(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]*ratelimit.MiddlewareOptions{"all fields": nil, "Retry-After alone": {NoHeaders: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "api", Limit: 5, Window: 10 * time.Second}, nil)
				require.NoError(t, err)
				m, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: l, Key: func(*http.Request) string { return "k" }}}, options)
				require.NoError(t, err)
				up := &upstream{handler: m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))}
				tr := outbound.New(up, nil)
				for range 20 {
					resp, err := get(t.Context(), tr, "body")
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
				}
				require.LessOrEqual(t, len(up.got), 26)
				for _, b := range up.bodies {
					require.Equal(t, "body", b)
				}
			})
		})
	}
}

func TestRefusesWhatWouldBeTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(30*time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		})}
		tr := outbound.New(up, &outbound.Options{MaxWait: 10 * time.Second})
		resp, err := get(t.Context(), tr, "x")
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		start := time.Now()
		_, err = get(t.Context(), tr, "x")
		require.ErrorIs(t, err, outbound.ErrWait)
		require.Zero(t, time.Since(start))
		require.Len(t, up.got, 1)
	})
}

func TestOwnLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "out", Limit: 10, Window: time.Second}, nil)
		require.NoError(t, err)
		up := &upstream{handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		tr := outbound.New(up, &outbound.Options{Limiter: l, MaxWait: 5 * time.Second})
		var wg sync.WaitGroup
		var mu sync.Mutex
		late := 0
		for range 100 {
			wg.Go(func() {
				if _, err := get(t.Context(), tr, "x"); errors.Is(err, outbound.ErrWait) {
					mu.Lock()
					late++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Equal(t, 40, late, "those that would wait longer than MaxWait")
		for i := 10; i < len(up.got); i++ {
			require.GreaterOrEqual(t, up.got[i].Sub(up.got[i-10]), time.Second)
		}
	})
}

// A job that takes a while says so with 202 and Retry-After. Other requests are sent at once. A
// redirect with Retry-After delays the request that follows it, and no other.
func TestRetryAfterOfASuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/moved":
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "/here")
				w.WriteHeader(http.StatusFound)
			case "/here":
			default:
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(http.StatusAccepted)
			}
		})}
		client := &http.Client{Transport: outbound.New(up, &outbound.Options{MaxWait: 10 * time.Second})}
		send := func(path string, status int, want time.Duration) {
			start := time.Now()
			resp, err := client.Get("http://service.example" + path)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, status, resp.StatusCode)
			require.Equal(t, want, time.Since(start))
		}
		for range 3 {
			send("/job", http.StatusAccepted, 0)
		}
		send("/moved", http.StatusOK, 7*time.Second)
		send("/job", http.StatusAccepted, 0)

		impatient := &http.Client{Transport: outbound.New(up, &outbound.Options{MaxWait: time.Second})}
		_, err := impatient.Get("http://service.example/moved")
		require.ErrorIs(t, err, outbound.ErrWait)
	})
}
