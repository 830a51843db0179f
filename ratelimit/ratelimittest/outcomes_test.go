package ratelimittest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func TestOutcomesOfNetHTTP(t *testing.T) {
	t.Parallel()
	OutcomeSuite{
		Kinds: []string{"status", "form with 200", "redirect", "panic", "hijack", "nothing", `{"auth":0}`},
		New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) (bool, time.Duration) {
			m, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: l, Key: func(*http.Request) string { return "k" }, FailuresOnly: true}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kind := r.URL.Query().Get("kind")
				reached(r.Context(), kind)
				switch kind {
				case "status":
					w.WriteHeader(http.StatusUnauthorized)
				case "redirect":
					http.Redirect(w, r, "/login", http.StatusSeeOther)
				case "panic":
					panic(http.ErrAbortHandler)
				case "hijack":
					conn, _, err := http.NewResponseController(w).Hijack()
					if err == nil {
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						conn.Close()
					}
				case "nothing":
				default:
					fmt.Fprint(w, kind)
				}
			})))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			t.Cleanup(server.Close)
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			return func(kind string) (bool, time.Duration) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.URL.RawQuery = url.Values{"kind": {kind}}.Encode()
				resp, err := client.Do(req)
				if err != nil {
					return false, 0
				}
				resp.Body.Close()
				seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
				return resp.StatusCode == http.StatusTooManyRequests, time.Duration(seconds) * time.Second
			}
		},
	}.Run(t)
}
