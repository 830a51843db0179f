package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
