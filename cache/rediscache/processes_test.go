package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// onServerAndCluster runs a test with two processes on one server, and on a Cluster, beside other
// tests.
func onServerAndCluster(t *testing.T, test func(t *testing.T, a, b *rediscache.Store)) {
	t.Helper()
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		addr := redisServer(t).Addr()
		test(t, unhurried(t, addr), unhurried(t, addr))
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		set := testserver.RedisCluster(t, 3, 0)
		connect := func() *rediscache.Store {
			c := redis.NewClusterClient(clusterOptions(set.Addrs()...))
			t.Cleanup(func() { c.Close() })
			return running(t, newStore(t, c, &rediscache.Options{Timeout: patient}))
		}
		test(t, connect(), connect())
	})
}

// TestOneLoadOfEachKey: two processes that load overlapping batches load each key once.
func TestOneLoadOfEachKey(t *testing.T) {
	onServerAndCluster(t, func(t *testing.T, a, b *rediscache.Store) {
		caches := []*cache.Typed[int]{open[int](t, a, "p", nil), open[int](t, b, "p", nil)}
		var keys []string
		for i := range 60 {
			keys = append(keys, k(i))
		}
		var loads sync.Map
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				got, err := caches[i%2].GetOrLoadMany(t.Context(), keys[i*10:i*10+30], func(_ context.Context, missing []string) (map[string]int, error) {
					out := map[string]int{}
					for _, key := range missing {
						n, _ := loads.LoadOrStore(key, new(atomic.Int32))
						n.(*atomic.Int32).Add(1)
						out[key] = 7
					}
					time.Sleep(100 * time.Millisecond)
					return out, nil
				})
				if err != nil || len(got) != 30 {
					t.Errorf("%d values, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		loads.Range(func(key, n any) bool {
			if n := n.(*atomic.Int32).Load(); n != 1 {
				t.Errorf("%v: %d loads", key, n)
			}
			return true
		})
	})
}

// TestForeignWritesFenceLoads: another process changes the key during a load, in each way
// there is. The loaded value is in no store afterwards.
func TestForeignWritesFenceLoads(t *testing.T) {
	onServerAndCluster(t, func(t *testing.T, sa, sb *rediscache.Store) {
		opts := &cache.Options[int]{Tags: func(string) []string { return []string{"group"} }, StaleFor: time.Hour}
		a, b := open[int](t, sa, "p", opts), open[int](t, sb, "p", opts)
		ctx := t.Context()
		for name, change := range map[string]func(key string) error{
			"own Delete":       func(key string) error { return a.Delete(ctx, key) },
			"Delete":           func(key string) error { return b.Delete(ctx, key) },
			"Delete of others": func(key string) error { return b.Delete(ctx, "x", key, "y") },
			"Set":              func(key string) error { return b.Set(ctx, key, 2) },
			"tag":              func(string) error { return b.InvalidateTags(ctx, "group") },
			"tag of the call":  func(key string) error { return b.InvalidateTags(ctx, "call "+key) },
			"late tag":         func(key string) error { return b.InvalidateTags(ctx, "late "+key) },
			"Clear":            func(string) error { return b.Clear(ctx) },
		} {
			for round := range testserver.Sample(10, 60) {
				key := fmt.Sprint(name, round)
				v, err := a.GetOrLoad(ctx, key, func(ctx context.Context) (int, error) {
					return 1, errors.Join(change(key), cache.SetTags(ctx, "late "+key))
				}, cache.WithTags("call "+key))
				if v != 1 || err != nil {
					t.Fatal(name, v, err)
				}
				two := func(ctx context.Context) (int, error) { return 2, cache.SetTags(ctx, "late "+key) }
				if v, err := b.GetOrLoad(ctx, key, two); v != 2 || err != nil {
					t.Errorf("%s: Redis kept %d, %v", name, v, err)
				}
				eventually(t, name+": the memory of the loader drops it", func() bool {
					v, err := a.GetOrLoad(ctx, key, two)
					return v == 2 && err == nil
				})
			}
		}
	})
}

// TestSentinelFailover: the process that writes reads its writes, and all agree in the end.
func TestSentinelFailover(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	set := testserver.RedisSentinel(t, 2)
	connect := func() *rediscache.Store {
		c := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: set.MasterName(), SentinelAddrs: set.Addrs(), ContextTimeoutEnabled: true,
			DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, MaxRetries: -1,
		})
		t.Cleanup(func() { c.Close() })
		return running(t, newStore(t, c, nil))
	}
	sa, sb := connect(), connect()
	a, b := open[int64](t, sa, "p", nil), open[int64](t, sb, "p", nil)
	ctx := t.Context()
	var truth atomic.Int64
	load := func(context.Context) (int64, error) { return truth.Load(), nil }
	round := func(i int) {
		now := truth.Add(1)
		if a.Delete(ctx, k(i%16)) != nil {
			return
		}
		if v, err := a.GetOrLoad(ctx, k(i%16), load); err != nil || v < now {
			t.Errorf("the process that wrote %d reads %d, %v", now, v, err)
		}
		if _, err := b.GetOrLoad(ctx, k(i%16), load); err != nil {
			t.Error(err)
		}
	}
	for i := range 200 {
		round(i)
	}
	time.Sleep(500 * time.Millisecond) // Redis replicates
	set.Master().Kill()
	for i, end := 0, time.Now().Add(4*time.Second); time.Now().Before(end); i++ {
		round(i)
	}
	now := truth.Add(1)
	for i := range 16 {
		eventually(t, "a write succeeds", func() bool { return a.Delete(ctx, k(i)) == nil })
	}
	for i := range 16 {
		eventually(t, "all agree", func() bool {
			v, err1 := a.GetOrLoad(ctx, k(i), load)
			w, err2 := b.GetOrLoad(ctx, k(i), load)
			return v == now && w == now && err1 == nil && err2 == nil && sa.Stats().Pending == 0
		})
	}
}

// TestDeadline: a hung server costs the timeout of the store, whatever the client obeys, and
// a missing one less.
func TestDeadline(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	for name, opts := range map[string]*redis.Options{"default client": {Addr: server.Addr()}, "ClientOptions": rediscache.ClientOptions(server.Addr())} {
		t.Run(name, func(t *testing.T) {
			c := redis.NewClient(opts)
			defer c.Close()
			s := newStore(t, c, &rediscache.Options{Timeout: 100 * time.Millisecond})
			server.Pause()
			defer server.Continue()
			began := time.Now()
			ops := []driver.Op{{Kind: driver.Get, Key: "p:k"}}
			if s.Do(t.Context(), ops); !errors.Is(ops[0].Err, driver.ErrUnavailable) || time.Since(began) > 10*time.Second {
				t.Errorf("a hung server: %v after %v", ops[0].Err, time.Since(began))
			}
		})
	}
}

// TestTooLarge: a value above the bound of the store replaces the old one by none.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := newStore(t, client(t, redisServer(t).Addr()), &rediscache.Options{MaxValue: 1000})
	c := open[string](t, s, "p", nil)
	if err := c.Set(t.Context(), "k", "small"); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "k", strings.Repeat("x", 2000)); !errors.Is(err, cache.ErrTooLarge) {
		t.Error(err)
	}
	if v, ok, err := c.Get(t.Context(), "k"); ok || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}
