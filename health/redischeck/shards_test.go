package redischeck_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/redischeck"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// Each master of a Cluster counts, whatever the keys of the check are.
func TestEveryMasterOfACluster(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	set := testserver.RedisCluster(t, 3, 0)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: set.Addrs()})
	defer client.Close()
	for _, key := range []string{"", "health:probe"} {
		r := registryOf(t, client, &redischeck.Options{WriteKey: key})
		s := run(t, r)
		require.Equal(t, health.Pass, s.Status, s.Output)
		require.Contains(t, s.Output, "3 shards answered")
		require.Len(t, s.Observed, 3)
		for _, node := range set.Nodes() {
			require.EqualValues(t, 0, node.Do("DBSIZE"), "the check leaves no key behind")
			node.Do("CONFIG", "SET", "min-replicas-to-write", "3")
			s := run(t, r)
			require.Equal(t, health.Fail, s.Status, "%s rejects writes: %s", node.Addr(), s.Output)
			require.Contains(t, s.Output, "1 of 3 shards is bad, "+node.Addr())
			require.Contains(t, s.Output, "NOREPLICAS")
			node.Do("CONFIG", "SET", "min-replicas-to-write", "0")
		}
	}
	r := registryOf(t, client, &redischeck.Options{Timeout: time.Second})
	paused := set.Nodes()[1]
	paused.Pause()
	require.Eventually(t, func() bool { return run(t, r).Status == health.Fail }, 20*time.Second, 100*time.Millisecond)
	paused.Continue()
	require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 100*time.Millisecond)
	set.Nodes()[0].Do("CLUSTER", "DELSLOTS", "1", "2")
	require.Eventually(t, func() bool { s := run(t, r); return s.Status == health.Fail }, 20*time.Second, 100*time.Millisecond)
	require.Contains(t, run(t, r).Output, "2 of 16384 slots of the cluster are not served")
	set.Nodes()[0].Do("CLUSTER", "ADDSLOTS", "1", "2")
	require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 100*time.Millisecond)
	dead := set.Nodes()[2]
	dead.Kill()
	for range testserver.Sample(3, 10) {
		s := run(t, r)
		require.Equal(t, health.Fail, s.Status, "a third of the keys is gone: %s", s.Output)
		time.Sleep(300 * time.Millisecond)
	}
	require.Contains(t, run(t, r).Output, dead.Addr())
}

// Each shard of a Ring counts, also one that the Ring leaves out because it is down.
func TestEveryShardOfARing(t *testing.T) {
	t.Parallel()
	addrs, servers := map[string]string{}, []*testserver.RedisServer{}
	for i := range 3 {
		servers = append(servers, testserver.Redis(t))
		addrs[fmt.Sprint("shard", i)] = servers[i].Addr()
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: addrs, HeartbeatFrequency: 50 * time.Millisecond, MaxRetries: -1})
	defer ring.Close()
	for _, key := range []string{"", "health:probe"} {
		require.Eventually(t, func() bool { return ring.Len() == 3 }, 20*time.Second, 20*time.Millisecond)
		r := registryOf(t, ring, &redischeck.Options{WriteKey: key})
		s := run(t, r)
		require.Equal(t, health.Pass, s.Status, s.Output)
		require.Contains(t, s.Output, "3 shards answered")
		servers[1].Kill()
		require.Eventually(t, func() bool { return ring.Len() == 2 }, 20*time.Second, 20*time.Millisecond)
		s = run(t, r)
		require.Equal(t, health.Fail, s.Status, s.Output)
		require.Contains(t, s.Output, "1 of 3 shards is bad, "+servers[1].Addr())
		s = run(t, registryOf(t, ring, nil))
		require.Equal(t, health.Fail, s.Status, "down before the check was created: %s", s.Output)
		require.Contains(t, s.Output, "1 of 3 shards is bad, "+servers[1].Addr())
		servers[1].Restart()
		require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 20*time.Millisecond)
	}
	r := registryOf(t, ring, nil)
	servers[2].Kill()
	delete(addrs, "shard2")
	ring.SetAddrs(addrs)
	require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 20*time.Millisecond, "the shard was removed")
}
