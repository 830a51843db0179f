package outbound_test

import (
	"context"
	"errors"
	"fmt"
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

func transport(t *testing.T, base http.RoundTripper, opts *outbound.Options) *outbound.Transport {
	t.Helper()
	tr, err := outbound.New(base, opts)
	require.NoError(t, err)
	return tr
}

func TestRefusesNonsense(t *testing.T) {
	t.Parallel()
	_, err := outbound.New(nil, &outbound.Options{MaxWait: -time.Second})
	require.ErrorContains(t, err, "MaxWait -1s is negative")
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
				tr := transport(t, up, nil)
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
		tr := transport(t, up, &outbound.Options{MaxWait: 10 * time.Second})
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
		tr := transport(t, up, &outbound.Options{Limiter: l, MaxWait: 5 * time.Second})
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
		client := &http.Client{Transport: transport(t, up, &outbound.Options{MaxWait: 10 * time.Second})}
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

		impatient := &http.Client{Transport: transport(t, up, &outbound.Options{MaxWait: time.Second})}
		_, err := impatient.Get("http://service.example/moved")
		require.ErrorIs(t, err, outbound.ErrWait)
	})
}

// scripted answers by the path of a request, and notes when requests were sent.
type scripted struct {
	mu    sync.Mutex
	start time.Time
	sent  map[string]time.Duration
	reply func(path string) (status int, retryAfter string)
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.sent[r.URL.Path] = time.Since(s.start)
	s.mu.Unlock()
	status, retry := s.reply(r.URL.Path)
	h := http.Header{}
	if retry != "" {
		h.Set("Retry-After", retry)
	}
	return &http.Response{StatusCode: status, Header: h, Body: http.NoBody, Request: r}, nil
}

func (s *scripted) get(t *outbound.Transport, url string) error {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// A pause that the service asks for while a request waits holds for that request too.
func TestALongerPauseMeanwhile(t *testing.T) {
	t.Parallel()
	for name, limited := range map[string]bool{"a pause": false, "a limiter": true} {
		synctest.Test(t, func(t *testing.T) {
			up := &scripted{start: time.Now(), sent: map[string]time.Duration{}, reply: func(path string) (int, string) {
				switch path {
				case "/short":
					return 429, "5"
				case "/long": // in flight for 2 s
					time.Sleep(2 * time.Second)
					return 429, "60"
				}
				return 200, ""
			}}
			o := &outbound.Options{Retries: -1, MaxWait: 2 * time.Minute}
			if limited {
				l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "out", Limit: 1, Window: 5 * time.Second}, nil)
				require.NoError(t, err)
				o.Limiter = l
			}
			tr := transport(t, up, o)
			var wg sync.WaitGroup
			wg.Go(func() { up.get(tr, "http://api.example/long") })
			time.Sleep(time.Second)
			if !limited {
				require.NoError(t, up.get(tr, "http://api.example/short"))
			}
			require.NoError(t, up.get(tr, "http://api.example/after"))
			wg.Wait()
			require.GreaterOrEqual(t, up.sent["/after"], 62*time.Second, name)
		})
	}
}

// The waits of one request add up to MaxWait at most.
func TestMaxWaitIsForTheWholeWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "out", Limit: 1, Window: 50 * time.Second}, nil)
		require.NoError(t, err)
		up := &scripted{sent: map[string]time.Duration{}, reply: func(path string) (int, string) {
			if path == "/first" {
				return 429, "40"
			}
			return 200, ""
		}}
		tr := transport(t, up, &outbound.Options{Retries: -1, Limiter: l, MaxWait: time.Minute})
		require.NoError(t, up.get(tr, "http://api.example/first"))
		time.Sleep(time.Second)
		var late, failed sync.Map
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				start := time.Now()
				if err := up.get(tr, "http://api.example/"); err != nil {
					failed.Store(i, errors.Is(err, outbound.ErrWait))
				}
				late.Store(i, time.Since(start) > time.Minute)
			})
		}
		wg.Wait()
		late.Range(func(_, v any) bool { require.False(t, v.(bool)); return true })
		n := 0
		failed.Range(func(_, v any) bool { n++; require.True(t, v.(bool)); return true })
		require.Equal(t, 1, n)
	})
}

// Requests that wait for one pause have a turn each, also beside a limiter. The turn of a canceled one is for one
// that comes later, also if others wait behind it.
func TestTurnsAfterAPause(t *testing.T) {
	t.Parallel()
	for name, limited := range map[string]bool{"no limiter": false, "a limiter": true} {
		synctest.Test(t, func(t *testing.T) {
			var once sync.Once
			up := &upstream{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				once.Do(func() {
					w.Header().Set("RateLimit-Policy", `"api";q=10;w=10`)
					w.Header().Set("RateLimit", `"api";r=0;t=1`)
				})
			})}
			o := &outbound.Options{}
			if limited {
				l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "out", Limit: 1000, Window: time.Second}, nil)
				require.NoError(t, err)
				o.Limiter = l
			}
			start, tr := time.Now(), transport(t, up, o)
			send := func(ctx context.Context, n int, want bool) {
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						_, err := get(ctx, tr, "")
						require.Equal(t, want, err == nil, "%s: %v", name, err)
					})
				}
				wg.Wait()
			}
			_, err := get(context.Background(), tr, "")
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second/2, cancel)
			var behind sync.WaitGroup
			time.AfterFunc(time.Second/4, func() { behind.Go(func() { send(context.Background(), 5, true) }) })
			send(ctx, 20, false)
			send(context.Background(), 25, true)
			behind.Wait()
			require.Len(t, up.got, 31)
			for i, at := range up.got[1:] {
				require.Equal(t, time.Duration(i+1)*time.Second, at.Sub(start), name)
			}
		})
	}
}

// A request that waits after a redirect while others begin to wait for a pause is behind them.
func TestATurnAfterARedirect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		up := &upstream{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			once.Do(func() {
				w.Header().Set("RateLimit-Policy", `"api";q=10;w=10`)
				w.Header().Set("RateLimit", `"api";r=0;t=1`)
			})
		})}
		start, tr := time.Now(), transport(t, up, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://service.example/", http.NoBody)
			require.NoError(t, err)
			r.Response = &http.Response{Header: http.Header{"Retry-After": {"3"}}}
			_, err = tr.RoundTrip(r)
			require.NoError(t, err)
		})
		synctest.Wait()
		for range 6 {
			wg.Go(func() {
				_, err := get(t.Context(), tr, "")
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, at := range up.got {
			require.Equal(t, time.Duration(i)*time.Second, at.Sub(start))
		}
	})
}

// A host has one pause, however its name is written.
func TestOneHostInSeveralSpellings(t *testing.T) {
	t.Parallel()
	n := 0
	up := &scripted{sent: map[string]time.Duration{}, reply: func(string) (int, string) { n++; return 429, "300" }}
	tr := transport(t, up, nil)
	for _, url := range []string{"https://api.example/", "https://API.example/", "https://api.example:443/", "https://api.example./", "http://api.example:80/"} {
		up.get(tr, url)
	}
	require.Equal(t, 1, n)
	up.get(tr, "https://api.example:8443/")
	require.Equal(t, 2, n)
}

// A Transport that remembers as many pauses as it may forgets an old one for a new one.
func TestManyPausedHosts(t *testing.T) {
	t.Parallel()
	n := 0
	up := &scripted{sent: map[string]time.Duration{}, reply: func(string) (int, string) { n++; return 429, "300" }}
	tr := transport(t, up, nil)
	for i := range 10_005 {
		url := fmt.Sprintf("https://host%d.example/", i)
		up.get(tr, url)
		up.get(tr, url)
		require.Equal(t, i+1, n, url)
	}
}

// A later response may lengthen the pause, also behind turns that come later. The requests that wait keep their order and
// the pace.
func TestTheOrderAfterALongerPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Policy", `"api";q=10;w=20`)
			w.Header().Set("RateLimit", `"api";r=0;t=`+r.Header.Get("Wait"))
		})}
		start, tr := time.Now(), transport(t, up, nil)
		var wg sync.WaitGroup
		var want []string
		for i := range 11 {
			want = append(want, fmt.Sprint(i))
			wg.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://service.example/", strings.NewReader(fmt.Sprint(i)))
				require.NoError(t, err)
				r.Header.Set("Wait", []string{"1", "5", "1"}[min(i, 2)])
				_, err = tr.RoundTrip(r)
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		wg.Wait()
		require.Equal(t, want, up.bodies)
		for i, at := range up.got[2:] {
			require.Equal(t, time.Duration(2*i+6)*time.Second, at.Sub(start))
		}
	})
}

// A response that comes long after a pause has another pace.
func TestThePaceOfAnEarlierPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := &scripted{start: time.Now(), sent: map[string]time.Duration{}, reply: func(path string) (int, string) {
			if path == "/slow" {
				time.Sleep(10 * time.Minute)
				return 429, "1"
			}
			return 200, ""
		}}
		tr := transport(t, paced{up}, &outbound.Options{Retries: -1})
		var wg sync.WaitGroup
		wg.Go(func() { up.get(tr, "http://api.example/slow") })
		time.Sleep(time.Second)
		require.NoError(t, up.get(tr, "http://api.example/paced"))
		wg.Wait()
		for i := range 3 {
			wg.Go(func() { up.get(tr, fmt.Sprint("http://api.example/", i)) })
		}
		wg.Wait()
		for i := range 3 {
			require.Equal(t, 10*time.Minute+time.Second, up.sent[fmt.Sprint("/", i)])
		}
	})
}

// paced is an upstream that asks for a pace in one response.
type paced struct{ http.RoundTripper }

func (p paced) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(r)
	if r.URL.Path == "/paced" {
		resp.Header.Set("RateLimit-Policy", `"api";q=1;w=20`)
		resp.Header.Set("RateLimit", `"api";r=0;t=1`)
	}
	return resp, err
}
