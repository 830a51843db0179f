package redislimit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

func newStore() (*redislimit.Store, func()) {
	server, err := miniredis.Run() // stands for the fleet's Redis
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewUniversalClient(redislimit.ClientOptions(server.Addr()))
	store, err := redislimit.New(client, &redislimit.Options{Timeout: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	return store, func() {
		client.Close()
		server.Close()
	}
}

// One report of a tenant at a time, on all instances together.
func ExampleStore_Concurrency() {
	store, end := newStore()
	defer end()
	reports, err := store.Concurrency(ratelimit.ConcurrencyPolicy{Name: "reports", Limit: 1}, &redislimit.ConcurrencyOptions{
		Lease: 15 * time.Second, // how long a dead instance keeps its slot
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	slot, err := reports.Acquire(ctx, "tenant:7")
	if err != nil {
		log.Fatal(err)
	}
	second, err := reports.Acquire(ctx, "tenant:7")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(slot.Result().Allowed, second.Result().Allowed)

	work, cancel := slot.Context(ctx) // ends when the slot is lost
	defer cancel()
	fmt.Println(work.Err() == nil, slot.Held())
	fmt.Println(slot.Release(), slot.Held())
	// Output:
	// true false
	// true true
	// <nil> false
}

// A public API key that is asked for ten thousand times a second does not cost Redis
// ten thousand scripts.
func ExampleStore_Leased() {
	store, end := newStore()
	defer end()
	calls, err := store.Leased(ratelimit.Policy{
		Name: "calls", Limit: 100_000, Window: 10 * time.Second, Algorithm: ratelimit.Buckets,
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	returned := make(chan error)
	go func() { returned <- calls.Run(ctx) }()

	for range 10_000 {
		if r, err := calls.Allow(ctx, "key:hot"); err != nil || !r.Allowed {
			log.Fatal(r, err)
		}
	}
	fmt.Println(store.Stats().Calls < 1000)

	stop() // after the server has shut down: what is held goes back
	fmt.Println(<-returned, calls.Stats().Held)
	// Output:
	// true
	// <nil> 0
}
