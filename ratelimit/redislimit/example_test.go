package redislimit_test

import (
	"context"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

func newStore() *redislimit.Store {
	client := redis.NewUniversalClient(redislimit.ClientOptions("127.0.0.1:6379"))
	store, err := redislimit.New(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	return store
}

// Five failed logins in any hour, on all instances together.
func ExampleStore_Limiter() { //nolint:testableexamples // it needs a Redis
	login, err := newStore().Limiter(ratelimit.Login(), nil)
	if err != nil {
		log.Fatal(err)
	}
	r, err := login.Allow(context.Background(), ratelimit.Key("user", "anna"))
	log.Println(r.Allowed, r.Remaining, r.RetryAfter, err)
}

// One report of a tenant at a time, on all instances together.
func ExampleStore_Concurrency() { //nolint:testableexamples // it needs a Redis
	reports, err := newStore().Concurrency(concurrency.Policy{Name: "reports", Limit: 1}, &redislimit.ConcurrencyOptions{
		Lease: 15 * time.Second, // how long a dead instance keeps its slot
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	slot, err := reports.Acquire(ctx, "tenant:7", 1)
	if err != nil || !slot.Result().Allowed {
		log.Fatal(err)
	}
	defer slot.Release()
	work, cancel := slot.Context(ctx) // ends when the slot is lost
	defer cancel()
	log.Println(work.Err() == nil, slot.Held())
}

// A public API key that is asked for ten thousand times a second does not cost Redis
// ten thousand scripts.
func ExampleStore_Leased() { //nolint:testableexamples // it needs a Redis
	calls, err := newStore().Leased(ratelimit.Policy{
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
	stop() // after the server has shut down: what is held goes back
	log.Println(<-returned)
}
