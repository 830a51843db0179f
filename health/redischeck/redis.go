// Package redischeck checks a Redis server for the health package.
package redischeck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/health"
)

// Options tune [New]. The zero value and nil work.
type Options struct {
	// Timeout of a run. It applies even without ContextTimeoutEnabled, without which
	// go-redis ignores the deadline of a context. Default: 2 s.
	Timeout time.Duration
	// SlowAfter is the response time that warns. Default: 100 ms.
	SlowAfter time.Duration
	// MemoryPercent is the share of maxmemory that warns. Default: 90.
	MemoryPercent float64
	// AllowReadOnly is for a replica that is meant to be read-only. Default: false, and
	// a server that rejects writes fails.
	AllowReadOnly bool
	// WriteKey is a key that is written, read and deleted in each run, with an expiry
	// of a minute. It also detects a server that accepts writes and loses them. On a
	// Cluster, each master has a key of its own, such as WriteKey:7. Default: empty. Then a write that changes no data detects a server that rejects
	// writes.
	WriteKey string
}

// New returns a check of a Redis server, a cluster, a sentinel set or a ring: PING, the
// response time, memory against maxmemory, and whether it accepts writes. It is Shared
// and not critical, because a service should work without its cache.
//
// On a Cluster it checks every master and that all slots are served, and on a Ring every
// shard. The worst one counts, and the output names it.
func New(name string, client redis.UniversalClient, opts *Options) health.Check {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.SlowAfter = cmp.Or(o.SlowAfter, 100*time.Millisecond)
	o.MemoryPercent = cmp.Or(o.MemoryPercent, 90)
	c := &check{client: client, opts: o}
	if ring, ok := client.(ringer); ok {
		c.shards.ring(context.Background(), ring) // while none of them counts as down
	}
	return health.Check{Name: name, Type: "datastore", Shared: true, Timeout: o.Timeout, Checker: c}
}

type check struct {
	client redis.UniversalClient
	opts   Options
	shards shards
}

// Validate rejects a missing client and invalid numbers.
func (c *check) Validate() error {
	switch {
	case c.client == nil:
		return errors.New("the Redis client is nil")
	case c.opts.SlowAfter < 0:
		return errors.New("SlowAfter must not be negative")
	case !(c.opts.MemoryPercent >= 0 && c.opts.MemoryPercent <= 100):
		return fmt.Errorf("MemoryPercent %v is not a percentage", c.opts.MemoryPercent)
	}
	return nil
}

// Check implements health.Checker.
func (c *check) Check(ctx context.Context) health.Result {
	found, err := c.sharded(ctx)
	switch {
	case err != nil:
		return health.Failed("no answer", err)
	case found != nil:
		return c.all(ctx, found)
	}
	return c.server(ctx, nil)
}

const responseTime = "responseTime"

// server checks one server: a shard, or the client itself if it has no shards.
func (c *check) server(ctx context.Context, s *shard) health.Result {
	client, key, writes := redis.Cmdable(c.client), c.key(), !c.opts.AllowReadOnly
	if s != nil {
		client, key, writes = s.Client, key+s.suffix, writes && s.ok
	}
	start := time.Now()
	if err := client.Ping(ctx).Err(); err != nil {
		return health.Failed("no answer", err)
	}
	took := time.Since(start)
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("answered in %d ms", took.Milliseconds()),
		Observed: []health.Measurement{{
			Name: responseTime, Value: float64(took) / float64(time.Millisecond), Unit: "ms",
			Limits: health.Limits{Warn: float64(c.opts.SlowAfter) / float64(time.Millisecond)},
		}},
	}
	c.look(ctx, client, &res)
	if s != nil {
		c.cluster(ctx, s, &res)
	}
	if !writes {
		return res
	}
	if err := c.probe(ctx, client, key); err != nil {
		res.Status = health.Fail
		res.Summary = "answers and refuses writes"
		res.Err = err
	}
	return res
}

// probeKey is a key that never exists.
const probeKey = "mainstay:health:never-written"

// key is the key that the check writes.
func (c *check) key() string {
	if c.opts.WriteKey != "" {
		return c.opts.WriteKey
	}
	return probeKey
}

// probe tries a write. SET with XX stores no value under a key that does not exist, but
// the server treats it as a write. A replica, a full memory, a failed snapshot and too
// few replicas reject it. For a user without write permission, the check cannot find
// out whether the server would accept it.
func (c *check) probe(ctx context.Context, client redis.Cmdable, key string) error {
	if c.opts.WriteKey != "" {
		return unlessMoved(write(ctx, client, key))
	}
	err := unlessMoved(client.SetXX(ctx, key, "health", time.Second).Err())
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOPERM") {
		return nil
	}
	if redis.HasErrorPrefix(err, "ERR") && strings.Contains(err.Error(), "unknown command") {
		return nil // the operator has disabled SET
	}
	return err
}

// unlessMoved ignores that the key's slot has moved to another master. The client learns of
// it before the next run.
func unlessMoved(err error) error {
	if redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") {
		return nil
	}
	return err
}

// look adds the values of INFO. A server that forbids INFO can still be well.
func (c *check) look(ctx context.Context, client redis.Cmdable, res *health.Result) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return
	}
	info := parseInfo(text)
	number := func(key string) float64 {
		n, err := strconv.ParseFloat(info[key], 64)
		if err != nil {
			return 0
		}
		return n
	}
	worsen := func(s health.Status, why string) {
		res.Status = max(res.Status, s)
		res.Summary += "; " + why
	}
	if limit := number("maxmemory"); limit > 0 {
		used := 100 * number("used_memory") / limit
		res.Observed = append(res.Observed, health.Measurement{
			Name: "memory", Value: used, Unit: "percent", Limits: health.Limits{Warn: c.opts.MemoryPercent, Clear: 2},
		})
		if used >= 100 && info["maxmemory_policy"] == "noeviction" {
			worsen(health.Fail, "refuses writes: its memory is full and nothing may be evicted")
		}
	}
	if info["loading"] == "1" {
		worsen(health.Fail, "still loading its data")
	}
	if info["rdb_last_bgsave_status"] == "err" {
		worsen(health.Warn, "its last snapshot failed, so it may refuse writes")
	}
	if info["aof_last_write_status"] == "err" {
		worsen(health.Fail, "refuses writes: it cannot write its append-only file")
	}
	if info["role"] == "slave" && info["master_link_status"] == "down" {
		worsen(health.Warn, "a replica that has lost its master")
	}
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	return info
}

// write stores a value, reads it back and deletes it.
func write(ctx context.Context, client redis.Cmdable, key string) error {
	const value = "health"
	if err := client.Set(ctx, key, value, time.Minute).Err(); err != nil {
		return err
	}
	got, err := client.Get(ctx, key).Result()
	if err != nil {
		return err
	}
	if got != value {
		return fmt.Errorf("wrote %q and read something else", value)
	}
	return client.Del(ctx, key).Err()
}
