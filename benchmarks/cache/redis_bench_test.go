package cachebench

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rediscachepeer "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// BenchmarkRedisHit reads a struct of 1 KiB.
func BenchmarkRedisHit(b *testing.B) {
	client := redis.NewClient(rediscache.ClientOptions(redisAddr(b)))
	defer client.Close()
	ctx := context.Background()
	value := product{ID: 1, Name: "lasagne", Price: 320, Text: strings.Repeat("with cheese ", 80)}

	b.Run("go-redis msgpack", func(b *testing.B) {
		data, err := msgpack.Marshal(&value)
		if err != nil {
			b.Fatal(err)
		}
		if err := client.Set(ctx, "raw", data, time.Hour).Err(); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			data, err := client.Get(ctx, "raw").Bytes()
			if err != nil {
				b.Fatal(err)
			}
			var got product
			if err := msgpack.Unmarshal(data, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mainstay GetOrLoad", func(b *testing.B) {
		store, err := rediscache.New(client, &rediscache.Options{Timeout: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		c, err := cache.New(store, "products", time.Hour, &cache.Options[product]{Logger: slog.New(slog.DiscardHandler), NoMemory: true})
		if err != nil {
			b.Fatal(err)
		}
		load := func(context.Context) (product, error) { return value, nil }
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.GetOrLoad(ctx, "k", load); err != nil {
				b.Fatal(err)
			}
		}
		if s := c.Stats(); s.Loads > 1 {
			b.Fatalf("%+v", s)
		}
	})
	b.Run("go-redis cache Once", func(b *testing.B) {
		c := rediscachepeer.New(&rediscachepeer.Options{Redis: client})
		b.ReportAllocs()
		for b.Loop() {
			var got product
			if err := c.Once(&rediscachepeer.Item{Ctx: ctx, Key: "peer", Value: &got, TTL: time.Hour, Do: func(*rediscachepeer.Item) (any, error) { return &value, nil }}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRedisHitsParallel reads distinct keys of 1 KiB from 128 and from 512 goroutines.
func BenchmarkRedisHitsParallel(b *testing.B) {
	addr := redisAddr(b)
	ctx := context.Background()
	opts := rediscache.ClientOptions(addr)
	opts.ReadTimeout, opts.WriteTimeout = 10*time.Second, 10*time.Second // other work may hold up this machine
	client := redis.NewClient(opts)
	defer client.Close()
	peer, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	value := product{ID: 1, Name: "lasagne", Price: 320, Text: strings.Repeat("with cheese ", 80)}
	store, err := rediscache.New(client, &rediscache.Options{Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	c, err := cache.New(store, "parallel", time.Hour, &cache.Options[product]{Logger: slog.New(slog.DiscardHandler), NoMemory: true, Strict: true, StoreTimeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	const n = 10_000
	values := map[string]product{}
	names, raw := make([]string, n), make([]string, n)
	data, err := msgpack.Marshal(&value)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		names[i] = "k" + strconv.Itoa(i)
		raw[i] = "raw:" + names[i]
		values[names[i]] = value
		if err := client.Set(ctx, raw[i], data, time.Hour).Err(); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.SetMany(ctx, values); err != nil {
		b.Fatal(err)
	}
	for _, goroutines := range []int{128, 512} {
		run := func(b *testing.B, get func(i int) error) {
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(goroutines / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := get(int(next.Add(1)) % n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		decode := func(data []byte, err error) error {
			if err != nil {
				return err
			}
			var got product
			return msgpack.Unmarshal(data, &got)
		}
		b.Run(strconv.Itoa(goroutines)+"/mainstay Get", func(b *testing.B) {
			run(b, func(i int) error {
				_, ok, err := c.Get(ctx, names[i])
				if err == nil && !ok {
					err = errors.New("a miss")
				}
				return err
			})
		})
		b.Run(strconv.Itoa(goroutines)+"/rueidis msgpack", func(b *testing.B) {
			run(b, func(i int) error { return decode(peer.Do(ctx, peer.B().Get().Key(raw[i]).Build()).AsBytes()) })
		})
		b.Run(strconv.Itoa(goroutines)+"/go-redis msgpack", func(b *testing.B) {
			run(b, func(i int) error { return decode(client.Get(ctx, raw[i]).Bytes()) })
		})
	}
}

// BenchmarkDeleteMany deletes 2,000 keys.
func BenchmarkDeleteMany(b *testing.B) {
	client := redis.NewClient(rediscache.ClientOptions(redisAddr(b)))
	defer client.Close()
	ctx := context.Background()
	store, err := rediscache.New(client, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := cache.New[int](store, "many", time.Hour, nil)
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, 2000)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	b.Run("mainstay Delete", func(b *testing.B) {
		for b.Loop() {
			if err := c.Delete(ctx, names...); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mainstay store", func(b *testing.B) {
		for b.Loop() {
			ops := make([]driver.Op, len(names))
			for i, name := range names {
				ops[i] = driver.Op{Kind: driver.Delete, Key: "many:" + name}
			}
			store.Do(ctx, ops)
		}
	})
	b.Run("go-redis pipelined", func(b *testing.B) {
		for b.Loop() {
			_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, name := range names {
					p.Del(ctx, "cache:{many:"+name+"}")
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkInvalidateTags makes 10,000 keys absent.
func BenchmarkInvalidateTags(b *testing.B) {
	client := redis.NewClient(rediscache.ClientOptions(redisAddr(b)))
	defer client.Close()
	ctx := context.Background()
	store, err := rediscache.New(client, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := cache.New(store, "grouped", time.Hour, &cache.Options[int]{Tags: func(string) []string { return []string{"all"} }})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		if err := c.Set(ctx, "k"+keys[i%resident]+keys[i/resident], i); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := c.InvalidateTags(ctx, "all"); err != nil {
			b.Fatal(err)
		}
	}
}
