package rediscache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
)

// A cache in Redis, with values in memory before it and memory in its place while
// Redis is away; a tag drops many keys at once.
func Example() {
	server, err := miniredis.Run() // stands for a Redis server
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(rediscache.ClientOptions(server.Addr()))
	defer client.Close()

	shared, err := rediscache.New(client, nil)
	if err != nil {
		panic(err)
	}
	memory, err := ristrettocache.New(nil)
	if err != nil {
		panic(err)
	}
	defer memory.Close() // Ristretto has goroutines of its own
	store, err := cache.NewFallback(shared, memory, nil)
	if err != nil {
		panic(err)
	}
	near, err := ristrettocache.NewNear(nil)
	if err != nil {
		panic(err)
	}
	defer near.Close()
	// A service also starts shared.Run and store.Run, and waits for them at its end.

	prices, err := cache.New[int](store, "prices", time.Minute, &cache.Options{
		Near: near,
		Tags: func(string) []string { return []string{"catalogue"} },
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	load := func(context.Context) (int, error) {
		fmt.Println("loading")
		return 120, nil
	}
	for range 2 {
		price, err := prices.GetOrLoad(ctx, "apple", load)
		fmt.Println(price, err)
	}
	fmt.Println(prices.InvalidateTags(ctx, "catalogue"))
	price, err := prices.GetOrLoad(ctx, "apple", load)
	fmt.Println(price, err)
	// Output:
	// loading
	// 120 <nil>
	// 120 <nil>
	// <nil>
	// loading
	// 120 <nil>
}
