package redischeck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/health"
)

// shard is one master of a Cluster, or one server of a Ring.
type shard struct {
	*redis.Client // nil for a shard that a Ring has left out since the start
	addr          string
	// suffix makes a key belong to this shard. ok is false for a master without such a key.
	suffix string
	ok     bool
}

// eacher is a Cluster client, or a client that embeds one.
type eacher interface {
	ForEachMaster(ctx context.Context, f func(context.Context, *redis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
}

// ringer is a Ring, or a client that embeds one.
type ringer interface {
	Options() *redis.RingOptions
	ForEachShard(ctx context.Context, f func(context.Context, *redis.Client) error) error
}

// shards remembers the servers behind a client and the calls to them.
type shards struct {
	mu   sync.Mutex
	seen map[*redis.Client]bool // of a Ring, which hides shards that are down
	met  map[string]bool        // the addresses of all shards that were ever seen
	busy map[string]time.Time   // the start of a call that has not returned, by address
}

// ring returns the shards of a Ring. It opens no connection.
func (s *shards) ring(ctx context.Context, ring ringer) []*shard {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen, s.met = map[*redis.Client]bool{}, map[string]bool{}
	}
	var up sync.Mutex // the shards are visited at the same time
	_ = ring.ForEachShard(ctx, func(_ context.Context, c *redis.Client) error {
		up.Lock()
		defer up.Unlock()
		s.seen[c], s.met[c.Options().Addr] = true, true
		return nil
	})
	var found []*shard
	for c := range s.seen {
		found = append(found, &shard{Client: c, addr: c.Options().Addr, ok: true})
	}
	for _, addr := range ring.Options().Addrs {
		if !s.met[addr] {
			found = append(found, &shard{addr: addr})
		}
	}
	return found
}

// forget removes a shard that SetAddrs of the Ring has closed.
func (s *shards) forget(c *redis.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, c)
}

// masters returns the masters of a Cluster, each with a key of its own.
func masters(ctx context.Context, cluster eacher, key string) ([]*shard, error) {
	var mu sync.Mutex
	var found []*shard
	err := cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, &shard{Client: c, addr: c.Options().Addr})
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A master without slots has no key. 4,096 keys find a master with 0.3 % of the slots.
	for n, missing := 0, len(found); n < 4096 && missing > 0; n++ {
		suffix := ""
		if n > 0 {
			suffix = ":" + strconv.Itoa(n)
		}
		owner, err := cluster.MasterForKey(ctx, key+suffix)
		if err != nil {
			continue // of a slot without a master; CLUSTER INFO reports it
		}
		i := slices.IndexFunc(found, func(s *shard) bool { return s.addr == owner.Options().Addr })
		if i >= 0 && !found[i].ok {
			found[i].suffix, found[i].ok = suffix, true
			missing--
		}
	}
	return found, nil
}

// sharded returns the shards of the client, or nil if it has one server.
func (c *check) sharded(ctx context.Context) ([]*shard, error) {
	if cluster, ok := c.client.(eacher); ok {
		found, err := masters(ctx, cluster, c.key())
		if err == nil && len(found) == 0 {
			err = errors.New("the cluster has no master")
		}
		return found, err
	}
	ring, ok := c.client.(ringer)
	if !ok {
		return nil, nil
	}
	found := c.shards.ring(ctx, ring)
	if len(found) == 0 {
		return nil, errors.New("the ring has no shard")
	}
	return found, nil
}

// all checks every shard at the same time. The worst result counts, and names its shard.
func (c *check) all(ctx context.Context, found []*shard) health.Result {
	if deadline, ok := ctx.Deadline(); ok { // before the run ends, so that the slow shard has a name
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/5))
		defer cancel()
	}
	type result struct {
		health.Result
		addr string
	}
	results := make([]result, len(found))
	var all sync.WaitGroup
	for i, s := range found {
		all.Go(func() { results[i] = result{c.limited(ctx, s), s.addr} })
	}
	all.Wait()
	results = slices.DeleteFunc(results, func(r result) bool { return errors.Is(r.Err, redis.ErrClosed) })
	if len(results) == 0 {
		return health.Failed("no answer", redis.ErrClosed)
	}
	slices.SortFunc(results, func(a, b result) int {
		// A shard that did not answer explains the others, which see that it is gone.
		return cmp.Or(cmp.Compare(b.Status, a.Status), cmp.Compare(len(a.Observed), len(b.Observed)), cmp.Compare(a.addr, b.addr))
	})
	worst := results[0]
	res := health.Result{Status: worst.Status, Summary: worst.addr + ": " + worst.Summary, Err: worst.Err}
	bad, slowest := 0, 0.0
	for _, r := range results {
		if r.Status > health.Pass {
			bad++
		}
		for _, m := range r.Observed {
			m.Component = r.addr
			if m.Name == responseTime {
				slowest = max(slowest, m.Value)
			}
			res.Observed = append(res.Observed, m)
		}
	}
	switch {
	case bad == 0:
		res.Summary = fmt.Sprintf("%d shards answered in at most %.0f ms", len(results), slowest)
	case bad > 1:
		res.Summary = fmt.Sprintf("%d of %d shards are bad, such as %s", bad, len(results), res.Summary)
	default:
		res.Summary = fmt.Sprintf("1 of %d shards is bad, %s", len(results), res.Summary)
	}
	return res
}

// limited checks one shard until ctx ends. go-redis may ignore the end of ctx. The call
// then goes on, and the next run starts no second one.
func (c *check) limited(ctx context.Context, s *shard) health.Result {
	if s.Client == nil {
		return health.Failed("no answer since the start, so the ring leaves it out", nil)
	}
	c.shards.mu.Lock()
	since, busy := c.shards.busy[s.addr]
	if !busy {
		if c.shards.busy == nil {
			c.shards.busy = map[string]time.Time{}
		}
		c.shards.busy[s.addr] = time.Now()
	}
	c.shards.mu.Unlock()
	if busy {
		return health.Failed("no answer since "+since.UTC().Format(time.RFC3339), nil)
	}
	done := make(chan health.Result, 1)
	go func() {
		res := c.server(ctx, s)
		if errors.Is(res.Err, redis.ErrClosed) {
			c.shards.forget(s.Client)
		}
		c.shards.mu.Lock()
		delete(c.shards.busy, s.addr)
		c.shards.mu.Unlock()
		done <- res
	}()
	select {
	case res := <-done:
		return res
	case <-ctx.Done():
		return health.Failed("no answer in time", nil)
	}
}

// slots is the number of slots of every Cluster.
const slots = 16384

// cluster adds the state of the Cluster as one of its masters sees it. A user without the
// right to read it, and a proxy without the command, can still be well.
func (c *check) cluster(ctx context.Context, s *shard, res *health.Result) {
	if _, ok := c.client.(eacher); !ok {
		return
	}
	text, err := s.ClusterInfo(ctx).Result()
	if err != nil {
		return
	}
	info := parseInfo(text)
	served, err := strconv.Atoi(info["cluster_slots_ok"])
	switch {
	case err == nil && served < slots:
		res.Status = health.Fail
		res.Summary += fmt.Sprintf("; %d of %d slots of the cluster are not served", slots-served, slots)
	case info["cluster_state"] == "fail":
		res.Status = health.Fail
		res.Summary += "; the cluster is down"
	}
}
