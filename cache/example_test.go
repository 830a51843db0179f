package cache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// A value is loaded once, and again after a tag of it was invalidated.
func Example() {
	prices, err := cache.New(nil, "prices", time.Minute, &cache.Options[int]{
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
