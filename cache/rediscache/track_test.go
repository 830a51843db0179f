package rediscache_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// tracker is a process that receives the writes of other software. Its values live in memory
// for an hour, so that only an invalidation drops them.
func tracker(t *testing.T, c redis.UniversalClient, trace *rediscache.Trace) (*rediscache.Store, *cache.Typed[int]) {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	s := running(t, newStore(t, c, &rediscache.Options{Timeout: 5 * time.Second, Tracking: true, LocalLimit: time.Hour, Trace: trace}))
	eventually(t, "writes are tracked", func() bool { return s.Stats().Tracking })
	return s, open[int](t, s, "values", &cache.Options[int]{Tags: func(string) []string { return []string{"group"} }})
}

// settled reads a key until it is served from memory: the server also reports the writes of
// this process.
func settled(t *testing.T, c *cache.Typed[int], key string, load int) {
	t.Helper()
	eventually(t, key+" is in memory", func() bool {
		before := c.Stats().LocalHits
		if _, err := c.GetOrLoad(t.Context(), key, func(context.Context) (int, error) { return load, nil }); err != nil {
			t.Fatal(err)
		}
		return c.Stats().LocalHits > before
	})
}

func becomes(t *testing.T, c *cache.Typed[int], key string, want int) {
	t.Helper()
	eventually(t, key+" is loaded again", func() bool {
		v, err := c.GetOrLoad(t.Context(), key, func(context.Context) (int, error) { return want, nil })
		return err == nil && v == want
	})
}

// TestTracking: writes by other software drop the values in memory, on each kind of client.
func TestTracking(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	cluster := testserver.RedisCluster(t, 3, 0)
	for name, dial := range map[string]func() redis.UniversalClient{
		"server": func() redis.UniversalClient { return redis.NewClient(clientOptions(server.Addr())) },
		"Cluster": func() redis.UniversalClient {
			return redis.NewClusterClient(clusterOptions(cluster.Addrs()...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := tracker(t, dial(), nil)
			other := dial()
			defer other.Close()
			long := strings.Repeat("x", 600)
			for _, key := range []string{"k0", "k1", "k2", long} { // several masters of a Cluster
				settled(t, c, key, 1)
				for _, master := range masters(t, other) {
					for _, name := range master.Keys(t.Context(), "cache:{*").Val() {
						master.Del(t.Context(), name)
					}
				}
				becomes(t, c, key, 2)
			}
			settled(t, c, "k0", 2)
			other.Set(t.Context(), "cache:{values:k0}", "foreign", 0)
			becomes(t, c, "k0", 3)
			settled(t, c, "k1", 2)
			other.Del(t.Context(), "cache:tag:tag:group")
			becomes(t, c, "k1", 4)
			settled(t, c, "k2", 2)
			for _, master := range masters(t, other) {
				master.FlushDB(t.Context())
			}
			becomes(t, c, "k2", 5)
			if s.Stats().Tracked == 0 {
				t.Errorf("%+v", s.Stats())
			}
		})
	}
}

func masters(t *testing.T, c redis.UniversalClient) (out []*redis.Client) {
	t.Helper()
	var mu sync.Mutex
	add := func(_ context.Context, m *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, m)
		return nil
	}
	switch c := c.(type) {
	case *redis.Client:
		return []*redis.Client{c}
	case *redis.ClusterClient:
		_ = c.ForEachMaster(t.Context(), add)
	}
	return out
}

// TestTrackingOutage: a killed connection, a hung server and a dead one end the trust in
// memory, and each change is reported once.
func TestTrackingOutage(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := redisServer(t)
	var mu sync.Mutex
	var reports []error
	s, c := tracker(t, client(t, server.Addr()), &rediscache.Trace{Tracking: func(_ context.Context, e rediscache.TrackingEvent) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, e.Err)
	}})
	back := func() bool { // and has been reported
		mu.Lock()
		defer mu.Unlock()
		return s.Stats().Tracking && len(reports) > 0 && reports[len(reports)-1] == nil
	}
	for i := range 3 {
		settled(t, c, "k", i)
		server.Do("CLIENT", "KILL", "TYPE", "pubsub")
		server.Do("DEL", "cache:{values:k}") // nobody receives it
		becomes(t, c, "k", 10+i)
		eventually(t, "writes are tracked again", back)
	}
	mu.Lock()
	reports = nil
	mu.Unlock()
	server.Pause()
	eventually(t, "the silence is noticed", func() bool { return !s.Stats().Tracking })
	server.Continue()
	eventually(t, "writes are tracked again", back)
	server.Kill()
	eventually(t, "the end is noticed", func() bool { return !s.Stats().Tracking })
	server.Restart()
	eventually(t, "writes are tracked again", back)
	mu.Lock()
	defer mu.Unlock()
	for i, err := range reports {
		if (err != nil) != (i%2 == 0) {
			t.Errorf("report %d: %v", i, err)
		}
	}
}

// TestTrackingForbidden: a missing right is reported once, and memory is trusted briefly.
func TestTrackingForbidden(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	server.Do("ACL", "SETUSER", "default", "-client|tracking")
	reports := make(chan error, 100)
	s := running(t, newStore(t, client(t, server.Addr()), &rediscache.Options{Tracking: true, LocalLimit: time.Hour, Trace: &rediscache.Trace{
		Tracking: func(_ context.Context, e rediscache.TrackingEvent) { reports <- e.Err },
	}}))
	if err := <-reports; err == nil || !strings.Contains(err.Error(), "rediscache: tracking "+server.Addr()) {
		t.Error(err)
	}
	time.Sleep(600 * time.Millisecond) // two more tries
	if limit := s.Capabilities().Memory.Limit(); len(reports) != 0 || s.Stats().Tracking || limit != 2*time.Second {
		t.Errorf("%d more reports, limit %v", len(reports), limit)
	}
}

func TestTrackingNeedsAKnownClient(t *testing.T) {
	c := client(t, "127.0.0.1:1")
	_, err := rediscache.New(struct{ redis.UniversalClient }{c}, &rediscache.Options{Tracking: true})
	if err == nil || !strings.Contains(err.Error(), "rediscache: Tracking needs") {
		t.Error(err)
	}
}
