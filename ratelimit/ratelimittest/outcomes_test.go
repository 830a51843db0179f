package ratelimittest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// returned is the key of a channel in the context of a request. It is closed after the middleware
// has returned.
type returned struct{}

// failures are the ways in which handlers of net/http report a failure, or nothing at all.
var failures = map[string]http.HandlerFunc{
	"401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	"412": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "second factor", http.StatusPreconditionFailed)
	},
	"form with 200":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<form>wrong, try again") },
	`{"auth":0}`:       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"auth":0}`) },
	"302":              func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
	"303":              func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusSeeOther) },
	"204":              func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"nothing":          func(http.ResponseWriter, *http.Request) {},
	"panic":            func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"panic, unmarked":  func(http.ResponseWriter, *http.Request) { panic("wrong") },
	"answer and panic": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok"); panic(http.ErrAbortHandler) },
	"flush":            func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"flush, panic": func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"io.Copy": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("wrong")})
	},
	"events": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			fmt.Fprint(w, "data: wrong\n\n")
			w.(http.Flusher).Flush()
		}
	},
	"early hints": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
	"push": func(w http.ResponseWriter, _ *http.Request) {
		if p, ok := w.(http.Pusher); ok {
			_ = p.Push("/style.css", nil)
		}
	},
	"hijack": func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}
	},
	"hijack as before": func(w http.ResponseWriter, _ *http.Request) {
		if h, ok := w.(http.Hijacker); ok {
			if conn, _, err := h.Hijack(); err == nil {
				conn.Close()
			}
		}
	},
	"time-out": http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "slow").ServeHTTP,
	"success after a time-out": http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		<-r.Context().Value(returned{}).(chan struct{})
		ratelimit.AdmissionFrom(r.Context()).Succeed()
	}), time.Millisecond, "slow").ServeHTTP,
	"failure, then success": func(_ http.ResponseWriter, r *http.Request) {
		ratelimit.AdmissionFrom(r.Context()).Fail()
		ratelimit.AdmissionFrom(r.Context()).Succeed()
	},
}

// byStatus are the failures that a rule with SuccessStatus sees by the status, or does not see.
var byStatus = []string{
	"401", "412", "nothing", "panic", "panic, unmarked", "answer and panic", "flush, panic", "early hints", "push", "hijack", "hijack as before", "time-out",
}

// recovered turns panics into a status, around the limit.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func limited(t testing.TB, l ratelimit.Limiter, success func(int) bool, reached func(context.Context, string)) http.Handler {
	m, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: l, Key: func(*http.Request) string { return "k" }, FailuresOnly: true, SuccessStatus: success}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{kind}", func(w http.ResponseWriter, r *http.Request) {
		kind := r.PathValue("kind")
		reached(r.Context(), kind)
		if fail := failures[kind]; fail != nil {
			fail(w, r)
		}
	})
	h := m.Wrap(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		over := make(chan struct{})
		defer close(over)
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), returned{}, over)))
	})
}

func TestOutcomesOfNetHTTP(t *testing.T) {
	t.Parallel()
	type serve = func(func(testing.TB, ratelimit.Limiter, func(context.Context, string)) http.Handler) func(testing.TB, ratelimit.Limiter, func(context.Context, string)) func(string) Reply
	all := make([]string, 0, len(failures))
	for kind := range failures {
		all = append(all, kind)
	}
	for name, c := range map[string]struct {
		serve   serve
		kinds   []string
		success func(int) bool
		around  func(http.Handler) http.Handler
	}{
		"HTTP/1.1":                        {serve: HTTP, kinds: all},
		"HTTP/1.1, recover outside":       {serve: HTTP, kinds: all, around: recovered},
		"HTTP/2":                          {serve: http2, kinds: all},
		"HTTP/1.1, by status":             {serve: HTTP, kinds: byStatus, success: func(status int) bool { return status < 400 }},
		"HTTP/1.1, by status and recover": {serve: HTTP, kinds: byStatus, success: func(status int) bool { return status < 400 }, around: recovered},
		"HTTP/2, by status":               {serve: http2, kinds: byStatus, success: func(status int) bool { return status < 400 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OutcomeSuite{
				Kinds: c.kinds,
				New: c.serve(func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) http.Handler {
					h := limited(t, l, c.success, reached)
					if c.around != nil {
						h = c.around(h)
					}
					return h
				}),
			}.Run(t)
		})
	}
}

// http2 is HTTP for a server of HTTP/2.
func http2(handler func(t testing.TB, limiter ratelimit.Limiter, reached func(ctx context.Context, kind string)) http.Handler) func(testing.TB, ratelimit.Limiter, func(context.Context, string)) func(string) Reply {
	return func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) Reply {
		server := httptest.NewUnstartedServer(handler(t, l, reached))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		client := server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return func(kind string) Reply {
			resp, err := client.Post(server.URL+"/"+kind, "", http.NoBody)
			if err != nil {
				return Reply{}
			}
			defer resp.Body.Close()
			if resp.ProtoMajor != 2 {
				t.Fatal(resp.Proto)
			}
			body, _ := io.ReadAll(resp.Body)
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			return Reply{resp.StatusCode, time.Duration(seconds) * time.Second, string(body)}
		}
	}
}
