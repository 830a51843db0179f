package ratelimit_test

import (
	"io"
	"log"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

func onRedis(tb testing.TB, client redislimit.Client, p ratelimit.Policy, o *redislimit.Options) (*redislimit.Store, *redislimit.Limiter) {
	tb.Helper()
	s := must[*redislimit.Store](tb)(redislimit.New(client, o))
	return s, must[*redislimit.Limiter](tb)(s.Limiter(p, nil))
}

func quiet(timeout, denyFor time.Duration) *redislimit.Options {
	return &redislimit.Options{Timeout: timeout, DenyFor: denyFor, Logger: slog.New(slog.DiscardHandler)}
}

// redisSubjects ask about n units an hour of a key; none of them remembers denials.
func redisSubjects(tb testing.TB, client *redis.Client, n int) []struct {
	name string
	take take
} {
	tb.Helper()
	_, exact := onRedis(tb, client, ratelimit.Policy{Name: "exact", Limit: n, Window: time.Hour}, quiet(10*time.Second, -1))
	rate := redis_rate.NewLimiter(client)
	store := must[limiter.Store](tb)(ululeredis.NewStore(client))
	ulule := limiter.New(store, limiter.Rate{Limit: int64(n), Period: time.Hour})
	return []struct {
		name string
		take take
	}{
		{"INCR", func(key string) bool { return client.Incr(ctx, key).Err() == nil }},
		{"mainstay Exact", func(key string) bool { r, err := exact.Allow(ctx, key); return err == nil && r.Allowed }},
		{"redis_rate", func(key string) bool {
			r, err := rate.Allow(ctx, key, redis_rate.PerHour(n))
			return err == nil && r.Allowed > 0
		}},
		{"ulule", func(key string) bool { c, err := ulule.Get(ctx, key); return err == nil && !c.Reached }},
	}
}

// goroutines runs f in 32 of them.
func goroutines(b *testing.B, f func(i int)) {
	b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0)))
	var id atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(id.Add(7919)); pb.Next(); i++ {
			f(i)
		}
	})
}

// BenchmarkRedisLoad asks from 128 goroutines and from one, with the connections that
// go-redis makes by default.
func BenchmarkRedisLoad(b *testing.B) {
	server := testserver.Redis(b)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = keyOf(i)
	}
	for _, callers := range []int{128, 1} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			for _, s := range redisSubjects(b, client, 4096)[1:3] {
				b.Run(s.name, func(b *testing.B) {
					client.FlushAll(ctx)
					if callers == 1 {
						for i := 0; b.Loop(); i++ {
							s.take(many[i%len(many)])
						}
						return
					}
					b.SetParallelism(callers / runtime.GOMAXPROCS(0))
					var id atomic.Int64
					b.RunParallel(func(pb *testing.PB) {
						for i := int(id.Add(7919)); pb.Next(); i++ {
							s.take(many[i%len(many)])
						}
					})
				})
			}
		})
	}
}

// BenchmarkRedis asks one Redis from 32 goroutines. Client and server share the machine.
func BenchmarkRedis(b *testing.B) {
	server := testserver.Redis(b)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 32})
	defer client.Close()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = keyOf(i)
	}
	b.Run("10k keys allowed", func(b *testing.B) {
		for _, s := range redisSubjects(b, client, 4096) {
			b.Run(s.name, func(b *testing.B) {
				client.FlushAll(ctx)
				goroutines(b, func(i int) {
					if !s.take(many[i%len(many)]) {
						b.Error("denied")
					}
				})
			})
		}
	})
	b.Run("hot key denied", func(b *testing.B) {
		for _, s := range redisSubjects(b, client, 100)[1:] {
			b.Run(s.name, func(b *testing.B) {
				client.FlushAll(ctx)
				for range 200 {
					s.take("user:1")
				}
				goroutines(b, func(int) { s.take("user:1") })
			})
		}
	})
}

// BenchmarkRedisAttack asks for an exhausted key with default options, under which this
// process remembers a denial for a second.
func BenchmarkRedisAttack(b *testing.B) {
	server := testserver.Redis(b)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	b.Run("mainstay", func(b *testing.B) {
		store, l := onRedis(b, client, ratelimit.Login(), quiet(time.Second, 0))
		for range 6 {
			l.Allow(ctx, "user:1")
		}
		before, start := store.Stats().Calls, time.Now()
		parallel(b, func(int) {
			if r, err := l.Allow(ctx, "user:1"); err != nil || r.Allowed {
				b.Error(r, err)
			}
		})
		b.ReportMetric(float64(store.Stats().Calls-before)/max(1, time.Since(start).Seconds()), "commands/s")
	})
	b.Run("redis_rate", func(b *testing.B) {
		l := redis_rate.NewLimiter(client)
		parallel(b, func(int) { l.Allow(ctx, "user:1", redis_rate.PerHour(5)) })
	})
}

// BenchmarkRedisAway measures the first check of a process whose Redis refuses,
// accepts and says nothing, or is stopped; and one check when the breaker is open.
func BenchmarkRedisAway(b *testing.B) {
	redis.SetLogger(&logging.VoidLogger{})
	log.SetOutput(io.Discard)
	stopped := testserver.Redis(b)
	stopped.Pause()
	defer stopped.Continue()
	for _, away := range []struct{ name, addr string }{
		{"refused", refused(b)}, {"hung", hung(b)}, {"paused", stopped.Addr()},
	} {
		for _, options := range []struct {
			name string
			with func() redis.UniversalClient
		}{
			{"", func() redis.UniversalClient { return redis.NewUniversalClient(redislimit.ClientOptions(away.addr)) }},
			{" go-redis defaults", func() redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: away.addr}) }},
		} {
			b.Run(away.name+"/first check/mainstay"+options.name, func(b *testing.B) {
				client := options.with()
				defer client.Close()
				for b.Loop() {
					_, l := onRedis(b, client, ratelimit.Login(), quiet(0, 0))
					if r, err := l.Allow(ctx, "user:1"); err != nil || !r.Degraded {
						b.Fatal(r, err)
					}
				}
			})
		}
		b.Run(away.name+"/breaker open/mainstay", func(b *testing.B) {
			client := redis.NewUniversalClient(redislimit.ClientOptions(away.addr))
			defer client.Close()
			o := quiet(0, 0)
			o.BreakerOpen = time.Hour
			_, l := onRedis(b, client, ratelimit.Login(), o)
			for range 6 {
				l.Allow(ctx, "user:1")
			}
			b.ReportAllocs()
			for b.Loop() {
				l.Allow(ctx, "user:1")
			}
		})
		b.Run(away.name+"/every check/redis_rate", func(b *testing.B) {
			client := redis.NewClient(&redis.Options{Addr: away.addr})
			defer client.Close()
			l := redis_rate.NewLimiter(client)
			for b.Loop() {
				if _, err := l.Allow(ctx, "user:1", redis_rate.PerHour(5)); err == nil {
					b.Fatal("an answer")
				}
			}
		})
	}
}

// refused is an address at which nobody listens: the near end of a connection.
func refused(b *testing.B) string {
	b.Helper()
	ln := must[net.Listener](b)(net.Listen("tcp", "127.0.0.1:0"))
	b.Cleanup(func() { ln.Close() })
	c := must[net.Conn](b)(net.Dial("tcp", ln.Addr().String()))
	b.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// hung takes connections and says nothing.
func hung(b *testing.B) string {
	b.Helper()
	ln := must[net.Listener](b)(net.Listen("tcp", "127.0.0.1:0"))
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	return ln.Addr().String()
}
