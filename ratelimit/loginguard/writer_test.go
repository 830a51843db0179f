package loginguard_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// logged returns options whose log is in the buffer. They have a challenge, because the guard warns without one.
func logged() (*bytes.Buffer, loginguard.Options) {
	log := new(bytes.Buffer)
	return log, loginguard.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Challenge: http.NotFoundHandler()}
}

func succeed(r *http.Request) { ratelimit.AdmissionFrom(r.Context()).Succeed() }

// The device's cookie joins the cookies of the handler, however the handler responds after it has stated a success.
func TestTheCookieIsSent(t *testing.T) {
	t.Parallel()
	for name, respond := range map[string]func(http.ResponseWriter){
		"nothing": func(http.ResponseWriter) {},
		"status":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusSeeOther) },
		"early hints": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		},
		"body":     func(w http.ResponseWriter) { _, _ = w.Write([]byte("ok")) },
		"string":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, "ok") },
		"sendfile": func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("ok")) },
		"flush":    func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"control":  func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	} {
		for _, timeout := range []bool{false, true} {
			if timeout && (name == "sendfile" || name == "flush" || name == "early hints") {
				continue // http.TimeoutHandler has none of them
			}
			log, o := logged()
			var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				succeed(r)
				http.SetCookie(w, &http.Cookie{Name: "session", Value: "s"})
				w.Header().Set("Set-Cookie", w.Header().Get("Set-Cookie")) // it replaces all others
				respond(w)
			})
			if timeout {
				h = http.TimeoutHandler(h, time.Minute, "")
			}
			server := httptest.NewServer(guard(t, o).Wrap(h))
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			resp, err := client.Post(server.URL, form, strings.NewReader("username=alice"))
			require.NoError(t, err)
			resp.Body.Close()
			server.Close()
			var got []string
			for _, c := range resp.Cookies() {
				got = append(got, c.Name)
			}
			require.ElementsMatch(t, []string{"session", "login_device"}, got, "%s, http.TimeoutHandler: %v", name, timeout)
			require.Empty(t, log.String())
		}
	}
}

// A success that is stated after the header was sent, or on a hijacked connection, is reported once.
func TestACookieThatComesTooLate(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"body":  func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")); succeed(r) },
		"flush": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); succeed(r) },
		"hijack": func(w http.ResponseWriter, r *http.Request) {
			succeed(r)
			conn, _, err := w.(http.Hijacker).Hijack()
			require.NoError(t, err)
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
			conn.Close()
		},
	} {
		log, o := logged()
		server := httptest.NewServer(guard(t, o).Wrap(h))
		for range 3 {
			resp, err := http.Post(server.URL, form, strings.NewReader("username=alice"))
			require.NoError(t, err, name)
			resp.Body.Close()
			require.Empty(t, resp.Cookies(), name)
		}
		server.Close()
		require.Equal(t, 1, strings.Count(log.String(), "before it writes"), "%s: %s", name, log)
	}
}

// A handler that states a success after http.TimeoutHandler has sent its header touches no header. One that states it at
// the same moment is no data race.
func TestASuccessAfterTheTimeout(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log, o := logged()
			var w *sent
			h := guard(t, o).Wrap(http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				header := w.header
				<-r.Context().Done()
				if after {
					<-header
				}
				succeed(r)
			}), time.Second, "late"))
			for i := range 50 {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("username=alice"))
				r.RemoteAddr = v4(i)
				w = &sent{httptest.NewRecorder(), make(chan struct{})}
				h.ServeHTTP(w, r)
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				if after {
					require.Empty(t, w.Header()["Set-Cookie"])
				}
				synctest.Wait()
			}
			require.LessOrEqual(t, strings.Count(log.String(), "before it writes"), 1)
		})
	}
}

// sent is a recorder that reports when the header is sent.
type sent struct {
	*httptest.ResponseRecorder
	header chan struct{}
}

func (s *sent) WriteHeader(status int) {
	s.ResponseRecorder.WriteHeader(status)
	close(s.header)
}

// The handler can do with its response writer what the server's writer can do.
func TestAbilitiesOfTheWriter(t *testing.T) {
	t.Parallel()
	var errs []error
	guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _, hijack := w.(http.Hijacker).Hijack()
		errs = append(errs, hijack, w.(http.Pusher).Push("/style.css", nil), http.NewResponseController(w).SetReadDeadline(time.Time{}))
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	for _, err := range errs {
		require.ErrorIs(t, err, http.ErrNotSupported)
	}
	require.Len(t, errs, 3)
	pusher := &pusher{ResponseRecorder: httptest.NewRecorder()}
	guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		require.NoError(t, w.(http.Pusher).Push("/style.css", nil))
		require.NoError(t, http.NewResponseController(w).SetReadDeadline(time.Time{}))
	})).ServeHTTP(pusher, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, "/style.css", pusher.target)
}

type pusher struct {
	*httptest.ResponseRecorder
	target string
}

func (p *pusher) SetReadDeadline(time.Time) error { return nil }

func (p *pusher) Push(target string, _ *http.PushOptions) error {
	p.target = target
	return nil
}
