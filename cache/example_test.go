package cache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
)

func Example() {
	ctx := context.Background()
	store, err := ristrettocache.New(nil)
	if err != nil {
		panic(err)
	}
	defer store.Close()

	prices, err := cache.New[int](store, "prices", 5*time.Minute, nil)
	if err != nil {
		panic(err)
	}
	load := func(context.Context) (int, error) {
		fmt.Println("asking the database")
		return 320, nil
	}
	for range 2 {
		price, err := prices.GetOrLoad(ctx, "lasagne", load)
		fmt.Println(price, err)
	}
	// Output:
	// asking the database
	// 320 <nil>
	// 320 <nil>
}

func ExampleFunc() {
	ctx := context.Background()
	store, err := ristrettocache.New(nil)
	if err != nil {
		panic(err)
	}
	defer store.Close()
	squares, err := cache.New[int](store, "squares", time.Minute, nil)
	if err != nil {
		panic(err)
	}
	square := cache.Func(squares, func(n int) string { return fmt.Sprint(n) },
		func(_ context.Context, n int) (int, error) {
			fmt.Println("computing", n)
			return n * n, nil
		})
	fmt.Println(square(ctx, 12))
	fmt.Println(square(ctx, 12))
	// Output:
	// computing 12
	// 144 <nil>
	// 144 <nil>
}
