package health

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNegotiation(t *testing.T) {
	const (
		hj   = "application/health+json"
		js   = "application/json"
		text = "text/plain; charset=utf-8"
		html = "text/html; charset=utf-8"
	)
	r := newRegistry(t, &Options{Authorize: BearerToken("t0ken")}, passing("a"))
	for _, c := range []struct{ accept, query, want string }{
		{"", "", hj},
		{"*/*", "", hj},
		{"application/json", "", js},
		{"application/health+json", "", hj},
		{"application/*", "", hj},
		{"text/plain", "", text},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "", html},
		{"application/json;q=0.5, text/plain;q=0.9", "", text},
		{"text/html;q=0, */*", "", hj},
		{"text/*", "", text},
		{"TEXT/HTML", "", html},
		{"image/png", "", hj},
		{"nonsense", "", hj},
		{";;;q=9,,,", "", hj},
		{"text/html;q=NaN", "", hj},
		{"text/plain, text/html", "", text},
		{"text/html, text/plain", "", html},
		{"text/html", "?format=json", js},
		{"", "?format=text", text},
		{"", "?format=html", html},
		{"text/html", "?format=nonsense", hj},
	} {
		for _, token := range []string{"", "Bearer t0ken"} {
			for _, path := range []string{"/health/", "/ready/", "/alive/"} {
				w := get(t, r.Handler(), path+c.query, "Accept", c.accept, "Authorization", token)
				require.Equal(t, http.StatusOK, w.Code, "never 406")
				require.Equal(t, c.want, w.Header().Get("Content-Type"), "%s %q %q", path, c.accept, c.query)
				require.Contains(t, w.Header().Get("Vary"), "Accept")
				require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			}
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.5,*/*")
	f.Add("a/b;q=1;q=0,;,=")
	f.Fuzz(func(t *testing.T, accept string) {
		if got := bestFormat(accept); got >= formats {
			t.Fatalf("%q gives %d", accept, got)
		}
	})
}
