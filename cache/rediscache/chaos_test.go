package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// chaosTime is how long the tests with broken servers run; MAINSTAY_CACHE_CHAOS=10m makes a
// long run of them.
func chaosTime(t *testing.T) time.Duration {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if d, err := time.ParseDuration(os.Getenv("MAINSTAY_CACHE_CHAOS")); err == nil {
		return d
	}
	return time.Duration(testserver.Sample(1, 6)) * time.Second
}

// attack writes and reads keys of two processes while trouble happens. Each process writes
// its own keys, and no read of one may return what was there before a write of its own.
// Trouble that must not meet a write calls still. It has at least that many rounds.
func attack(t *testing.T, least int, connect func() *rediscache.Store, trouble func(round int, still func(func()))) {
	t.Helper()
	var writing sync.RWMutex
	still := func(f func()) {
		writing.Lock()
		defer writing.Unlock()
		f()
	}
	var stale, reads, writes, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	over := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	for p := range 2 {
		c := open[int64](t, connect(), "chaos", &cache.Options[int64]{StoreTimeout: 700 * time.Millisecond})
		const keys = 8
		var source, floor [keys]atomic.Int64
		key := func(i int) string { return k(p*keys + i) }
		for w := range 2 { // each writer has keys of its own
			wg.Go(func() {
				for !over() {
					i := rand.IntN(keys/2)*2 + w
					now := source[i].Add(1)
					var err error
					writing.RLock()
					switch rand.IntN(4) {
					case 0:
						err = c.Set(t.Context(), key(i), now, cache.WithTags(key(i)))
					case 1:
						err = c.InvalidateTags(t.Context(), key(i))
					default:
						err = c.Delete(t.Context(), key(i))
					}
					writing.RUnlock()
					if err == nil {
						floor[i].Store(now)
						writes.Add(1)
					} else {
						failed.Add(1)
					}
					time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
				}
			})
		}
		for range 4 {
			wg.Go(func() {
				for !over() {
					i := rand.IntN(keys)
					least := floor[i].Load()
					opts := []cache.CallOption{cache.WithTags(key(i))}
					late := rand.IntN(2) == 0
					if late {
						opts = nil
					}
					v, err := c.GetOrLoad(t.Context(), key(i), func(ctx context.Context) (int64, error) {
						v := source[i].Load()
						time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
						if late {
							return v, cache.SetTags(ctx, key(i))
						}
						return v, nil
					}, opts...)
					if err != nil {
						t.Error(err)
					}
					if v < least {
						stale.Add(1)
					}
					reads.Add(1)
				}
			})
		}
	}
	for round, end := 0, time.Now().Add(chaosTime(t)); round < least || time.Now().Before(end); round++ {
		trouble(round, still)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d stale of %d reads; %d writes, %d refused", stale.Load(), reads.Load(), writes.Load(), failed.Load())
	if stale.Load() > 0 {
		t.Errorf("%d stale of %d reads", stale.Load(), reads.Load())
	}
}

// TestChaos pauses, kills, flushes and fills the server, and cuts its connections.
func TestChaos(t *testing.T) {
	t.Parallel()
	chaosTime(t)
	server := redisServer(t, "--appendonly", "yes", "--appendfsync", "always")
	connect := func() *rediscache.Store { return process(t, server.Addr()) }
	attack(t, 6, connect, func(round int, _ func(func())) {
		switch round % 6 {
		case 0:
			server.Pause()
			time.Sleep(300 * time.Millisecond)
			server.Continue()
		case 1:
			server.Do("CLIENT", "KILL", "TYPE", "normal")
		case 2:
			server.Do("FLUSHALL")
		case 3:
			server.Do("CONFIG", "SET", "maxmemory", "1mb")
			time.Sleep(200 * time.Millisecond)
			server.Do("CONFIG", "SET", "maxmemory", "0")
		case 4:
			server.Pause()
			time.Sleep(900 * time.Millisecond)
			server.Continue()
		default:
			server.Kill()
			time.Sleep(200 * time.Millisecond)
			server.Restart()
		}
		time.Sleep(400 * time.Millisecond)
	})
}

// TestClusterChaos reshards, fills a master, pauses one, and kills one whose replica takes
// over.
func TestClusterChaos(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	length := chaosTime(t)
	set := testserver.RedisCluster(t, 3, 1)
	connect := func() *rediscache.Store {
		cl := redis.NewClusterClient(rediscache.ClusterOptions(set.Addrs()...))
		t.Cleanup(func() { cl.Close() })
		return running(t, newStore(t, cl, nil))
	}
	db := redis.NewClusterClient(rediscache.ClusterOptions(set.Addrs()...))
	defer db.Close()
	key := func(i int) string { return "cache:{chaos:" + k(i%16) + "}" }
	var dead *testserver.RedisServer
	attack(t, 0, connect, func(round int, still func(func())) {
		switch round % 8 {
		case 2:
			full := set.MasterOf(key(round))
			full.Do("CONFIG", "SET", "maxmemory", "1mb")
			time.Sleep(200 * time.Millisecond)
			full.Do("CONFIG", "SET", "maxmemory", "0")
		case 4:
			hung := set.MasterOf(key(round))
			hung.Pause()
			time.Sleep(400 * time.Millisecond)
			hung.Continue()
		case 6:
			if dead != nil || length < 10*time.Second && round > 8 {
				return
			}
			// Redis replicates asynchronously. A write that a lost master had not passed on is
			// undone, which no client can prevent, so the master dies between two writes.
			dead = set.MasterOf(key(round))
			still(func() {
				written := replicated(dead, "master_repl_offset:")
				eventually(t, "the replica has all writes", func() bool { return replicated(dead, "offset=") >= written })
				dead.Kill()
			})
			time.Sleep(4 * time.Second)
		case 7:
			if dead != nil {
				dead.Restart()
				dead = nil
				time.Sleep(time.Second)
			}
		default:
			slot := db.ClusterKeySlot(t.Context(), key(round)).Val()
			if err := migrate(t.Context(), db, set.MasterOf(key(round)).Addr(), slot); err != nil {
				t.Logf("slot %d did not migrate: %v", slot, err)
			}
		}
		time.Sleep(200 * time.Millisecond)
	})
}

// replicated returns an offset in the stream of replication of a master.
func replicated(master *testserver.RedisServer, field string) (offset int64) {
	_, text, _ := strings.Cut(fmt.Sprint(master.Do("INFO", "replication")), field)
	_, _ = fmt.Sscan(strings.SplitN(text, ",", 2)[0], &offset)
	return offset
}

// migrate moves a slot to another master, key by key.
func migrate(ctx context.Context, db *redis.ClusterClient, owner string, slot int64) error {
	var masters []*redis.Client
	var mu sync.Mutex
	_ = db.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, c)
		return nil
	})
	var from, to *redis.Client
	for _, m := range masters {
		if m.Options().Addr == owner {
			from = m
		} else {
			to = m
		}
	}
	if from == nil || to == nil {
		return errors.New("its owner is unknown")
	}
	fromID, toID := from.Do(ctx, "CLUSTER", "MYID").Val(), to.Do(ctx, "CLUSTER", "MYID").Val()
	if err := to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID).Err(); err != nil {
		return err
	}
	if err := from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID).Err(); err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond)
	host, port, _ := cutLast(to.Options().Addr)
	for _, key := range from.ClusterGetKeysInSlot(ctx, int(slot), 1000).Val() {
		if err := from.Do(ctx, "MIGRATE", host, port, key, 0, 1000, "REPLACE").Err(); err != nil {
			return err
		}
	}
	for _, m := range append([]*redis.Client{to, from}, masters...) {
		if err := m.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID).Err(); err != nil {
			return err
		}
	}
	return nil
}

func cutLast(addr string) (host, port string, ok bool) {
	for i := len(addr) - 1; i >= 0; i-- {
		if addr[i] == ':' {
			return addr[:i], addr[i+1:], true
		}
	}
	return addr, "", false
}

// TestLogWithManyProcesses has 100 processes read the log while some write: all of them
// receive every write, and the reads do not grow with the writes.
func TestLogWithManyProcesses(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	server := redisServer(t)
	const n, writes = 100, 500
	ctx, cancel := context.WithCancel(t.Context())
	var running, writing sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() }) // all at once: each takes part of a second to end
	stores := make([]*rediscache.Store, n)
	for i := range stores {
		stores[i] = newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: patient})
		running.Go(func() { _ = stores[i].Run(ctx) })
	}
	eventually(t, "all processes receive invalidations", func() bool {
		return !slices.ContainsFunc(stores, func(s *rediscache.Store) bool { return !s.Stats().Online })
	})
	c := open[int](t, stores[0], "many", nil)
	db := client(t, server.Addr())
	reader := open[int](t, stores[n-1], "many", nil)
	if err := c.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := reader.Get(t.Context(), "k"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	sum := func() (events uint64) {
		for _, s := range stores {
			events += s.Stats().Events
		}
		return events
	}
	time.Sleep(100 * time.Millisecond)
	eventsBefore := sum()
	db.ConfigResetStat(t.Context())
	for w := range 10 {
		writing.Go(func() {
			for i := range writes / 10 {
				if err := c.Delete(t.Context(), k(w*1000+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	eventually(t, "all processes receive all writes", func() bool { return sum()-eventsBefore >= n*writes })
	xreads, xadds := calls(t, db, "xread"), calls(t, db, "xadd")
	t.Logf("%d writes in %d messages; %d reads of the log by %d processes (pub/sub would push %d messages)", writes, xadds, xreads, n, n*xadds)
	if xadds > writes || xreads > n*writes {
		t.Errorf("%d messages, %d reads", xadds, xreads)
	}
	if g := stores[5].Stats().Gaps; g != 0 {
		t.Errorf("%d gaps", g)
	}
}
