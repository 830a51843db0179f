package cache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
)

// All products of a category are made absent at once.
func ExampleTyped_InvalidateTags() {
	ctx := context.Background()
	near, err := ristrettocache.NewNear(nil)
	if err != nil {
		panic(err)
	}
	defer near.Close()
	categories := map[string]string{"tea": "drinks", "milk": "drinks", "rice": "food"}
	prices, err := cache.New[int](nil, "prices", time.Hour, &cache.Options{
		Near: near,
		Tags: func(product string) []string { return []string{categories[product]} },
	})
	if err != nil {
		panic(err)
	}
	for product := range categories {
		if err := prices.Set(ctx, product, 100); err != nil {
			panic(err)
		}
	}
	if err := prices.InvalidateTags(ctx, "drinks"); err != nil {
		panic(err)
	}
	for _, product := range []string{"tea", "milk", "rice"} {
		_, found, err := prices.Get(ctx, product)
		fmt.Println(product, found, err)
	}
	// Output:
	// tea false <nil>
	// milk false <nil>
	// rice true <nil>
}

// What a failing database had said before is better than nothing.
func ExampleTyped_Expire() {
	ctx := context.Background()
	near, err := ristrettocache.NewNear(nil)
	if err != nil {
		panic(err)
	}
	defer near.Close()
	menu, err := cache.New[string](nil, "menu", time.Hour, &cache.Options{Near: near, StaleFor: 24 * time.Hour})
	if err != nil {
		panic(err)
	}
	if err := menu.Set(ctx, "today", "lasagne"); err != nil {
		panic(err)
	}
	if err := menu.Expire(ctx, "today"); err != nil {
		panic(err)
	}
	fmt.Println(menu.GetOrLoad(ctx, "today", func(context.Context) (string, error) {
		return "", errors.New("the database is away")
	}))
	// Output: lasagne <nil>
}
