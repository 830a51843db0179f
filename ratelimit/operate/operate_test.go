package operate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

func limiters(t *testing.T) map[string]operate.Limiter {
	memory, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	require.NoError(t, err)
	client := redis.NewUniversalClient(redislimit.ClientOptions(testserver.Redis(t).Addr()))
	t.Cleanup(func() { client.Close() })
	store, err := redislimit.New(client, &redislimit.Options{Timeout: 10 * time.Second})
	require.NoError(t, err)
	shared, err := store.Limiter(ratelimit.Login(), nil)
	require.NoError(t, err)
	return map[string]operate.Limiter{"memory": memory, "redis": shared}
}

// While Redis is away, an operator gets an error and not an empty list.
func TestRedisAway(t *testing.T) {
	server := testserver.Redis(t)
	client := redis.NewUniversalClient(redislimit.ClientOptions(server.Addr()))
	t.Cleanup(func() { client.Close() })
	store, err := redislimit.New(client, &redislimit.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	l, err := store.Limiter(ratelimit.Login(), nil)
	require.NoError(t, err)
	server.Kill()
	var out bytes.Buffer
	for _, args := range [][]string{{"list"}, {"unlock", "login", "ip:192.0.2.1"}, {"block", "login", "ip:192.0.2.1", "1h"}} {
		require.ErrorIs(t, operate.Command(t.Context(), args, &out, l), ratelimit.ErrUnavailable)
	}
	require.Empty(t, out.String())
	h := operate.Handler(func(*http.Request) bool { return true }, l)
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "/", nil),
		httptest.NewRequest("POST", "/unlock", strings.NewReader(`{"policy":"login","key":"ip:192.0.2.1"}`)),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, 503, w.Code)
		require.NotContains(t, w.Body.String(), server.Addr())
	}
}

// decorated is a limiter in a wrapper of the service, which hides the keys.
type decorated struct{ ratelimit.Limiter }

func TestLimiters(t *testing.T) {
	guard, err := loginguard.New(make([]byte, 32), nil)
	require.NoError(t, err)
	list, err := operate.Limiters(guard.Limiters()...)
	require.NoError(t, err)
	require.Len(t, list, 7)
	_, err = operate.Limiters(decorated{guard.Limiters()[0]})
	require.ErrorContains(t, err, `policy "login"`)
	_, err = operate.Limiters(guard.Limiters()[0], guard.Limiters()[0])
	require.Error(t, err)
}

func TestHandlerAndCommand(t *testing.T) {
	for name, l := range limiters(t) {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				_, err := l.AllowN(t.Context(), "ip:203.0.113.7", 1)
				require.NoError(t, err)
			}
			_, err := l.AllowN(t.Context(), "ip:198.51.100.1", 1)
			require.NoError(t, err)
			h := operate.Handler(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer x" }, l)
			send := func(method, path, body string) (int, map[string]any) {
				r := httptest.NewRequest(method, path, strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer x")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				var got map[string]any
				_ = json.Unmarshal(w.Body.Bytes(), &got)
				return w.Code, got
			}
			code, got := send("GET", "/?blocked=1", "")
			require.Equal(t, 200, code)
			require.Len(t, got["keys"], 1)
			_, got = send("GET", "/?policy=login&prefix=ip:", "")
			require.Len(t, got["keys"], 2)
			code, _ = send("POST", "/unlock", `{"policy":"login","key":"ip:203.0.113.7"}`)
			require.Equal(t, 200, code)
			r, err := l.AllowN(t.Context(), "ip:203.0.113.7", 1)
			require.NoError(t, err)
			require.True(t, r.Allowed)
			code, got = send("POST", "/block", `{"policy":"login","key":"ip:192.0.2.1","for":"2h"}`)
			require.Equal(t, 200, code)
			require.Equal(t, false, got["before"].(map[string]any)["blocked"])
			require.InDelta(t, 7200, got["after"].(map[string]any)["retry_after"], 5)
			for _, bad := range []string{`{"policy":"other","key":"k","for":"1h"}`, `{"policy":"login","key":"k"}`, `{"policy":"login","key":"","for":"1h"}`, `x`} {
				code, _ = send("POST", "/block", bad)
				require.Equal(t, 400, code, bad)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, 403, w.Code)

			var out bytes.Buffer
			require.NoError(t, operate.Command(t.Context(), []string{"list", "-blocked", "ip:192"}, &out, l))
			require.Contains(t, out.String(), "ip:192.0.2.1")
			out.Reset()
			require.NoError(t, operate.Command(t.Context(), []string{"unlock", "login", "ip:192.0.2.1"}, &out, l))
			require.Contains(t, out.String(), "5")
			require.NoError(t, operate.Command(t.Context(), []string{"block", "login", "ip:192.0.2.9", "1h"}, &out, l))
			for _, bad := range [][]string{nil, {"show"}, {"list", "-x"}, {"list", "a", "-blocked"}, {"unlock", "login"}, {"block", "login", "k", "soon"}} {
				require.ErrorIs(t, operate.Command(t.Context(), bad, &out, l), operate.ErrUsage)
			}
			for _, bad := range [][]string{{"unlock", "other", "k"}, {"list", "-policy", "other"}} {
				require.ErrorContains(t, operate.Command(t.Context(), bad, &out, l), "the policies are login")
			}
			out.Reset()
			require.NoError(t, operate.Command(t.Context(), []string{"list", "user:"}, &out, l))
			require.Equal(t, "no key has used units\n", out.String())
			code, _ = send("GET", "/?policy=other", "")
			require.Equal(t, 400, code)
			code, _ = send("POST", "/unlock/", `{"policy":"login","key":"ip:192.0.2.9"}`)
			require.Equal(t, 200, code, "behind a router that appends a slash")

			// An operator knows names and addresses, not the form of keys.
			for text, key := range map[string]string{
				"account:Anna Berg": ratelimit.Key("account", "Anna Berg"), "ip:2001:db8:1:2::7": "ip:2001-db8-1-2--",
				"ip:::ffff:192.0.2.44": "ip:192.0.2.44", "login:everyone": "login:everyone",
			} {
				_, s, err := operate.Set(t.Context(), []operate.Limiter{l}, "login", text, time.Hour)
				require.NoError(t, err)
				require.Equal(t, key, s.Key)
				r, err := l.AllowN(t.Context(), key, 1)
				require.NoError(t, err)
				require.False(t, r.Allowed, text)
				before, s, err := operate.Set(t.Context(), []operate.Limiter{l}, "login", s.Key, 0) // as a listing shows it
				require.NoError(t, err)
				require.True(t, before.Blocked)
				require.False(t, s.Blocked)
			}
		})
	}
}

// The words of an operator reach the keys of every limit of a login guard, whatever the guard makes of names and addresses.
func TestWordsForAGuard(t *testing.T) {
	for _, fold := range []func(string) string{nil, func(s string) string { return s }} {
		guard, err := loginguard.New(make([]byte, 32), &loginguard.Options{Fold: fold, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		list, err := operate.Limiters(guard.Limiters()...)
		require.NoError(t, err)
		h := guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		try := func(addr, name string) int {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(url.Values{"username": {name}}.Encode()))
			r.RemoteAddr = addr
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		do := func(args ...string) (string, error) {
			var out bytes.Buffer
			err := operate.Command(t.Context(), args, &out, list...)
			return out.String(), err
		}
		for i := range 50 {
			try(fmt.Sprintf("203.0.%d.5:1", i/5), "Anna Berg")
		}
		require.Equal(t, 429, try("198.51.100.8:1", "Anna Berg"))
		out, err := do("unlock", "login-account", "account:Anna Berg")
		require.NoError(t, err)
		require.Regexp(t, `before .* 0 +50 +blocked for[^\n]*\nafter .* 50 +50 +free`, out)
		require.Equal(t, 200, try("198.51.100.8:1", "Anna Berg"))

		for policy, c := range map[string]struct{ words, in, out string }{
			"login":               {"ip:192.0.2.7", "192.0.2.7:1", "192.0.2.8:1"},
			"login-network":       {"ip:198.51.100.99", "198.51.100.1:1", "198.51.101.1:1"},
			"login-site":          {"ip:2001:db8::7", "[2001:db8:0:ff::1]:1", "[2001:db8:0:100::1]:1"},
			"login-known-address": {"ip:2001:db8:7::7", "", ""},
			"login-account":       {"account: Carl Cox ", "192.0.2.9:1", ""},
			"login-everyone":      {"everyone", "192.0.2.10:1", ""},
		} {
			out, err := do("block", policy, c.words, "1h")
			require.NoError(t, err)
			require.Regexp(t, `after .*blocked for 1h`, out)
			if c.in != "" {
				require.Equal(t, 429, try(c.in, " Carl Cox "), policy)
			}
			if c.out != "" {
				require.Equal(t, 200, try(c.out, "bob"), policy)
			}
			out, err = do("list", "-policy", policy, "-blocked")
			require.NoError(t, err)
			key := strings.Fields(strings.Split(out, "\n")[1])[1]
			_, err = do("unlock", policy, key)
			require.NoError(t, err, "as the listing shows it")
		}
	}
}

// A key without any use is an error that shows how keys are written.
func TestAKeyWithoutUse(t *testing.T) {
	for name, l := range limiters(t) {
		_, err := l.AllowN(t.Context(), ratelimit.Key("user", "anna"), 1)
		require.NoError(t, err)
		var out bytes.Buffer
		err = operate.Command(t.Context(), []string{"unlock", "login", "user:Anna"}, &out, l)
		require.ErrorContains(t, err, "user:anna", name)
		err = operate.Command(t.Context(), []string{"unlock", "login", "anna"}, &out, l)
		require.ErrorContains(t, err, `"ip:203.0.113.7"`, name)
		require.Empty(t, out.String())
		w := httptest.NewRecorder()
		operate.Handler(func(*http.Request) bool { return true }, l).
			ServeHTTP(w, httptest.NewRequest("POST", "/unlock", strings.NewReader(`{"policy":"login","key":"user:Anna"}`)))
		require.Equal(t, 400, w.Code)
		require.Contains(t, w.Body.String(), "user:anna")
	}
}

// Keys that are not made with ratelimit.Key are found by their text, and on Redis by the hash of a listing.
func TestKeysOfAServicesOwn(t *testing.T) {
	for name, l := range limiters(t) {
		const key = "path:/api/reports"
		use := func() {
			for range 5 {
				_, err := l.AllowN(t.Context(), key, 1)
				require.NoError(t, err)
			}
		}
		use()
		list, err := operate.List(t.Context(), []operate.Limiter{l}, "", "", true)
		require.NoError(t, err)
		require.Len(t, list, 1, name)
		require.Equal(t, 0, list[0].Remaining)
		for _, words := range []string{key, list[0].Key} {
			before, after, err := operate.Set(t.Context(), []operate.Limiter{l}, "login", words, 0)
			require.NoError(t, err)
			require.True(t, before.Blocked)
			require.False(t, after.Blocked)
			require.Equal(t, 5, after.Remaining)
			require.Eventually(t, func() bool { // another process may remember the denial for a second
				r, err := l.AllowN(t.Context(), key, 1)
				return err == nil && r.Allowed
			}, 10*time.Second, 10*time.Millisecond)
			use()
		}
		_, after, err := operate.Set(t.Context(), []operate.Limiter{l}, "login", "path:/api/other", time.Hour)
		require.NoError(t, err)
		require.True(t, after.Blocked)
		r, err := l.AllowN(t.Context(), "path:/api/other", 1)
		require.NoError(t, err)
		require.False(t, r.Allowed, "a new key, as the service may write it")
	}
}
