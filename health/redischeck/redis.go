// Package redischeck checks a Redis server for the health package.
package redischeck

import (
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
	// of a minute. It also detects a server that accepts writes and loses them.
	// Default: empty. Then a write that changes no data detects a server that rejects
	// writes.
	WriteKey string
}

// New returns a check of a Redis server, a cluster, a sentinel set or a ring: PING, the
// response time, memory against maxmemory, and whether it accepts writes. It is Shared
// and not critical, because a service should work without its cache.
func New(name string, client redis.UniversalClient, opts *Options) health.Check {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.SlowAfter == 0 {
		o.SlowAfter = 100 * time.Millisecond
	}
	if o.MemoryPercent == 0 {
		o.MemoryPercent = 90
	}
	return health.Check{
		Name: name, Type: "datastore", Shared: true, Timeout: o.Timeout,
		Checker: &check{client: client, opts: o},
	}
}

type check struct {
	client redis.UniversalClient
	opts   Options
}

// Validate rejects a missing client and invalid numbers.
func (c *check) Validate() error {
	switch {
	case c.client == nil:
		return errors.New("the Redis client is nil")
	case c.opts.SlowAfter < 0:
		return errors.New("SlowAfter must not be negative")
	case c.opts.MemoryPercent < 0 || c.opts.MemoryPercent > 100:
		return fmt.Errorf("MemoryPercent %v is not a percentage", c.opts.MemoryPercent)
	}
	return nil
}

// Check implements health.Checker.
func (c *check) Check(ctx context.Context) health.Result {
	start := time.Now()
	if err := c.client.Ping(ctx).Err(); err != nil {
		return health.Failed("no answer", err)
	}
	took := time.Since(start)
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("answered in %d ms", took.Milliseconds()),
		Observed: []health.Measurement{{
			Name: "responseTime", Value: float64(took) / float64(time.Millisecond), Unit: "ms",
			Limits: health.Limits{Warn: float64(c.opts.SlowAfter) / float64(time.Millisecond)},
		}},
	}
	c.look(ctx, &res)
	if c.opts.AllowReadOnly {
		return res
	}
	if err := c.probe(ctx); err != nil {
		res.Status = health.Fail
		res.Summary = "answers and refuses writes"
		res.Err = err
	}
	return res
}

// probeKey is a key that never exists.
const probeKey = "mainstay:health:never-written"

// probe tries a write. SET with XX stores no value under a key that does not exist, but
// the server treats it as a write. A replica, a full memory, a failed snapshot and too
// few replicas reject it. For a user without write permission, the check cannot find
// out whether the server would accept it.
func (c *check) probe(ctx context.Context) error {
	if c.opts.WriteKey != "" {
		return c.write(ctx)
	}
	err := c.client.SetXX(ctx, probeKey, "health", time.Second).Err()
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOPERM") {
		return nil
	}
	if redis.HasErrorPrefix(err, "ERR") && strings.Contains(err.Error(), "unknown command") {
		return nil // the operator has disabled SET
	}
	return err
}

// look adds the values of INFO. A server that forbids INFO can still be well.
func (c *check) look(ctx context.Context, res *health.Result) {
	text, err := c.client.Info(ctx).Result()
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
func (c *check) write(ctx context.Context) error {
	const value = "health"
	if err := c.client.Set(ctx, c.opts.WriteKey, value, time.Minute).Err(); err != nil {
		return err
	}
	got, err := c.client.Get(ctx, c.opts.WriteKey).Result()
	if err != nil {
		return err
	}
	if got != value {
		return fmt.Errorf("wrote %q and read something else", value)
	}
	return c.client.Del(ctx, c.opts.WriteKey).Err()
}
