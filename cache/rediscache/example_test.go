package rediscache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// Production wiring: memory, Redis, invalidations, outages.
func Example() { //nolint:testableexamples // it needs a Redis
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client := redis.NewClient(rediscache.ClientOptions("127.0.0.1:6379"))
	defer client.Close()
	store, err := rediscache.New(client, nil)
	if err != nil {
		panic(err)
	}
	go func() { _ = store.Run(ctx) }()

	prices, err := cache.New[int](store, "prices", time.Minute, nil)
	if err != nil {
		panic(err)
	}
	price, err := prices.GetOrLoad(ctx, "apple", func(context.Context) (int, error) { return 120, nil })
	fmt.Println(price, err)
}
