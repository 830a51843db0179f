package redislimit

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestSentinelFailover(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	set := testserver.RedisSentinel(t, 1)
	options := ClientOptions(set.Addrs()...)
	options.MasterName = set.MasterName()
	failover(t, options, func() { set.Master().Kill() })
}

func TestClusterFailover(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	const masters = 3
	set := testserver.RedisCluster(t, masters, 1)
	failover(t, ClientOptions(set.Addrs()...), func() {
		for _, node := range set.Nodes()[:masters] {
			if n, _ := node.Do("DBSIZE").(int64); n > 0 {
				node.Kill()
				return
			}
		}
		t.Fatal("no master has the key")
	})
}

// failover uses a limit up, ends the master that counted it, and attacks until long
// after another has taken over. Replication is asynchronous, so the new master may know
// nothing: the limit holds once before and once after, never more, and is served again.
func failover(t *testing.T, options *redis.UniversalOptions, kill func()) {
	client := redis.NewUniversalClient(options)
	t.Cleanup(func() { client.Close() })
	policy := ratelimit.Policy{Name: "login", Limit: 20, Window: 4 * time.Second, OnFailure: ratelimit.FailClosed}
	l := limiter(t, store(t, client, &Options{Logger: slog.New(slog.DiscardHandler), BreakerOpen: 100 * time.Millisecond}), policy, nil)
	var admitted []ratelimittest.Admission
	ask := func() ratelimit.Result {
		asked := time.Now()
		r, _ := l.Allow(context.Background(), "user:mallory")
		if r.Allowed {
			admitted = append(admitted, ratelimittest.Admission{Asked: asked, Answered: time.Now()})
		}
		return r
	}
	for deadline := time.Now().Add(time.Minute); len(admitted) < policy.Limit && time.Now().Before(deadline); {
		ask()
	}
	kill()
	lost, back, before := false, time.Time{}, 0
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		before = len(admitted)
		r := ask()
		lost = lost || r.Degraded
		if lost && !r.Degraded {
			back = time.Now()
			break
		}
	}
	require.True(t, lost, "nobody noticed that the master is gone")
	require.False(t, back.IsZero(), "no decision of the new master")
	for time.Since(back) < 2*policy.Window {
		ask()
		time.Sleep(2 * time.Millisecond)
	}
	require.LessOrEqual(t, ratelimittest.MostInAnyWindow(admitted, policy.Window), 2*policy.Limit)
	after := admitted[before:]
	require.LessOrEqual(t, ratelimittest.MostInAnyWindow(after, policy.Window), policy.Limit, "the new master counts like the old one")
	require.GreaterOrEqual(t, len(after), policy.Limit, "and serves what it owes")
}
