package cachebench

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	rediscachepeer "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/mainstay-go/mainstay/cache"
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
		c, err := cache.New[product](store, "products", time.Hour, &cache.Options{Logger: slog.New(slog.DiscardHandler)})
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

// BenchmarkInvalidateTags makes 10,000 keys absent.
func BenchmarkInvalidateTags(b *testing.B) {
	client := redis.NewClient(rediscache.ClientOptions(redisAddr(b)))
	defer client.Close()
	ctx := context.Background()
	store, err := rediscache.New(client, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := cache.New[int](store, "grouped", time.Hour, &cache.Options{Tags: func(string) []string { return []string{"all"} }})
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
