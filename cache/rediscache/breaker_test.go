package rediscache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// TestImpatientCallers: callers that leave during a short pause say nothing about the server. The
// breaker stays closed.
func TestImpatientCallers(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Millisecond)
		},
		"cause": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(5*time.Millisecond, func() { cancel(errors.New("another part of the group failed")) })
			return ctx, func() { cancel(nil) }
		},
	} {
		server := redisServer(t)
		o := clientOptions(server.Addr())
		o.ContextTimeoutEnabled = name == "deadline" // such a client obeys no cancellation during a read
		cl := redis.NewClient(o)
		defer cl.Close()
		s := running(t, newStore(t, cl, &rediscache.Options{Timeout: patient}))
		c := open[int](t, s, "n", &cache.Options[int]{NoMemory: true})
		if err := c.Set(t.Context(), "k", 1); err != nil {
			t.Fatal(err)
		}
		server.Pause()
		for range 5 {
			ctx, cancel := leave(t.Context())
			if _, _, err := c.Get(ctx, "k"); err == nil {
				t.Errorf("%s: a paused server replied", name)
			}
			cancel()
		}
		server.Continue()
		v, err := c.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { return 2, nil })
		if s.Degraded() || s.Stats().Outages != 0 || v != 1 || err != nil {
			t.Errorf("%s: degraded %v, %d outages, %d, %v", name, s.Degraded(), s.Stats().Outages, v, err)
		}
	}
}

// TestImpatientCallersOfHungServer: a server that replies to no call for the timeout opens the
// breaker, also if every caller leaves earlier.
func TestImpatientCallersOfHungServer(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	s := newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: 500 * time.Millisecond})
	c := open[int](t, s, "n", &cache.Options[int]{NoMemory: true, StoreTimeout: 20 * time.Millisecond})
	server.Pause()
	defer server.Continue()
	began := time.Now()
	eventually(t, "the breaker opens", func() bool {
		_, _, _ = c.Get(t.Context(), "k")
		return s.Degraded()
	})
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("after %v", took)
	}
}
