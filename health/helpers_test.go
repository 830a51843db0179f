package health

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

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
	if o == nil {
		o = &Options{}
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	r, err := New(checks, o)
	require.NoError(t, err)
	return r
}

// start runs the registry until the returned function, which checks that Run
// returned nil and is idempotent enough for one defer.
func start(t *testing.T, r *Registry) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func everyone(*http.Request) bool { return true }

func passing(name string) Check {
	return Func(name, time.Second, func(context.Context) error { return nil })
}

func failing(name string) Check {
	return Func(name, time.Second, func(context.Context) error {
		return errors.New("dial postgres://pos:S3cr3t@db/pos: refused")
	})
}

// hanging ignores its context until release is closed.
func hanging(name string, release <-chan struct{}) Check {
	return Func(name, time.Second, func(context.Context) error {
		<-release
		return nil
	})
}

func state(t *testing.T, r *Registry, name string) CheckState {
	t.Helper()
	c, ok := r.Snapshot().Check(name)
	require.True(t, ok)
	return c
}
