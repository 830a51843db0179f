package loginguard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/leakcheck"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

var (
	secret = []byte("0123456789abcdef0123456789abcdef")
	guards atomic.Int64
)

// guard returns a guard with a secret of its own.
func guard(t testing.TB, o loginguard.Options) *loginguard.Guard {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g, err := loginguard.New(fmt.Appendf(nil, "%s%d", secret, guards.Add(1)), &o)
	require.NoError(t, err)
	return g
}

// site is a login that answers 200 whatever happens, as many forms do.
type site struct {
	handler http.Handler
	reached atomic.Int64
	right   atomic.Int64
}

func newSite(t testing.TB, o loginguard.Options) *site {
	s := &site{}
	s.handler = guard(t, o).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		if r.PostFormValue("password") == "right" {
			s.right.Add(1)
			ratelimit.AdmissionFrom(r.Context()).Succeed()
		}
		fmt.Fprint(w, "<form>")
	}))
	return s
}

// post sends one login and returns its answer.
func (s *site) post(addr, user, password string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	body := url.Values{"username": {user}, "password": {password}}.Encode()
	r := httptest.NewRequest(http.MethodPost, "/login/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = addr
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func v4(i int) string { return fmt.Sprintf("%d.%d.%d.1:1", 11+i>>16&63, i>>8&255, i&255) } // each in a /24 of its own

func TestWrongPasswordsThatReachTheHandler(t *testing.T) {
	t.Parallel()
	s := newSite(t, loginguard.Options{})
	for range 1000 {
		s.post("203.0.113.5:1", "alice", "wrong")
	}
	require.EqualValues(t, 5, s.reached.Load())
}

// The owner is never refused on a device, or at an address, that has logged in before. On a
// new device there is a challenge.
func TestTheOwnerIsSpared(t *testing.T) {
	t.Parallel()
	for _, attackers := range []int{50, 5000} {
		s := newSite(t, loginguard.Options{Challenge: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPreconditionRequired)
		})})
		first := s.post("198.51.100.7:1", "alice", "right")
		require.Equal(t, 200, first.Code)
		device := first.Result().Cookies()
		require.Len(t, device, 1)
		require.True(t, device[0].HttpOnly && device[0].Secure)
		for i := range attackers {
			for range 2 {
				s.post(v4(i), "alice", "wrong")
			}
		}
		for i := range 50 {
			s.post(fmt.Sprintf("[2001:db8:1:%x::1]:1", i), "alice", "wrong")
		}
		before := s.right.Load()
		for i := range 20 {
			require.Equal(t, 200, s.post(fmt.Sprintf("192.0.2.%d:1", i), "alice", "right", device...).Code, "the device, elsewhere")
			require.Equal(t, 200, s.post("198.51.100.7:1", "alice", "right").Code, "the address, without the cookie")
		}
		require.Equal(t, before+40, s.right.Load())
		require.Equal(t, http.StatusPreconditionRequired, s.post("192.0.2.200:1", "alice", "right").Code, "a new device")
		require.Equal(t, 200, s.post("192.0.2.201:1", "bob", "right").Code, "another account")
	}
}

// A device's own failures are limited, and its cookie is of no use for another account, after
// its time, or with a bit changed.
func TestCookiesOfDevices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, loginguard.Options{Remember: 48 * time.Hour})
		device := s.post("198.51.100.7:1", "alice", "right").Result().Cookies()
		s.reached.Store(0)
		for i := range 100 {
			s.post(v4(i), "alice", "wrong", device...)
		}
		require.EqualValues(t, 5, s.reached.Load())
		s.reached.Store(0)
		for range 100 {
			s.post("203.0.113.9:1", "bob", "wrong", device...)
		}
		require.EqualValues(t, 5, s.reached.Load(), "a stranger to bob's account")
		forged := *device[0]
		forged.Value = strings.Replace(forged.Value, ".", ".9", 1)
		s.reached.Store(0)
		for range 100 {
			s.post("203.0.113.10:1", "alice", "wrong", &forged)
		}
		require.EqualValues(t, 5, s.reached.Load())

		both := s.post("198.51.100.7:1", "bob", "right", device...).Result().Cookies()
		require.Equal(t, 2, strings.Count(both[0].Value, "~")+1, "a till at which two people log in")
		time.Sleep(49 * time.Hour)
		s.reached.Store(0)
		for i := range 100 {
			s.post(v4(1000+i/10), "alice", "wrong", both...)
		}
		require.EqualValues(t, 50, s.reached.Load(), "the cookie has run out: ten strangers")
	})
}

func TestSprayingFromOneNetwork(t *testing.T) {
	t.Parallel()
	var kinds sync.Map
	s := newSite(t, loginguard.Options{Notify: func(_ context.Context, e loginguard.Event) { kinds.Store(e.Kind, e) }})
	for i := range 20_000 {
		s.post(fmt.Sprintf("[2001:db8:1:%x::1]:1", i/5), fmt.Sprint("user", i), "wrong")
	}
	t.Logf("%d of 20,000 accounts sprayed from one /48 reach the handler", s.reached.Load())
	require.LessOrEqual(t, s.reached.Load(), int64(200))
	_, ok := kinds.Load(loginguard.Sprayed)
	require.True(t, ok, "no signal")
}

// body is a request's body that counts what is read of it.
type body struct {
	io.Reader
	read int
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

// An address that is refused has no body read, unless an account that is known there or on its
// device may be in the body.
func TestRefusedBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, loginguard.Options{})
	big := func(addr, user, password string, chunked bool, cookies ...*http.Cookie) (int, int) {
		text := url.Values{"username": {user}, "password": {password}, "padding": {strings.Repeat("x", 60<<10)}}.Encode()
		b := &body{Reader: strings.NewReader(text)}
		r := httptest.NewRequest(http.MethodPost, "/login/", b)
		r.ContentLength = int64(len(text))
		if chunked {
			r.ContentLength = -1
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = addr
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			require.NotEmpty(t, w.Header().Get("Retry-After"))
		}
		return w.Code, b.read
	}
	device := s.post("198.51.100.7:1", "alice", "right").Result().Cookies()
	for i := range 6 {
		for _, addr := range []string{"203.0.113.9:1", "203.0.113.20:1", "198.51.100.7:1"} {
			s.post(addr, fmt.Sprint("user", i), "wrong")
		}
	}
	reached := s.reached.Load()
	for _, chunked := range []bool{false, true} {
		code, read := big("203.0.113.9:1", "alice", "right", chunked)
		require.Equal(t, []int{429, 0}, []int{code, read}, "a stranger")
		code, _ = big("198.51.100.7:1", "alice", "right", chunked)
		require.Equal(t, 200, code, "the known address")
		code, _ = big("203.0.113.20:1", "alice", "right", chunked, device...)
		require.Equal(t, 200, code, "the known device")
		code, _ = big("203.0.113.10:1", "alice", "right", chunked)
		require.Equal(t, 200, code, "an address without failures")
	}
	require.Equal(t, reached+6, s.reached.Load())
}

// 20 correct logins at once behind one address are all served, and 200 wrong ones gain nothing.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reached atomic.Int64
		h := guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			reached.Add(1)
			right := r.PostFormValue("password") == "right"
			time.Sleep(250 * time.Millisecond)
			if right {
				ratelimit.AdmissionFrom(r.Context()).Succeed()
			}
		}))
		s := &site{handler: h}
		send := func(n int, names, password string) (served int64) {
			var ok atomic.Int64
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					if s.post("203.0.113.5:1", fmt.Sprint(names, i), password).Code == 200 {
						ok.Add(1)
					}
				})
			}
			wg.Wait()
			return ok.Load()
		}
		start := time.Now()
		require.EqualValues(t, 20, send(20, "user", "right"))
		require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
		reached.Store(0)
		send(200, "stranger", "wrong")
		require.EqualValues(t, 5, reached.Load())
	})
}

func TestPenaltiesGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, loginguard.Options{})
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < 24*time.Hour {
			before := s.reached.Load()
			s.post("203.0.113.5:1", "alice", "wrong")
			if s.reached.Load() > before {
				at = append(at, time.Since(start).Round(time.Minute))
			}
			time.Sleep(time.Minute)
		}
		t.Logf("guesses in a day of one address: %d", len(at))
		require.LessOrEqual(t, len(at), 30, "an address that does not stop: %v", at)
	})
}

func TestAChallengeThatIsSolved(t *testing.T) {
	t.Parallel()
	s := newSite(t, loginguard.Options{
		Challenge: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPreconditionRequired) }),
		Solved:    func(r *http.Request) bool { c, err := r.Cookie("captcha"); return err == nil && c.Value == "ok" },
	})
	for i := range 60 {
		s.post(v4(i), "alice", "wrong")
	}
	solved := &http.Cookie{Name: "captcha", Value: "ok"}
	require.Equal(t, http.StatusPreconditionRequired, s.post("192.0.2.1:1", "alice", "right").Code)
	require.Equal(t, 200, s.post("192.0.2.1:1", "alice", "right", solved).Code)
	s.reached.Store(0)
	for range 100 {
		s.post("192.0.2.2:1", "alice", "wrong", solved)
	}
	require.EqualValues(t, 5, s.reached.Load(), "the address's own limit stays")
}

// A second factor that is still to come costs nothing and makes no device known.
func TestPending(t *testing.T) {
	t.Parallel()
	h := guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ratelimit.AdmissionFrom(r.Context()).Pending()
		w.WriteHeader(http.StatusPreconditionFailed)
	}))
	s := &site{handler: h}
	for range 50 {
		w := s.post("203.0.113.5:1", "alice", "right")
		require.Equal(t, http.StatusPreconditionFailed, w.Code)
		require.Empty(t, w.Result().Cookies())
	}
}

// A login whose every body is unclear is reported once: all of its accounts have no limit of
// their own.
func TestUnclearBodiesAreReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first string
		want  int
	}{"every body": {"<xml>", 1}, "all but one": {"username=alice", 0}} {
		var log bytes.Buffer
		h := guard(t, loginguard.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Wrap(http.NotFoundHandler())
		for i := range 100 {
			body := "<username>%zz</username>"
			if i == 0 {
				body = c.first + "%zz"
				if c.want == 0 {
					body = c.first
				}
			}
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.RemoteAddr = v4(i)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.Equal(t, c.want, strings.Count(log.String(), "no account can be read"), name)
	}
}

// Without a challenge, strangers at a few networks keep all other strangers out.
func TestAMissingChallengeIsReported(t *testing.T) {
	t.Parallel()
	none := http.NotFoundHandler()
	for want, o := range map[int]loginguard.Options{
		1: {}, 0: {Challenge: none}, -1: {Everyone: ratelimit.Policy{Limit: ratelimit.Unlimited}},
	} {
		var log bytes.Buffer
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := newSite(t, o)
		s.post(v4(1), "alice", "wrong")
		require.Equal(t, max(want, 0), strings.Count(log.String(), "Options.Challenge"), log)
	}
	s := newSite(t, loginguard.Options{})
	for i := range 1000 {
		s.post(fmt.Sprintf("203.0.%d.%d:1", i/30, i%30/5), fmt.Sprint("user", i), "wrong")
	}
	require.EqualValues(t, 1000, s.reached.Load(), "34 networks")
	require.Equal(t, http.StatusTooManyRequests, s.post("198.51.100.7:1", "bob", "right").Code)
}

func TestRefusesNonsense(t *testing.T) {
	t.Parallel()
	_, err := loginguard.New([]byte("short"), nil)
	require.ErrorContains(t, err, "32")
	open := ratelimit.Login()
	open.OnFailure = ratelimit.FailOpen
	for _, o := range []loginguard.Options{
		{Remember: -1},
		{Remember: time.Millisecond},
		{Cookie: "login device"},
		{Cookie: "gerät"},
		{Cookie: "__Host-device", Insecure: true},
		{Cookie: "__secure-device", Insecure: true},
		{MaxPenalty: 31 * 24 * time.Hour},
		{Solved: func(*http.Request) bool { return true }},
		{Address: open},
		{IP: &ratelimit.IPOptions{Header: "X-Real-IP"}},
	} {
		_, err := loginguard.New(secret, &o)
		require.Error(t, err)
	}
}

// guesses simulates a day of an attacker who tries at every address whenever the limits let
// it, and returns how many guesses reach the handler. Each address is in a network of its own,
// which is the worst case.
func guesses(t *testing.T, addresses int, accounts bool) (n int) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, loginguard.Options{})
		user, next := 0, 0
		const step = 15 * time.Minute
		for range 24 * time.Hour / step {
			// Addresses take turns, and one that is refused waits for the next step. When many
			// in a row are refused, the limits that all share are used up.
			for tried, refused := 0, 0; tried < addresses && refused < 300; tried++ {
				addr := v4(next % addresses)
				next++
				for {
					name := "alice"
					if accounts {
						user++
						name = fmt.Sprint("user", user)
					}
					if s.post(addr, name, "wrong").Code != 200 {
						refused++
						break
					}
					refused = 0
				}
			}
			time.Sleep(step)
		}
		n = int(s.reached.Load())
	})
	return n
}

// The table that docs/ratelimit.md publishes is what this test finds.
func TestPublishedTable(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("simulates days of attacks")
	}
	docs, err := os.ReadFile("../../docs/ratelimit.md")
	require.NoError(t, err)
	for _, addresses := range []int{1, 100, 10_000} {
		one, all := guesses(t, addresses, false), guesses(t, addresses, true)
		row := fmt.Sprintf("| %d | %d | %d |", addresses, one, all)
		t.Log(row)
		assert.True(t, strings.Contains(string(docs), row), "publish this row in docs/ratelimit.md: %s", row)
	}
}

// A secret in a file outlives the process, so the cookies of devices stay valid.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "login.key")
	first, err := loginguard.SecretFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loginguard.SecretFile(path)
	if err != nil || string(again) != string(first) {
		t.Fatalf("%q after %q: %v", again, first, err)
	}
	if _, err := loginguard.New(first, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := loginguard.SecretFile(filepath.Join(path, "below")); err == nil {
		t.Fatal("a secret below a file")
	}
}

// Denied responds in the form of the service, after the header fields are set.
func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // of the seconds that are told, none has passed
		guard, err := loginguard.New(secret, &loginguard.Options{
			Address: ratelimit.Policy{Name: "login", Limit: 1, Window: time.Hour},
			Denied: func(w http.ResponseWriter, r *http.Request, d *ratelimit.Decision) {
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprintf(w, "%s refuses %s", d.Binding().Policy, r.URL.Path)
			},
		})
		require.NoError(t, err)
		login := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
		var last *httptest.ResponseRecorder
		for range 2 {
			last = httptest.NewRecorder()
			login.ServeHTTP(last, httptest.NewRequest(http.MethodPost, "/login/", nil))
		}
		assert.Equal(t, http.StatusTooManyRequests, last.Code)
		assert.Equal(t, "login refuses /login/", last.Body.String())
		assert.Equal(t, "3600", last.Header().Get("Retry-After"))
	})
}

// Failed responds in the form of the service while the back-end is not available.
func TestFailed(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{{ratelimit.ErrUnavailable, 503}, {errors.New("secret.internal"), 500}} {
		for _, own := range []bool{false, true} {
			o := loginguard.Options{Limiter: func(p ratelimit.Policy) (ratelimit.Limiter, error) {
				l, err := ratelimit.NewMemory(p, nil)
				return failing{l, c.err}, err
			}}
			if own {
				o.Failed = func(w http.ResponseWriter, _ *http.Request, status int) {
					w.WriteHeader(status)
					fmt.Fprint(w, "<h1>Sorry</h1>")
				}
			}
			w := httptest.NewRecorder()
			guard(t, o).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })).
				ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login/", nil))
			require.Equal(t, c.status, w.Code)
			require.NotContains(t, w.Body.String(), "secret")
			require.Equal(t, own, w.Body.String() == "<h1>Sorry</h1>")
		}
	}
}

// failing is a limiter whose back-end fails.
type failing struct {
	ratelimit.Limiter
	err error
}

func (f failing) Backend() ratelimit.Backend { return f }
func (f failing) Group() any                 { return "failing" }

func (f failing) Take(_ context.Context, checks []ratelimit.Check) ([]*ratelimit.Reservation, error) {
	return make([]*ratelimit.Reservation, len(checks)), f.err
}

func (f failing) Settle(context.Context, []*ratelimit.Reservation, []int) error { return f.err }
