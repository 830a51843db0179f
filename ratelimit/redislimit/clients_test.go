package redislimit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

// Every client of go-redis will do. On a Cluster and a Ring the keys of two callers lie in
// different places, and a decision over both is all or nothing there too.
func TestClients(t *testing.T) {
	t.Parallel()
	first, second := testserver.Redis(t), testserver.Redis(t)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:                 map[string]string{"first": first.Addr(), "second": second.Addr()},
		ContextTimeoutEnabled: true, MaxRetries: -1,
	})
	t.Cleanup(func() { ring.Close() })
	pipeline, err := dial(t, first.Addr()).(*redis.Client).AutoPipeline()
	require.NoError(t, err)
	t.Cleanup(func() { pipeline.Close() })
	cluster := dial(t, testserver.RedisCluster(t, 3, 0).Addrs()...)
	require.IsType(t, (*redis.ClusterClient)(nil), cluster)
	for name, client := range map[string]Client{"Ring": ring, "AutoPipeliner": pipeline, "ClusterClient": cluster} {
		algorithms := []ratelimit.Algorithm{ratelimit.Exact, ratelimit.GCRA}
		if !testserver.Long() { // a plain run has the keys of a Ring, and GCRA on one client only
			if name == "Ring" {
				continue
			}
			algorithms = algorithms[:1]
			if name == "AutoPipeliner" {
				algorithms[0] = ratelimit.GCRA
			}
		}
		for _, algorithm := range algorithms {
			t.Run(name+"/"+algorithm.String(), func(t *testing.T) {
				t.Parallel()
				ratelimittest.Suite{
					Algorithm: algorithm,
					Window:    500 * time.Millisecond,
					New: func(t testing.TB, p ratelimit.Policy, options *ratelimit.Options) ratelimit.Limiter {
						o := patient()
						o.Prefix = t.Name()
						return limiter(t, store(t, client, o), p, options)
					},
				}.Run(t)
			})
		}
	}
}

// The keys of a policy are listed on all shards of a Ring, and a client that hides its nodes is
// reported.
func TestKeysOfClients(t *testing.T) {
	t.Parallel()
	first, second := testserver.Redis(t), testserver.Redis(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"first": first.Addr(), "second": second.Addr()}, MaxRetries: -1})
	t.Cleanup(func() { ring.Close() })
	var log bytes.Buffer
	o := patient()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := limiter(t, store(t, ring, o), login(), nil)
	const keys = 30
	for i := range keys {
		_, err := l.Allow(context.Background(), fmt.Sprint("user:", i))
		require.NoError(t, err)
	}
	list := map[string]bool{}
	for key := range l.Keys(context.Background(), "user:") {
		list[key] = true
	}
	require.Len(t, list, keys)
	for range l.Keys(context.Background(), "user:") {
		break // on the first node
	}
	require.Empty(t, log.String())
	// A shard that is away costs its own keys only.
	second.Kill()
	left := 0
	for range 6 { // in any order of the shards
		n := 0
		for key := range l.Keys(context.Background(), "user:") {
			require.True(t, list[key])
			n++
		}
		require.Positive(t, n)
		require.True(t, left == 0 || left == n, "%d keys, and then %d", left, n)
		left = n
	}
	require.Less(t, left, keys)
	require.Contains(t, log.String(), "could not be listed")
	hidden := limiter(t, store(t, struct{ Client }{ring}, o), login(), nil)
	for range hidden.Keys(context.Background(), "") {
		t.Error("a key")
	}
	require.Contains(t, log.String(), "does not show its nodes")
}
