package ratelimit_test

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// hotStore is one process's view of the server.
func hotStore(tb testing.TB, addr string, instances int) *redislimit.Store {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 32})
	tb.Cleanup(func() { client.Close() })
	s, err := redislimit.New(client, &redislimit.Options{
		Timeout: 10 * time.Second, Instances: instances, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkHotKey asks for one key from 32 goroutines: a round trip for each decision
// beside blocks of units. Client and server share the machine.
func BenchmarkHotKey(b *testing.B) {
	server := testserver.Redis(b)
	often := ratelimit.Policy{Name: "often", Limit: 4096, Window: 50 * time.Millisecond}
	large := ratelimit.Policy{Name: "large", Limit: 1 << 30, Window: time.Hour, Algorithm: ratelimit.Buckets}
	s := hotStore(b, server.Addr(), 1)
	for _, subject := range []struct {
		name string
		make func() (ratelimit.Limiter, error)
	}{
		{"Exact", func() (ratelimit.Limiter, error) { return s.Limiter(often, nil) }},
		{"Buckets", func() (ratelimit.Limiter, error) { return s.Limiter(large, nil) }},
		{"Leased", func() (ratelimit.Limiter, error) { return s.Leased(large, nil) }},
	} {
		b.Run(subject.name, func(b *testing.B) {
			l, err := subject.make()
			if err != nil {
				b.Fatal(err)
			}
			before := s.Stats().Calls
			b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r, err := l.AllowN(context.Background(), "user:1", 1); err != nil || r.Degraded {
						b.Error(r, err)
						return
					}
				}
			})
			b.ReportMetric(float64(s.Stats().Calls-before)/float64(b.N), "commands/op")
		})
	}
}

// BenchmarkLeasedAtTheLimit measures what leasing costs: four processes ask for more
// than there is for ten windows, and the metric is the share of the limit that they were
// let have.
func BenchmarkLeasedAtTheLimit(b *testing.B) {
	const processes, window, windows = 4, time.Second, 10
	server := testserver.Redis(b)
	p := ratelimit.Policy{Name: "hot", Limit: 4000, Window: window}
	for _, subject := range []struct {
		name string
		make func(s *redislimit.Store) (ratelimit.Limiter, error)
	}{
		{"Exact", func(s *redislimit.Store) (ratelimit.Limiter, error) { return s.Limiter(p, nil) }},
		{"Leased", func(s *redislimit.Store) (ratelimit.Limiter, error) { return s.Leased(p, nil) }},
	} {
		b.Run(subject.name, func(b *testing.B) {
			for b.Loop() {
				redis.NewClient(&redis.Options{Addr: server.Addr()}).FlushAll(b.Context())
				var allowed, calls atomic.Int64
				var wg sync.WaitGroup
				start := time.Now()
				for range processes {
					s := hotStore(b, server.Addr(), processes)
					l, err := subject.make(s)
					if err != nil {
						b.Fatal(err)
					}
					wg.Go(func() {
						for time.Since(start) < windows*window {
							r, err := l.AllowN(context.Background(), "user:1", 1)
							if err == nil && r.Allowed {
								allowed.Add(1)
							} else {
								time.Sleep(100 * time.Microsecond)
							}
						}
						calls.Add(int64(s.Stats().Calls))
					})
				}
				wg.Wait()
				// The first window's worth comes at once, and then as it is free again.
				b.ReportMetric(float64(allowed.Load())/float64(p.Limit*windows), "of-the-limit")
				b.ReportMetric(float64(calls.Load())/float64(allowed.Load()), "commands/unit")
			}
		})
	}
}
