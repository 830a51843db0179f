package mainstay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// A request that is in flight when the service must stop receives its response, after readiness has changed.
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

// A server with a certificate serves HTTPS. One with an empty TLSConfig serves HTTP.
func TestHTTPServesTLS(t *testing.T) {
	t.Parallel()
	sample := httptest.NewUnstartedServer(nil) // its certificate, and a client that trusts it
	sample.EnableHTTP2 = true
	sample.StartTLS()
	defer sample.Close()
	for scheme, config := range map[string]*tls.Config{"https": {Certificates: sample.TLS.Certificates}, "http": {}} {
		server := &http.Server{ReadHeaderTimeout: time.Second, TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		})}
		listener := listen(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, []Part{HTTP("api", server, &HTTPOptions{Listener: listener})}, quiet) }()
		answer, err := sample.Client().Get(scheme + "://" + listener.Addr().String())
		if err != nil {
			t.Fatal(scheme, err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		want := map[string]string{"https": "HTTP/2.0", "http": "HTTP/1.1"}[scheme]
		if err != nil || (answer.TLS != nil) != (scheme == "https") || string(body) != want {
			t.Errorf("%s: TLS %v, %s, %v", scheme, answer.TLS != nil, body, err)
		}
		sample.Client().CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(scheme, err)
		}
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

func TestNegativeTimesAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []HTTPOptions{{DrainDelay: -1}, {ShutdownTimeout: -time.Second}} {
		if err := Run(t.Context(), []Part{HTTP("api", &http.Server{ReadHeaderTimeout: time.Second}, &o)}, quiet); err == nil || !strings.Contains(err.Error(), "is negative") {
			t.Errorf("Run returned %v", err)
		}
	}
	if err := Run(t.Context(), nil, &Options{StopTimeout: -1}); err == nil || !strings.Contains(err.Error(), "StopTimeout -1ns is negative") {
		t.Errorf("Run returned %v", err)
	}
}
