// Package redisdeadline limits the time of calls of a Redis client.
package redisdeadline

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ignored reports whether a client may ignore the deadlines of contexts. go-redis ignores them
// by default.
func Ignored(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return !c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return !c.Options().ContextTimeoutEnabled
	}
	return true
}

// Call calls the client within timeout. If the client may ignore contexts, Call runs it in a
// separate goroutine, which ends with the client's own timeouts.
func Call[T any](ctx context.Context, ignored bool, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ctx, cancel := Within(ctx, timeout)
	defer cancel()
	if !ignored {
		return call(ctx)
	}
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	go func() {
		value, err := call(ctx)
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Within returns a context that ends after timeout. It returns ctx without a second timer if
// ctx ends earlier.
func Within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
