package loginguard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// A request whose query or body names an account is a guess with any method, unless the name comes from elsewhere.
func TestGuessesOfAnyMethod(t *testing.T) {
	t.Parallel()
	basic := func(r *http.Request) string { name, _, _ := r.BasicAuth(); return name }
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
		{method: "GET", target: "/?page=2", account: basic, want: 50},
		{method: "POST", target: "/", account: basic, want: 5},
	} {
		reached := 0
		h := guard(t, loginguard.Options{Account: c.account}).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
		for range 50 {
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			r.SetBasicAuth("alice", "guess")
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.Equal(t, c.want, reached, "%s %s", c.method, c.target)
	}
}
