package testserver

import (
	"context"
	"testing"
	"time"
)

func TestRedisLifecycle(t *testing.T) {
	t.Parallel()
	server := Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	server.Do("SET", "k", "v")

	for _, end := range []func(){server.Stop, server.Kill} {
		end()
		if server.PID() != 0 {
			t.Fatal("a stopped server has a process id")
		}
		if err := ping(server); err == nil {
			t.Fatal("a stopped server answers")
		}
		server.Restart()
		if got := server.Do("GET", "k"); got != "v" {
			t.Fatalf("after a restart k is %v", got)
		}
	}

	server.Pause()
	if err := ping(server); err == nil {
		t.Fatal("a paused server answers")
	}
	server.Continue()
	eventually(t, "an answer of the continued server", func(context.Context) error { return ping(server) })
}

func ping(server *RedisServer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	return redisAnswers(ctx, server.Addr())
}

func TestRedisSentinelFailsOver(t *testing.T) {
	NeedsLong(t)
	t.Parallel()
	set := RedisSentinel(t, 1)
	old := set.Master()
	if old != set.Nodes()[0] {
		t.Fatalf("the first node should be master, not %s", old.Addr())
	}
	old.Kill()
	eventually(t, "another master", func(ctx context.Context) error {
		if node := set.Master(); node == old || node.info(ctx, "replication", "role") != "master" {
			return errAgain
		}
		return nil
	})
}

func TestRedisClusterFailsOver(t *testing.T) {
	NeedsLong(t)
	t.Parallel()
	set := RedisCluster(t, 3, 1)
	old := set.MasterOf("k")
	old.Kill()
	eventually(t, "another master", func(context.Context) error {
		if set.MasterOf("k") == old {
			return errAgain
		}
		return nil
	})
}

type againError struct{}

func (againError) Error() string { return "not yet" }

var errAgain = againError{}
