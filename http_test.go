package mainstay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// A request that is in flight when the service is told to stop gets its answer, after readiness has changed.
func TestHTTPFinishesRequests(t *testing.T) {
	t.Parallel()
	var drained atomic.Bool
	inside, finish := make(chan struct{}), make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-finish
		_, _ = io.WriteString(w, "sold")
	})}
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, []Part{HTTP("api", server, &HTTPOptions{
			Listener: listener, DrainDelay: time.Millisecond,
			Drain: func() { drained.Store(true); close(finish) },
		})}, quiet)
	}()
	go func() { <-inside; cancel() }()
	answer, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "sold" {
		t.Errorf("body %q, %v", body, err)
	}
	if err := <-ended; err != nil || !drained.Load() {
		t.Errorf("Run returned %v, drained %v", err, drained.Load())
	}
}

func TestHTTPReportsRequestsThatItCutOff(t *testing.T) {
	t.Parallel()
	inside := make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
	})}
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-inside; cancel() }()
	go func() {
		if answer, err := http.Get("http://" + listener.Addr().String()); err == nil {
			answer.Body.Close()
		}
	}()
	err := Run(ctx, []Part{HTTP("api", server, &HTTPOptions{Listener: listener, ShutdownTimeout: time.Millisecond})}, quiet)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Run returned %v", err)
	}
}

func TestHTTPReportsAPortInUse(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.Close()
	server := &http.Server{Addr: taken.Addr().String(), ReadHeaderTimeout: time.Second}
	if err := Run(t.Context(), []Part{HTTP("api", server, nil)}, quiet); err == nil || !strings.HasPrefix(err.Error(), "api: ") {
		t.Errorf("Run returned %v", err)
	}
}
