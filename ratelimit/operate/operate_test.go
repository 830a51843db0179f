package operate_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
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
			require.InDelta(t, 7200, got["retry_after"], 5)
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
			for _, bad := range [][]string{nil, {"list", "-x"}, {"unlock", "login"}, {"block", "login", "k", "soon"}, {"unlock", "other", "k"}} {
				require.Error(t, operate.Command(t.Context(), bad, &out, l))
			}
		})
	}
}
