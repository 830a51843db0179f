package cachebench

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rediscachepeer "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// redisAddr is a server whose contents do not matter: MAINSTAY_BENCH_REDIS, or a private one.
func redisAddr(b *testing.B) string {
	b.Helper()
	if addr := os.Getenv("MAINSTAY_BENCH_REDIS"); addr != "" {
		return addr
	}
	return testserver.Redis(b).Addr()
}

// process is what one process of a service has: its own client and store.
type process struct {
	shared *rediscache.Store
	values *cache.Typed[int]
}

func newProcess(b *testing.B, options *redis.Options, memory bool) *process {
	b.Helper()
	quiet := slog.New(slog.DiscardHandler)
	client := redis.NewClient(options)
	b.Cleanup(func() { client.Close() })
	shared, err := rediscache.New(client, &rediscache.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	values, err := cache.New(shared, "values", time.Hour, &cache.Options[int]{Logger: quiet, NoMemory: !memory})
	if err != nil {
		b.Fatal(err)
	}
	return &process{shared, values}
}

// BenchmarkColdKey has 1,000 readers of two processes miss one key at once. loads/op is
// how often it is loaded.
func BenchmarkColdKey(b *testing.B) {
	addr := redisAddr(b)
	ctx := context.Background()
	const readers = 1000
	run := func(b *testing.B, get func(process int, key string, load func() (int, error)) error) {
		var loads atomic.Int64
		load := func() (int, error) {
			loads.Add(1)
			time.Sleep(20 * time.Millisecond) // a query
			return 7, nil
		}
		for i := range b.N {
			key := b.Name() + strconv.Itoa(i) + strconv.FormatInt(time.Now().UnixNano(), 36)
			var wg sync.WaitGroup
			for r := range readers {
				wg.Go(func() {
					if err := get(r%2, key, load); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(loads.Load())/float64(b.N), "loads/op")
	}
	b.Run("mainstay GetOrLoad", func(b *testing.B) {
		patient := rediscache.ClientOptions(addr)
		processes := []*process{newProcess(b, patient, false), newProcess(b, patient, false)}
		run(b, func(p int, key string, load func() (int, error)) error {
			_, err := processes[p].values.GetOrLoad(ctx, key, func(context.Context) (int, error) { return load() })
			return err
		})
	})
	b.Run("go-redis cache Once", func(b *testing.B) {
		var processes [2]*rediscachepeer.Cache
		for i := range processes {
			client := redis.NewClient(&redis.Options{Addr: addr})
			b.Cleanup(func() { client.Close() })
			processes[i] = rediscachepeer.New(&rediscachepeer.Options{Redis: client})
		}
		run(b, func(p int, key string, load func() (int, error)) error {
			var got int
			return processes[p].Once(&rediscachepeer.Item{Ctx: ctx, Key: key, Value: &got, TTL: time.Hour, Do: func(*rediscachepeer.Item) (any, error) {
				v, err := load()
				return &v, err
			}})
		})
	})
}

// BenchmarkForeignDelete measures from the return of a Delete in one process until another
// no longer has the value in its memory.
func BenchmarkForeignDelete(b *testing.B) {
	addr := redisAddr(b)
	reader, writer := newProcess(b, rediscache.ClientOptions(addr), true), newProcess(b, rediscache.ClientOptions(addr), false)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- reader.shared.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(time.Minute); !reader.shared.Stats().Online; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("not listening")
		}
	}
	var took []time.Duration
	for b.Loop() {
		if _, err := reader.values.GetOrLoad(ctx, "k", func(context.Context) (int, error) { return 1, nil }); err != nil {
			b.Fatal(err)
		}
		if err := writer.values.Delete(ctx, "k"); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		for {
			if _, found, err := reader.values.Get(ctx, "k"); err != nil {
				b.Fatal(err)
			} else if !found {
				break
			}
			time.Sleep(20 * time.Microsecond)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRedisDown reads while Redis refuses and while it hangs: first-ms is the first
// call, ns/op those that follow.
func BenchmarkRedisDown(b *testing.B) {
	server := testserver.Redis(b)
	load := func(context.Context) (int, error) { return 1, nil }
	for _, mode := range []struct {
		name    string
		down    func()
		restore func()
	}{{"hung", server.Pause, server.Continue}, {"refused", server.Kill, server.Restart}} {
		b.Run(mode.name, func(b *testing.B) {
			p := newProcess(b, rediscache.ClientOptions(server.Addr()), false)
			ctx := context.Background()
			if _, err := p.values.GetOrLoad(ctx, "warm", load); err != nil {
				b.Fatal(err)
			}
			mode.down()
			defer mode.restore()
			start := time.Now()
			if _, err := p.values.GetOrLoad(ctx, "k", load); err != nil {
				b.Fatal(err)
			}
			first := time.Since(start)
			for range 10 {
				if _, err := p.values.GetOrLoad(ctx, "k", load); err != nil {
					b.Fatal(err)
				}
			}
			if !p.shared.Degraded() {
				b.Fatal("Redis is still asked")
			}
			for b.Loop() {
				if _, err := p.values.GetOrLoad(ctx, "k", load); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(first.Microseconds())/1000, "first-ms")
		})
	}
}
