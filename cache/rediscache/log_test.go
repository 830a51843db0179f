package rediscache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// refusing is a hook of a client whose server rejects messages for the log, and executes the
// other commands of the same round trip.
type refusing struct {
	on  atomic.Bool
	err error
}

func (r *refusing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *refusing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if r.on.Load() && cmd.Name() == "xadd" {
			cmd.SetErr(r.err)
			return r.err
		}
		return next(ctx, cmd)
	}
}

func (r *refusing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) (err error) {
		var others []redis.Cmder
		for _, cmd := range cmds {
			if r.on.Load() && cmd.Name() == "xadd" {
				cmd.SetErr(r.err)
				err = r.err
			} else {
				others = append(others, cmd)
			}
		}
		if len(others) > 0 {
			err = errors.Join(next(ctx, others), err)
		}
		return err
	}
}

// TestRefusedMessages: a message that the server rejects for now is sent again, also if no
// later write follows. Other processes then drop what was written, and nothing else.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	server, set := redisServer(t), testserver.RedisCluster(t, 3, 0)
	for name, dial := range map[string]func() redis.UniversalClient{
		"server":  func() redis.UniversalClient { return redis.NewClient(clientOptions(server.Addr())) },
		"Cluster": func() redis.UniversalClient { return redis.NewClusterClient(clusterOptions(set.Addrs()...)) },
	} {
		for i, refusal := range []string{
			"CLUSTERDOWN Hash slot not served", "TRYAGAIN Multiple keys request during rehashing of slot", "LOADING Redis is loading the dataset in memory",
			"NOREPLICAS Not enough good replicas to write.", "MISCONF Redis is configured to save RDB snapshots", "BUSY Redis is busy running a script", "ERR max number of clients reached",
		} {
			if (i%2 == 0) != (name == "Cluster") && !testserver.Long() {
				continue // a plain run has each refusal once
			}
			t.Run(name+" "+refusal[:8], func(t *testing.T) {
				t.Parallel()
				hook := &refusing{err: replyError(refusal)}
				connect := func(hook redis.Hook) *rediscache.Store {
					c := dial()
					t.Cleanup(func() { c.Close() })
					if hook != nil {
						c.(interface{ AddHook(redis.Hook) }).AddHook(hook)
					}
					return running(t, newStore(t, c, &rediscache.Options{LocalLimit: time.Hour, OfflineLimit: time.Hour, Timeout: 5 * time.Second}))
				}
				writer := connect(hook)
				c, other := open[int](t, writer, refusal[:8], nil), open[int](t, connect(nil), refusal[:8], nil)
				ctx := t.Context()
				const written, all = 20, 40
				values := map[string]int{}
				for i := range all {
					values[k(i)] = 1
				}
				if err := c.SetMany(ctx, values); err != nil {
					t.Fatal(err)
				}
				eventually(t, "all values are in the memory of the other process", func() bool {
					before := other.Stats().LocalHits
					readable(t, other, all)
					return other.Stats().LocalHits-before == all
				})
				hook.on.Store(true)
				for i := range written {
					if err := c.Delete(ctx, k(i)); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(500 * time.Millisecond) // Run has tried again
				if n := readable(t, other, all); n != all {
					t.Errorf("the messages were not refused: %d values", n)
				}
				hook.on.Store(false)
				eventually(t, "the other process receives all messages", func() bool { return readable(t, other, written) == 0 })
				before := other.Stats().LocalHits
				if n := readable(t, other, all); n != all-written || other.Stats().LocalHits-before != all-written {
					t.Errorf("%d values, %d in memory; want the %d that were not written", n, other.Stats().LocalHits-before, all-written)
				}
			})
		}
	}
}

// TestTooManyRefusedMessages: above the bound of a process for messages that wait, the other
// processes drop all their values, also those that were not written.
func TestTooManyRefusedMessages(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	hook := &refusing{err: replyError("LOADING Redis is loading the dataset in memory")}
	cl := client(t, server.Addr())
	cl.AddHook(hook)
	c := open[int](t, running(t, newStore(t, cl, &rediscache.Options{Timeout: 10 * time.Second})), "p", nil)
	other := open[int](t, running(t, newStore(t, client(t, server.Addr()), &rediscache.Options{LocalLimit: time.Hour, OfflineLimit: time.Second})), "p", nil)
	if err := c.SetMany(t.Context(), map[string]int{"0": 1, "1": 1}); err != nil {
		t.Fatal(err)
	}
	fromMemory := func() bool {
		before := other.Stats().LocalHits
		readable(t, other, 2)
		return other.Stats().LocalHits == before+2
	}
	eventually(t, "the values are in memory", fromMemory)
	hook.on.Store(true)
	if err := c.Delete(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, 4000)
	for i := range 32 {
		for n := range keys {
			keys[n] = k(2 + i*len(keys) + n)
		}
		if err := c.Delete(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
	}
	if !fromMemory() {
		t.Error("the messages were not refused")
	}
	hook.on.Store(false)
	written, unwritten := false, false
	eventually(t, "the other process drops its values", func() bool {
		_, ok, err := other.Get(t.Context(), "0")
		before := other.Stats().LocalHits
		_, _, err2 := other.Get(t.Context(), "1")
		written = written || err == nil && !ok
		unwritten = unwritten || err2 == nil && other.Stats().LocalHits == before
		return written && unwritten
	})
}
