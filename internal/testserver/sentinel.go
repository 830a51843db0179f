package testserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// sentinels is the number of sentinels for a set: the minimum that can agree when one fails.
const sentinels = 3

// SentinelSet is a master with its replicas and three sentinels. A replica replaces a dead
// master after about a second.
type SentinelSet struct {
	t         testing.TB
	nodes     []*RedisServer
	sentinels []*RedisServer
}

// RedisSentinel starts a master, the given number of replicas and three sentinels. It waits
// until the sentinels have found all nodes.
func RedisSentinel(t testing.TB, replicas int) *SentinelSet {
	t.Helper()
	set := &SentinelSet{t: t}
	master := Redis(t)
	set.nodes = append(set.nodes, master)
	for range replicas {
		set.nodes = append(set.nodes, Redis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port)))
	}
	for range sentinels {
		set.sentinels = append(set.sentinels, startSentinel(t, set.MasterName(), master.port))
	}
	eventually(t, "the sentinels to know the set", func(ctx context.Context) error {
		for _, node := range set.nodes[1:] {
			if link := node.info(ctx, "replication", "master_link_status"); link != "up" {
				return fmt.Errorf("replica %s: link %q", node.Addr(), link)
			}
		}
		for _, sentinel := range set.sentinels {
			reply, err := redisCommand(ctx, sentinel.Addr(), "SENTINEL", "MASTER", set.MasterName())
			if err != nil {
				return err
			}
			state := pairs(reply)
			if state["num-slaves"] != strconv.Itoa(replicas) || state["num-other-sentinels"] != strconv.Itoa(sentinels-1) {
				return fmt.Errorf("sentinel %s knows %s replicas and %s sentinels", sentinel.Addr(), state["num-slaves"], state["num-other-sentinels"])
			}
		}
		return nil
	})
	return set
}

func startSentinel(t testing.TB, name string, masterPort int) *RedisServer {
	t.Helper()
	binary := first(t, "redis-server", "redis-server")
	for range 5 {
		port := FreePort(t)
		dir := newFolder(t, "sentinel")
		config := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n", port, dir) +
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2\n", name, masterPort) +
			fmt.Sprintf("sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %[1]s 5000\n", name)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatalf("testserver: %v", err)
		}
		server := &RedisServer{port: port}
		server.Process = Process{
			t: t, name: "redis-sentinel " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGTERM,
			command: func() *exec.Cmd { return exec.Command(binary, config, "--sentinel") },
			ready:   func(ctx context.Context) error { return redisAnswers(ctx, address(port)) },
		}
		if server.run() {
			return server
		}
	}
	t.Fatal("testserver: redis-server --sentinel does not start")
	return nil
}

// MasterName returns the name of the set in the sentinels.
func (s *SentinelSet) MasterName() string { return "mainstay" }

// Addrs returns the sentinels' addresses.
func (s *SentinelSet) Addrs() []string { return addrs(s.sentinels) }

// Nodes returns the first master and then the replicas.
func (s *SentinelSet) Nodes() []*RedisServer { return s.nodes }

// Master returns the current master according to the sentinels.
func (s *SentinelSet) Master() *RedisServer {
	s.t.Helper()
	var master *RedisServer
	eventually(s.t, "a master", func(ctx context.Context) error {
		var last error
		for _, sentinel := range s.sentinels {
			reply, err := redisCommand(ctx, sentinel.Addr(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.MasterName())
			if err != nil {
				last = err
				continue
			}
			list, _ := reply.([]any)
			for _, node := range s.nodes {
				if len(list) == 2 && list[1] == strconv.Itoa(node.port) {
					master = node
					return nil
				}
			}
			last = fmt.Errorf("sentinel %s answers %v", sentinel.Addr(), reply)
		}
		return last
	})
	return master
}

func addrs(servers []*RedisServer) []string {
	list := make([]string, len(servers))
	for i, server := range servers {
		list[i] = server.Addr()
	}
	return list
}

// pairs reads a flat list of names and values.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		m[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return m
}

// eventually calls ask until it returns nil. After a time limit it fails the test with the last
// error.
func eventually(t testing.TB, what string, ask func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("testserver: waited %v for %s: %v", startDeadline, what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
