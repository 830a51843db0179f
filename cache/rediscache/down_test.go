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

// TestOneNodeDown: a master that hangs costs the keys of its slots. Keys of the others stay
// hits, their writes are not pending, and they are as fast as before.
func TestOneNodeDown(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	set := testserver.RedisCluster(t, 3, 0)
	o := rediscache.ClusterOptions(set.Addrs()...)
	o.DialTimeout = patient
	cl := redis.NewClusterClient(o)
	defer cl.Close()
	s := running(t, newStore(t, cl, nil))
	c := open[int](t, s, "down", &cache.Options[int]{StoreTimeout: 700 * time.Millisecond, NoMemory: true})
	ctx := t.Context()
	const n = 60
	values := map[string]int{}
	for i := range n {
		values[k(i)] = 1
	}
	if err := c.SetMany(ctx, values); err != nil {
		t.Fatal(err)
	}
	// The state of the cache has a node, too. Any other master may hang.
	var hung *testserver.RedisServer
	for _, node := range set.Nodes() {
		node.Do("CONFIG", "SET", "cluster-require-full-coverage", "no")
		if node != set.MasterOf("cache:tag:all:down") {
			hung = node
		}
	}
	var on []*testserver.RedisServer
	first := ""
	for i := range n {
		on = append(on, set.MasterOf("cache:{down:"+k(i)+"}"))
		if on[i] == hung {
			first = k(i)
		}
	}
	hung.Pause()
	defer hung.Continue()
	_, _ = c.GetOrLoad(ctx, first, one) // opens the breaker of that node
	began, mine := time.Now(), 0
	for i := range n {
		loaded := false
		v, err := c.GetOrLoad(ctx, k(i), func(context.Context) (int, error) { loaded = true; return 2, nil })
		down := on[i] == hung
		if down {
			mine++
		}
		if err != nil || loaded != down || !down && v != 1 {
			t.Errorf("key %d, on the hung master %v: %d, loaded %v, %v", i, down, v, loaded, err)
		}
		if err := c.Set(ctx, k(i), 3); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 8*time.Second { // the keys of the hung master alone would take longer without the breaker
		t.Errorf("%d keys took %v", n, took)
	}
	if st := s.Stats(); st.Pending != mine || mine == 0 || st.Outages != 1 {
		t.Errorf("%d keys on the hung master; %+v", mine, st)
	}
}
