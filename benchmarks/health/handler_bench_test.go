package health_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// bare is a ResponseWriter that costs nothing itself.
type bare struct {
	header http.Header
	code   int
}

func (w *bare) Header() http.Header         { return w.header }
func (w *bare) WriteHeader(code int)        { w.code = code }
func (w *bare) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkHandler: ten healthy checks, one request. Peers without a cache run
// the checks; that is what they do in production.
func BenchmarkHandler(b *testing.B) {
	for _, s := range subjects {
		serve := func(b *testing.B, next func() bool, h http.Handler) {
			w := &bare{header: http.Header{}}
			req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/health/", nil)
			for next() {
				clear(w.header)
				h.ServeHTTP(w, req)
			}
			if w.code != http.StatusOK && w.code != 0 { // 0: a worker without a turn
				b.Errorf("answered %d", w.code)
			}
		}
		b.Run("serial/"+s.name, func(b *testing.B) {
			h := warm(b, s, repeat(10, good))
			b.ReportAllocs()
			serve(b, b.Loop, h)
		})
		b.Run("parallel/"+s.name, func(b *testing.B) {
			h := warm(b, s, repeat(10, good))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) { serve(b, pb.Next, h) })
		})
	}
}

// warm builds a handler and waits until it has seen its checks.
func warm(tb testing.TB, s subject, checks []func(context.Context) error) http.Handler {
	tb.Helper()
	h := s.build(tb, time.Second, checks)
	deadline := time.Now().Add(10 * time.Second)
	for {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/health/", nil))
		if w.Code == http.StatusOK {
			return h
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s answers %d", s.name, w.Code)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// BenchmarkTenSlowChecks: the first answer when each of ten checks takes 100 ms.
func BenchmarkTenSlowChecks(b *testing.B) {
	slow := func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
	for _, s := range subjects {
		if strings.HasSuffix(s.name, "periodic") || s.name == "mainstay" || s.name == "mainstay-details" {
			continue // they answer from the last results
		}
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h := s.build(b, time.Second, repeat(10, slow))
				w := httptest.NewRecorder()
				req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/health/", nil)
				b.StartTimer()
				h.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatalf("answered %d", w.Code)
				}
			}
		})
	}
}

// BenchmarkHungCheckLoad: 32 connections ask for two seconds while all is well,
// then while one check of ten hangs. Read hung/healthy, the ratio of the 99th
// percentiles.
func BenchmarkHungCheckLoad(b *testing.B) {
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				healthy, n := load(b, s, false)
				hung, _ := load(b, s, true)
				b.ReportMetric(float64(healthy.Microseconds()), "healthy-p99-us")
				b.ReportMetric(float64(hung.Microseconds()), "hung-p99-us")
				b.ReportMetric(float64(hung)/float64(healthy), "hung/healthy")
				b.ReportMetric(float64(n)/2, "healthy-req/s")
			}
		})
	}
}

func load(b *testing.B, s subject, hang bool) (p99 time.Duration, requests int) {
	release := make(chan struct{})
	defer close(release)
	checks := repeat(9, good)
	checks = append(checks, func(context.Context) error {
		if hang {
			<-release
		}
		return nil
	})
	server := httptest.NewServer(s.build(b, 100*time.Millisecond, checks))
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ask := func() error {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if hang && resp.StatusCode == http.StatusOK {
			return errors.New("answers 200 while a check hangs")
		}
		return nil
	}
	for range 32 { // let the first runs come to an end
		_ = ask()
	}
	time.Sleep(300 * time.Millisecond)
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for range 32 {
		wg.Go(func() {
			var mine []time.Duration
			for time.Now().Before(end) {
				begin := time.Now()
				if err := ask(); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	if len(all) == 0 {
		b.Fatal("no request came through")
	}
	slices.Sort(all)
	return all[len(all)*99/100], len(all)
}

// BenchmarkHungCheckLeak: goroutines that polls leave behind while three checks
// hang and ignore their context. Three are the hung checks themselves. Peers are
// polled 300 times, which is enough to see.
func BenchmarkHungCheckLeak(b *testing.B) {
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			polls := 10_000
			if !strings.HasPrefix(s.name, "mainstay") {
				polls = 300
			}
			for b.Loop() {
				release := make(chan struct{})
				checks := append(repeat(7, good), repeat(3, func(context.Context) error { <-release; return nil })...)
				idle := s.build(b, time.Millisecond, repeat(10, good))
				idle.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil))
				before := settled()
				h := s.build(b, time.Millisecond, checks)
				for range polls {
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil))
				}
				// The loops of a second registry are no leak.
				loops := 0
				switch s.name {
				case "mainstay", "mainstay-details":
					loops = 11 // Run and its ten loops
				case "alexliesenfeld-periodic":
					loops = 10
				}
				b.ReportMetric(float64(settled()-before-loops), "goroutines")
				b.ReportMetric(float64(polls), "polls")
				close(release)
				settled()
			}
		})
	}
}

// settled waits until the number of goroutines stays the same, for a second at
// most: some grow for ever.
func settled() int {
	n := runtime.NumGoroutine()
	end := time.Now().Add(time.Second)
	for still := 0; still < 20 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		if now := runtime.NumGoroutine(); now == n {
			still++
		} else {
			n, still = now, 0
		}
	}
	return n
}
