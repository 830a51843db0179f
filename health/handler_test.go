package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func newRegistry(t *testing.T, o *Options, checks ...Check) *Registry {
	t.Helper()
	r, err := New(checks, o)
	require.NoError(t, err)
	return r
}

func passing(name string) Check {
	return Func(name, time.Second, func(context.Context) error { return nil })
}

func failing(name string) Check {
	return Func(name, time.Second, func(context.Context) error {
		return errors.New("dial postgres://pos:S3cr3t@db/pos: refused")
	})
}

func TestStrangersSeeTheStatusAndNothingElse(t *testing.T) {
	r := newRegistry(t, nil, passing("a"), failing("database"))
	for _, path := range []string{"/health", "/health/"} {
		w := get(t, r.Handler(), path)
		require.Equal(t, 503, w.Code)
		require.Equal(t, `{"status":"fail"}`, w.Body.String())
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "15", w.Header().Get("Retry-After"))
	}
	w := get(t, r.Handler(), "/alive/")
	require.Equal(t, 200, w.Code)
	require.Equal(t, `{"status":"pass"}`, w.Body.String())
}

func TestAuthorizedSeeDetailsWithoutSecrets(t *testing.T) {
	r := newRegistry(t, &Options{Authorize: BearerToken("let-me-in")}, passing("a"), failing("database"))
	w := get(t, r.Handler(), "/health/", "Authorization", "Bearer let-me-in")
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"database"`)
	require.Contains(t, w.Body.String(), "refused")
	require.NotContains(t, w.Body.String(), "S3cr3t")
}
