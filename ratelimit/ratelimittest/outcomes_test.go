package ratelimittest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func TestOutcomesOfNetHTTP(t *testing.T) {
	t.Parallel()
	OutcomeSuite{
		Kinds: []string{"status", "form with 200", "redirect", "panic", "hijack", "nothing", `{"auth":0}`},
		New: HTTP(func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) http.Handler {
			m, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: l, Key: func(*http.Request) string { return "k" }, FailuresOnly: true}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.HandleFunc("POST /{kind}", func(w http.ResponseWriter, r *http.Request) {
				kind := r.PathValue("kind")
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
			})
			return m.Wrap(mux)
		}),
	}.Run(t)
}
