package redislimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// evictionEvery is how often Run reads how many keys Redis has evicted.
const evictionEvery = time.Minute

// eviction is whether Redis frees keys that are in use.
type eviction struct {
	keys           atomic.Uint64 // evicted since the first reading
	first          int64         // of the first reading
	read           bool
	warned, losing bool
}

// readEviction finds out whether Redis evicts keys. Such a key gets all of its units back.
func (s *Store) readEviction(ctx context.Context) {
	var total int64
	policy := ""
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err := s.eachNode(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx).Result()
		if err != nil {
			return err
		}
		evicted, _ := strconv.ParseInt(infoField(text, "evicted_keys"), 10, 64)
		total += evicted
		if p := infoField(text, "maxmemory_policy"); p != "noeviction" && infoField(text, "maxmemory") != "0" {
			policy = p
		}
		return nil
	})
	e := &s.eviction
	if err != nil {
		if isReply(err) && s.due("eviction") { // an operator may forbid INFO
			s.opts.Logger.WarnContext(ctx, "redislimit: Redis does not say whether it evicts keys, so an eviction would not be reported; allow the command INFO", "error", err)
		}
		return
	}
	if !e.read {
		e.first, e.read = total, true
	}
	e.keys.Store(uint64(max(total-e.first, 0))) //nolint:gosec // it is not negative
	if policy != "" && !e.warned {
		e.warned = true
		s.opts.Logger.WarnContext(ctx, "redislimit: Redis evicts keys when its memory is full, and an evicted key gets all of its units back; set maxmemory-policy to noeviction, or give the limits a server of their own", "maxmemory_policy", policy)
	}
	if policy != "" && e.keys.Load() > 0 && !e.losing {
		e.losing = true
		s.opts.Logger.ErrorContext(ctx, "redislimit: Redis has evicted keys, and limits may admit more than their units; see Stats.Evicted", "evicted", e.keys.Load())
	}
}

// infoField returns a field of the reply to INFO.
func infoField(text, name string) string {
	_, text, _ = strings.Cut(text, "\n"+name+":")
	text, _, _ = strings.Cut(text, "\r\n")
	return text
}

// eachNode calls f for each master or shard, one after the other, until f returns errStop. The error of a node
// concerns that node only. eachNode fails for a client that hides its nodes.
func (s *Store) eachNode(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	var mu sync.Mutex
	var nodes []*redis.Client
	add := func(_ context.Context, node *redis.Client) error { // the client calls it for all at once
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
		return nil
	}
	var err error
	switch c := s.client.(type) {
	case *redis.Client:
		nodes = append(nodes, c)
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, add)
	case *redis.Ring:
		err = c.ForEachShard(ctx, add)
	default:
		err = fmt.Errorf("redislimit: a %T does not show its nodes; use a *redis.Client, *redis.ClusterClient or *redis.Ring", c)
	}
	for _, node := range nodes {
		e := f(ctx, node)
		if errors.Is(e, errStop) {
			return e
		}
		err = errors.Join(err, e)
	}
	return err
}
