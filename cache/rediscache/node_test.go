package rediscache_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestTooFewReplicas: a master that rejects all writes for lack of replicas does not have the
// Delete. The write is pending, and no reader of this process receives the old value.
func TestTooFewReplicas(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	s := unhurried(t, server.Addr())
	c := open[string](t, s, "n", nil)
	if err := c.Set(t.Context(), "k", "old"); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	if err := c.Delete(t.Context(), "k"); err != nil || s.Stats().Pending != 1 {
		t.Errorf("%v, %d pending writes", err, s.Stats().Pending)
	}
	if v, ok, _ := c.Get(t.Context(), "k"); ok {
		t.Errorf("before the write is applied: %q", v)
	}
	if v, err := c.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { return "new", nil }); v != "new" || err != nil {
		t.Errorf("before the write is applied: %q, %v", v, err)
	}
	server.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	eventually(t, "the write is applied", func() bool { return s.Stats().Pending == 0 })
	other := open[string](t, unhurried(t, server.Addr()), "n", nil)
	if v, ok, err := other.Get(t.Context(), "k"); v == "old" || err != nil {
		t.Errorf("after Delete: %q, %v, %v", v, ok, err)
	}
}

// TestHungClusterAtStart: the client of a Cluster knows no node yet, and no node replies. The
// first call takes one timeout, however many keys it has, and the next ones take none.
func TestHungClusterAtStart(t *testing.T) {
	t.Parallel()
	set := testserver.RedisCluster(t, 3, 0)
	for _, n := range set.Nodes() {
		n.Pause()
		defer n.Continue()
	}
	const timeout = 500 * time.Millisecond
	for name, call := range map[string]func(*cache.Typed[int]) error{
		"GetOrLoad": func(c *cache.Typed[int]) error { _, err := c.GetOrLoad(t.Context(), "k", one); return err },
		"Delete":    func(c *cache.Typed[int]) error { return c.Delete(t.Context(), "a", "b", "c", "d") },
	} {
		cl := redis.NewClusterClient(rediscache.ClusterOptions(set.Addrs()...))
		defer cl.Close()
		s := newStore(t, cl, &rediscache.Options{Timeout: timeout})
		c := open[int](t, s, "n", nil)
		for range 2 {
			began := time.Now()
			err := call(c)
			if took := time.Since(began); err != nil || took > 3*timeout { // a busy machine is slow
				t.Errorf("%s: %v after %v", name, err, took)
			}
		}
		if n := s.Stats().Pending; name == "Delete" && n != 4 {
			t.Errorf("%d pending writes", n)
		}
		if !s.Degraded() {
			t.Errorf("%s: the breaker is closed", name)
		}
	}
}
