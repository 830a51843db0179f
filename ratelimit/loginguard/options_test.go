package loginguard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// A request whose query, body or header names an account is a guess with any method. An account of a cookie has
// logged in before.
func TestGuessesOfAnyMethod(t *testing.T) {
	t.Parallel()
	basic := func(r *http.Request) string { name, _, _ := r.BasicAuth(); return name }
	session := func(r *http.Request) string {
		c, err := r.Cookie("session")
		if err != nil {
			return ""
		}
		return c.Value
	}
	for _, c := range []struct {
		method, target, contentType, body string
		account                           func(*http.Request) string
		want                              int
	}{
		{method: "GET", target: "/?username=alice&password=guess", want: 5},
		{method: "HEAD", target: "/?username=alice", want: 5},
		{method: "GET", target: "/?username=alice&username=x", want: 5},
		{method: "GET", target: "/", contentType: multi, body: part("alice", "") + "--x--", want: 5},
		{method: "GET", target: "/?email=alice", account: func(r *http.Request) string { return r.FormValue("email") }, want: 5},
		{method: "GET", target: "/?email=alice", want: 50},
		{method: "GET", target: "/", want: 50},
		{method: "GET", target: "/?page=2", account: basic, want: 5},
		{method: "HEAD", target: "/", account: basic, want: 5},
		{method: "GET", target: "/", account: func(r *http.Request) string { return r.Header.Get("X-Api-User") }, want: 5},
		{method: "GET", target: "/", account: session, want: 50},
		{method: "GET", target: "/alice", account: func(r *http.Request) string { return r.URL.Path }, want: 50},
		{method: "POST", target: "/", account: basic, want: 5},
	} {
		reached := 0
		h := guard(t, loginguard.Options{Account: c.account}).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
		for range 50 {
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			r.SetBasicAuth("alice", "guess")
			r.Header.Set("X-Api-User", "alice")
			r.AddCookie(&http.Cookie{Name: "session", Value: "alice"})
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.Equal(t, c.want, reached, "%s %s", c.method, c.target)
	}
}
