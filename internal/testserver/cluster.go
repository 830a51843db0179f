package testserver

import (
	"context"
	"fmt"
	"strconv"
	"testing"
)

const slots = 16384

// ClusterSet is a Redis Cluster. A replica replaces a dead master after about two seconds.
type ClusterSet struct {
	t     testing.TB
	nodes []*RedisServer
}

// RedisCluster starts masters that share the slots evenly, each with its replicas, and waits
// until all nodes agree. Failover needs three masters.
func RedisCluster(t testing.TB, masters, replicasPer int) *ClusterSet {
	t.Helper()
	set := &ClusterSet{t: t}
	for range masters * (1 + replicasPer) {
		set.nodes = append(set.nodes, startRedis(t, func(int) []string {
			return []string{
				"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(FreePort(t)),
				"--cluster-node-timeout", "1500", "--cluster-replica-validity-factor", "0",
				"--cluster-require-full-coverage", "no",
			}
		}))
	}
	for i, node := range set.nodes {
		if i < masters {
			node.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		}
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, node := range set.nodes[1:] {
		port := strconv.Itoa(node.port)
		bus := fmt.Sprint(node.Do("CONFIG", "GET", "cluster-port").([]any)[1])
		set.nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", port, bus)
	}
	set.await("every node to know the others", "cluster_known_nodes", strconv.Itoa(len(set.nodes)))
	for i, replica := range set.nodes[masters:] {
		master := fmt.Sprint(set.nodes[i%masters].Do("CLUSTER", "MYID"))
		eventually(t, "a replica to follow its master", func(ctx context.Context) error {
			_, err := redisCommand(ctx, replica.Addr(), "CLUSTER", "REPLICATE", master)
			return err
		})
	}
	for _, replica := range set.nodes[masters:] {
		eventually(t, "a replica's first copy", func(ctx context.Context) error {
			if link := replica.info(ctx, "replication", "master_link_status"); link != "up" {
				return fmt.Errorf("replica %s: link %q", replica.Addr(), link)
			}
			return nil
		})
	}
	set.await("the cluster to be up", "cluster_state", "ok")
	set.await("all slots to be served", "cluster_slots_ok", strconv.Itoa(slots))
	set.await("all masters to be known", "cluster_size", strconv.Itoa(masters))
	return set
}

// await waits until a field of CLUSTER INFO has the value on every node.
func (s *ClusterSet) await(what, field, value string) {
	s.t.Helper()
	eventually(s.t, what, func(ctx context.Context) error {
		for _, node := range s.nodes {
			reply, err := redisCommand(ctx, node.Addr(), "CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if got := infoField(fmt.Sprint(reply), field); got != value {
				return fmt.Errorf("node %s: %s is %q, not %q", node.Addr(), field, got, value)
			}
		}
		return nil
	})
}

// Addrs returns the nodes' addresses, the first masters before the replicas.
func (s *ClusterSet) Addrs() []string { return addrs(s.nodes) }

// Nodes returns the nodes in the same order.
func (s *ClusterSet) Nodes() []*RedisServer { return s.nodes }

// MasterOf returns the current master of key's slot, according to the first node that responds.
func (s *ClusterSet) MasterOf(key string) *RedisServer {
	s.t.Helper()
	var master *RedisServer
	eventually(s.t, "the master of "+key, func(ctx context.Context) error {
		var last error
		for _, node := range s.nodes {
			slot, err := redisCommand(ctx, node.Addr(), "CLUSTER", "KEYSLOT", key)
			if err != nil {
				last = err
				continue
			}
			ranges, err := redisCommand(ctx, node.Addr(), "CLUSTER", "SLOTS")
			if err != nil {
				last = err
				continue
			}
			if master = s.owner(ranges, slot.(int64)); master != nil {
				return nil
			}
			last = fmt.Errorf("node %s knows no master of slot %v", node.Addr(), slot)
		}
		return last
	})
	return master
}

// owner finds a slot's master in a response of CLUSTER SLOTS: a list of first slot, last slot,
// master, replicas… A node is host, port, id.
func (s *ClusterSet) owner(ranges any, slot int64) *RedisServer {
	list, _ := ranges.([]any)
	for _, item := range list {
		entry, _ := item.([]any)
		if len(entry) < 3 || entry[0].(int64) > slot || entry[1].(int64) < slot {
			continue
		}
		port := entry[2].([]any)[1].(int64)
		for _, node := range s.nodes {
			if int64(node.port) == port {
				return node
			}
		}
	}
	return nil
}
