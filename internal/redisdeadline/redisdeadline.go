// Package redisdeadline bounds calls of a Redis client.
package redisdeadline

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ignored reports whether a client may not obey the deadlines of contexts; go-redis does
// not, unless told otherwise.
func Ignored(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return !c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return !c.Options().ContextTimeoutEnabled
	}
	return true
}

// Call calls the client within timeout. If it may ignore contexts, that is done in a
// goroutine of its own, which ends with the client's own timeouts.
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

// Within returns a context that ends after timeout. A context that ends earlier is returned
// as it is, without a second timer.
func Within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
