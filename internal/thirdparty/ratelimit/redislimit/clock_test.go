package redislimit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// limiter returns one on a server whose clock the test sets.
func limiter(t *testing.T, addr string, p ratelimit.Policy) *redislimit.Limiter {
	t.Helper()
	client := redis.NewUniversalClient(redislimit.ClientOptions(addr))
	t.Cleanup(func() { client.Close() })
	s, err := redislimit.New(client, &redislimit.Options{Timeout: 10 * time.Second, DenyFor: -1})
	require.NoError(t, err)
	l, err := s.Limiter(p, nil)
	require.NoError(t, err)
	return l
}

// Only the server's clock counts. Services whose own clocks are hours apart are, to
// it, services that ask at its own time: the fake server's clock is set far from this
// process's, and stepped.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		for _, skew := range []time.Duration{-48 * time.Hour, 0, 48 * time.Hour} {
			t.Run(fmt.Sprintf("%v %v", algorithm, skew), func(t *testing.T) {
				t.Parallel()
				server := miniredis.RunT(t)
				now := time.Now().Add(skew).Truncate(time.Hour)
				server.SetTime(now)
				step := func(d time.Duration) {
					now = now.Add(d)
					server.SetTime(now)
					if d > 0 {
						server.FastForward(d)
					}
				}
				p := ratelimit.Policy{Name: "clock", Limit: 5, Window: time.Hour, Algorithm: algorithm}
				l := limiter(t, server.Addr(), p)
				use := func(n int) (allowed int) {
					for range n {
						r, err := l.Allow(context.Background(), "k")
						require.NoError(t, err)
						require.False(t, r.Degraded)
						if r.Allowed {
							allowed++
						}
					}
					return allowed
				}
				require.Equal(t, 3, use(3))
				step(30 * time.Minute)
				require.Equal(t, 2, use(9))
				step(-20 * time.Minute) // set back: nothing is freed
				require.Equal(t, 0, use(9))
				r, err := l.Peek(context.Background(), "k")
				require.NoError(t, err)
				require.False(t, r.Allowed)
				require.Positive(t, r.RetryAfter)
				step(r.RetryAfter + time.Millisecond) // stamps of one instant lie a microsecond apart
				require.Equal(t, 3, use(9), "and the wait that it states is enough")
			})
		}
	}
}

// A reservation must be found by its stamp even among those of one instant.
func TestCancelAmongTheSameInstant(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.SetTime(time.Now())
	l := limiter(t, server.Addr(), ratelimit.API())
	ctx := context.Background()
	var all []*ratelimit.Reservation
	for cost := 1; cost <= 10; cost++ {
		r, err := l.Reserve(ctx, "k", cost)
		require.NoError(t, err)
		require.True(t, r.Result().Allowed)
		all = append(all, r)
	}
	left := 100 - 55
	for i, r := range all {
		for range 3 {
			require.NoError(t, r.Cancel(ctx))
		}
		left += i + 1
		got, err := l.Peek(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, left, got.Remaining)
	}
}
