// Package cache_bench measures the cache beside its peers: the same work in one run.
package cachebench

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"

	"github.com/mainstay-go/mainstay/cache"
)

type product struct {
	ID    int64
	Name  string
	Price int64
	Text  string
}

const resident = 1000

var keys = func() (k [resident]string) {
	for i := range k {
		k[i] = "product:" + strconv.Itoa(i)
	}
	return k
}()

// hits runs get on resident keys in parallel.
func hits(b *testing.B, get func(key string) (*product, bool)) {
	b.Helper()
	for _, key := range keys {
		if _, ok := get(key); !ok {
			b.Fatalf("%s is not there", key)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := get(keys[i%resident]); !ok {
				b.Error("a miss")
				return
			}
		}
	})
}

func BenchmarkLocalHit(b *testing.B) {
	ctx := context.Background()
	value := &product{ID: 1, Name: "lasagne", Price: 320}
	load := func(context.Context) (*product, error) { return value, nil }

	b.Run("mainstay GetOrLoad", func(b *testing.B) {
		c, err := cache.New[*product](nil, "products", time.Hour, nil)
		if err != nil {
			b.Fatal(err)
		}
		hits(b, func(key string) (*product, bool) { v, err := c.GetOrLoad(ctx, key, load); return v, err == nil })
	})
	b.Run("ristretto Get", func(b *testing.B) {
		c, err := ristretto.NewCache(&ristretto.Config[string, *product]{NumCounters: 1e6, MaxCost: 64 << 20, BufferItems: 64, IgnoreInternalCost: true})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		for _, key := range keys {
			c.SetWithTTL(key, value, 1024, time.Hour)
			c.Wait()
		}
		hits(b, c.Get)
	})
	b.Run("otter Get", func(b *testing.B) {
		c := otter.Must(&otter.Options[string, *product]{MaximumSize: 100_000, ExpiryCalculator: otter.ExpiryWriting[string, *product](time.Hour)})
		loader := otter.LoaderFunc[string, *product](func(context.Context, string) (*product, error) { return value, nil })
		hits(b, func(key string) (*product, bool) { v, err := c.Get(ctx, key, loader); return v, err == nil })
	})
	b.Run("theine Get", func(b *testing.B) {
		c, err := theine.NewBuilder[string, *product](100_000).Loading(func(context.Context, string) (theine.Loaded[*product], error) {
			return theine.Loaded[*product]{Value: value, Cost: 1, TTL: time.Hour}, nil
		}).Build()
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		hits(b, func(key string) (*product, bool) { v, err := c.Get(ctx, key); return v, err == nil })
	})
	b.Run("sturdyc GetOrFetch", func(b *testing.B) {
		c := sturdyc.New[*product](100_000, 256, time.Hour, 10)
		hits(b, func(key string) (*product, bool) { v, err := c.GetOrFetch(ctx, key, load); return v, err == nil })
	})
}
