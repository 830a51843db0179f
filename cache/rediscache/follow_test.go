package rediscache_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// follower is a hook of a client. It fails the reads of the log, or holds the reads that wait
// for new entries.
type follower struct {
	fails, holds atomic.Bool
	held         chan struct{} // receives for each read that is held
	release      chan struct{}
}

func newFollower() *follower {
	return &follower{held: make(chan struct{}, 1), release: make(chan struct{})}
}

func (f *follower) end() { f.holds.Store(false); close(f.release) }

func (f *follower) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *follower) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.holds.Load() && cmd.Name() == "xread" && slices.Contains(cmd.Args(), any("block")) {
			select {
			case f.held <- struct{}{}:
			default:
			}
			<-f.release
		}
		if f.fails.Load() && (cmd.Name() == "xread" || cmd.Name() == "xrange") {
			cmd.SetErr(errors.New("the log cannot be read"))
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

func (f *follower) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if f.fails.Load() && cmd.Name() == "xread" {
				cmd.SetErr(errors.New("the log cannot be read"))
				return cmd.Err()
			}
		}
		return next(ctx, cmds)
	}
}

// fillLog appends more entries than one read of the log returns.
func fillLog(t *testing.T, addr string) {
	t.Helper()
	p := client(t, addr).Pipeline()
	for range 10_500 {
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: "cache:log", Values: []any{"another", "k12345678"}})
	}
	if _, err := p.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLogLostDuringLoad: the log is deleted during a load that reports its tag at the end. The
// old value is not stored under the new state of the tag.
func TestLogLostDuringLoad(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	c, other := open[string](t, unhurried(t, server.Addr()), "n", nil), open[string](t, unhurried(t, server.Addr()), "n", nil)
	for i := range 5 {
		l := newLateLoad("cat" + k(i))
		key := k(i)
		var loading sync.WaitGroup
		loading.Go(func() { _, _ = c.GetOrLoad(t.Context(), key, l.load) })
		<-l.read
		server.Do("DEL", "cache:log")
		l.source.Store("new")
		if err := other.InvalidateTags(t.Context(), l.tag); err != nil {
			t.Fatal(err)
		}
		close(l.release)
		loading.Wait()
		late := open[string](t, newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: patient}), "n", nil)
		if v, ok, err := late.Get(t.Context(), key); v == "old" || err != nil {
			t.Errorf("after InvalidateTags: %q, %v, %v", v, ok, err)
		}
	}
}

// TestLongBacklog: the process is behind by more entries than one read returns. A load that
// reports its tag at the end still receives the invalidation of the tag.
func TestLongBacklog(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	cl, hook := client(t, server.Addr()), newFollower()
	cl.AddHook(hook)
	c := open[string](t, running(t, newStore(t, cl, &rediscache.Options{Timeout: patient})), "n", nil)
	t.Cleanup(hook.end) // before Run ends
	other := open[string](t, unhurried(t, server.Addr()), "n", nil)
	l := newLateLoad("cat")
	end := l.begin(t, c)
	hook.holds.Store(true)
	<-hook.held
	fillLog(t, server.Addr())
	if err := other.InvalidateTags(t.Context(), l.tag); err != nil {
		t.Fatal(err)
	}
	end()
	if v, ok, err := other.Get(t.Context(), "k"); v == "old" || err != nil {
		t.Errorf("after InvalidateTags: %q, %v, %v", v, ok, err)
	}
}

// TestReconnectBehindLongBacklog: a process that was disconnected applies every missing entry
// before it trusts its memory again.
func TestReconnectBehindLongBacklog(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	cl, hook := client(t, server.Addr()), newFollower()
	cl.AddHook(hook)
	s := running(t, newStore(t, cl, &rediscache.Options{Timeout: patient, LocalLimit: time.Hour, OfflineLimit: time.Hour}))
	t.Cleanup(hook.end) // before Run ends
	c, other := open[int](t, s, "n", nil), open[int](t, unhurried(t, server.Addr()), "n", nil)
	if _, err := c.GetOrLoad(t.Context(), "k", one); err != nil {
		t.Fatal(err)
	}
	hook.fails.Store(true)
	eventually(t, "the process is disconnected", func() bool { return !s.Stats().Online })
	fillLog(t, server.Addr())
	if err := other.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	hook.holds.Store(true) // the reads after the reconnect
	hook.fails.Store(false)
	eventually(t, "invalidations are received", func() bool { return s.Stats().Online })
	if v, ok, err := c.Get(t.Context(), "k"); ok || err != nil {
		t.Errorf("after Delete: %d, %v, %v", v, ok, err)
	}
}
