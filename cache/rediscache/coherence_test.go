package rediscache

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// process is what one process of a service has: its own client, memory and bus.
type process struct {
	shared *Store
	store  cache.Cache
	near   *ristrettocache.Near
	values *cache.Typed[int64]
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newProcess(t testing.TB, client redis.UniversalClient, fallback bool, opts cache.Options) *process {
	t.Helper()
	p := &process{}
	p.shared = newStore(t, client, &Options{Timeout: 5 * time.Second, Logger: silent()})
	p.store = p.shared
	if fallback {
		memory, err := ristrettocache.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { memory.Close() })
		if p.store, err = cache.NewFallback(p.shared, memory, &cache.FallbackOptions{Logger: silent()}); err != nil {
			t.Fatal(err)
		}
	}
	near, err := ristrettocache.NewNear(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	p.near = near
	opts.Near, opts.StoreTimeout, opts.Logger = near, 5*time.Second, silent()
	if p.values, err = cache.New[int64](p.store, "values", time.Hour, &opts); err != nil {
		t.Fatal(err)
	}
	return p
}

// listening starts Run and waits until writes are heard of.
func (p *process) listening(t testing.TB) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.shared.Run(ctx) })
	if f, ok := p.store.(*cache.Fallback); ok {
		wg.Go(func() { f.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	p.awaitLimit(t, 30*time.Second)
	return p
}

func (p *process) awaitLimit(t testing.TB, want time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); p.shared.Coherence().Limit() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the limit is %v, want %v", p.shared.Coherence().Limit(), want)
		}
	}
}

func client(addr string) redis.UniversalClient {
	o := ClientOptions(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 5*time.Second, 5*time.Second, 5*time.Second, 5*time.Second
	return redis.NewClient(o)
}

func constant(v int64) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) { return v, nil }
}

// TestOneLoadInAllProcesses has 1,000 readers in two processes miss one key.
func TestOneLoadInAllProcesses(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	a, b := newProcess(t, client(server.Addr()), true, cache.Options{}), newProcess(t, client(server.Addr()), true, cache.Options{})
	var loads atomic.Int32
	var wg sync.WaitGroup
	for i := range 1000 {
		p := []*process{a, b}[i%2]
		wg.Go(func() {
			v, err := p.values.GetOrLoad(context.Background(), "cold", func(context.Context) (int64, error) {
				loads.Add(1)
				time.Sleep(100 * time.Millisecond)
				return 7, nil
			})
			if v != 7 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

// TestForeignWritesFenceLoads ends a load in one process after another process has
// changed the key, in each way there is: 10,000 rounds in all.
func TestForeignWritesFenceLoads(t *testing.T) {
	t.Parallel()
	rounds := 2_500
	if testing.Short() {
		rounds = 100
	}
	server := testserver.Redis(t)
	opts := cache.Options{Tags: func(string) []string { return []string{"group"} }}
	a, b := newProcess(t, client(server.Addr()), false, opts), newProcess(t, client(server.Addr()), false, opts)
	a.listening(t)
	b.listening(t)
	ctx := context.Background()
	for name, change := range map[string]func(p *process, key string) error{
		"own Delete":     func(_ *process, key string) error { return a.values.Delete(ctx, key) },
		"foreign Delete": func(_ *process, key string) error { return b.values.Delete(ctx, key) },
		"foreign tag":    func(*process, string) error { return b.values.InvalidateTags(ctx, "group") },
		"foreign Clear":  func(*process, string) error { return b.values.Clear(ctx) },
	} {
		stale := 0
		for round := range rounds {
			key := fmt.Sprint(name, round)
			v, err := a.values.GetOrLoad(ctx, key, func(context.Context) (int64, error) { return 1, change(b, key) })
			if v != 1 || err != nil {
				t.Fatal(v, err)
			}
			if v, err := b.values.GetOrLoad(ctx, key, constant(2)); v != 2 || err != nil {
				stale++
			}
			// The loader's own memory may show it until it has heard of the change.
			for deadline := time.Now().Add(10 * time.Second); ; {
				if v, err := a.values.GetOrLoad(ctx, key, constant(2)); v == 2 && err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: memory kept what was loaded before", name)
				}
			}
		}
		if stale != 0 {
			t.Errorf("%s: %d of %d rounds kept what was loaded before", name, stale, rounds)
		}
	}
}

// TestForeignWritesReachMemory measures how soon a value in this process's memory is
// dropped when another process deletes it.
func TestForeignWritesReachMemory(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	opts := cache.Options{Tags: func(string) []string { return []string{"group"} }}
	a, b := newProcess(t, client(server.Addr()), false, opts).listening(t), newProcess(t, client(server.Addr()), false, opts).listening(t)
	ctx := context.Background()
	var worst, sum time.Duration
	const rounds = 200
	for round := range int64(rounds) {
		if v, err := a.values.GetOrLoad(ctx, "k", constant(round)); v != round || err != nil {
			t.Fatal(v, err)
		}
		before := a.values.Stats().NearHits
		if v, err := a.values.GetOrLoad(ctx, "k", constant(-1)); v != round || err != nil || a.values.Stats().NearHits != before+1 {
			// A beat that was late may have emptied memory; not the subject here.
			t.Logf("round %d: %d, %v, not from memory", round, v, err)
		}
		var err error
		if round%2 == 0 {
			err = b.values.Delete(ctx, "k")
		} else {
			err = b.values.InvalidateTags(ctx, "group")
		}
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for {
			if _, found, err := a.values.Get(ctx, "k"); err != nil {
				t.Fatal(err)
			} else if !found {
				break
			}
			if time.Since(start) > 10*time.Second {
				t.Fatal("the delete never arrived")
			}
		}
		took := time.Since(start)
		worst, sum = max(worst, took), sum+took
	}
	t.Logf("mean %v, worst %v", sum/rounds, worst)
}

// TestDeaf: without the bus memory is believed for NearLimitDeaf only; when it is back,
// nothing old is left.
func TestDeaf(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	a, b := newProcess(t, client(server.Addr()), false, cache.Options{}), newProcess(t, client(server.Addr()), false, cache.Options{})
	if got := a.shared.Coherence().Limit(); got != 2*time.Second {
		t.Errorf("before Run the limit is %v", got)
	}
	a.listening(t)
	ctx := context.Background()
	for round := range int64(20) {
		if _, err := a.values.GetOrLoad(ctx, "k", constant(round)); err != nil {
			t.Fatal(err)
		}
		// The message about this write goes to nobody.
		if n := server.Do("CLIENT", "KILL", "TYPE", "pubsub"); n == nil {
			t.Fatal("no connection was killed")
		}
		if err := b.values.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, found, _ := a.values.Get(ctx, "k"); !found {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("round %d: an old value stays", round)
			}
		}
		a.awaitLimit(t, 30*time.Second)
	}
}

// TestStress is a history of writes and reads by several processes, checked as it is
// made: a read that begins after a write has returned must not return what was there
// before it, in the writer's process at once, in others once the bus has told them. It
// goes on while Redis is paused, restarted and killed, and while pub/sub connections
// are cut; then what must not be stale is what is read after it is back and heard of.
func TestStress(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	length := 6 * time.Second
	if testing.Short() {
		length = time.Second
	}
	const keys = 4
	opts := cache.Options{Tags: func(string) []string { return []string{"group"} }}
	processes := make([]*process, 3)
	for i := range processes {
		o := ClientOptions(server.Addr())
		processes[i] = newProcess(t, redis.NewClient(o), true, opts).listening(t)
	}
	var source, floor [keys]atomic.Int64 // the truth, and the newest that a finished write promises
	var writer [keys]sync.Mutex
	var reads, checked, stale atomic.Int64
	load := func(k int) func(context.Context) (int64, error) {
		return func(context.Context) (int64, error) {
			v := source[k].Load()
			time.Sleep(rand.N(3 * time.Millisecond))
			return v, nil
		}
	}
	stop := make(chan struct{})
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	// Process 0 writes; its own readers must never see what it has made old, whatever
	// happens to Redis.
	for range 2 {
		wg.Go(func() {
			for running() {
				k := rand.IntN(keys)
				writer[k].Lock()
				v := source[k].Add(1)
				var err error
				if rand.IntN(4) == 0 {
					err = processes[0].values.InvalidateTags(ctx, "group")
				} else {
					err = processes[0].values.Delete(ctx, fmt.Sprint(k))
				}
				if err == nil {
					floor[k].Store(v)
				}
				writer[k].Unlock()
				time.Sleep(rand.N(4 * time.Millisecond))
			}
		})
	}
	for i, p := range processes {
		for range 3 {
			wg.Go(func() {
				for running() {
					k := rand.IntN(keys)
					least := floor[k].Load()
					v, err := p.values.GetOrLoad(ctx, fmt.Sprint(k), load(k))
					if err != nil {
						t.Error(err)
						return
					}
					reads.Add(1)
					if i == 0 {
						checked.Add(1)
						if v < least {
							stale.Add(1)
						}
					}
				}
			})
		}
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(length / 12)
		switch rand.IntN(4) {
		case 0:
			server.Do("CLIENT", "KILL", "TYPE", "pubsub")
		case 1:
			server.Pause()
			time.Sleep(length / 12)
			server.Continue()
		case 2:
			server.Kill()
			time.Sleep(length / 24)
			server.Restart()
		case 3:
			server.Stop()
			server.Restart()
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d reads, %d of them checked, %d stale", reads.Load(), checked.Load(), stale.Load())
	if stale.Load() != 0 {
		t.Errorf("%d of %d reads returned what their own process had made old", stale.Load(), checked.Load())
	}
	// Once Redis is back and heard of, every process has what is true.
	for _, p := range processes {
		p.awaitLimit(t, 30*time.Second)
	}
	for k := range keys {
		key := fmt.Sprint(k)
		// Before the limit on the age of memory could hide that something was missed.
		for deadline := time.Now().Add(25 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			ok := true
			for _, p := range processes {
				v, err := p.values.GetOrLoad(ctx, key, load(k))
				ok = ok && err == nil && v == source[k].Load()
			}
			if ok {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("key %s stays old", key)
			}
		}
	}
}

// TestClusterFailover loses a master under load: what is read stays right in the process
// that writes, and all agree afterwards. Redis replicates asynchronously, so a write that
// the lost master had not passed on yet may be undone; the wait makes sure that it had.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	set := testserver.RedisCluster(t, 3, 1)
	open := func() redis.UniversalClient {
		o := ClusterOptions(set.Addrs()...)
		return redis.NewClusterClient(o)
	}
	opts := cache.Options{Tags: func(string) []string { return []string{"group"} }}
	a, b := newProcess(t, open(), true, opts).listening(t), newProcess(t, open(), true, opts).listening(t)
	failover(t, a, b, func() { set.MasterOf(a.shared.key("values:k0")).Kill() })
}

// TestSentinelFailover does the same with the only master.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	set := testserver.RedisSentinel(t, 2)
	open := func() redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: set.MasterName(), SentinelAddrs: set.Addrs(), ContextTimeoutEnabled: true,
			DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, MaxRetries: -1,
		})
	}
	opts := cache.Options{Tags: func(string) []string { return []string{"group"} }}
	a, b := newProcess(t, open(), true, opts).listening(t), newProcess(t, open(), true, opts).listening(t)
	failover(t, a, b, func() { set.Master().Kill() })
}

func failover(t *testing.T, a, b *process, kill func()) {
	t.Helper()
	const keys = 16
	ctx := context.Background()
	var truth atomic.Int64
	load := func(context.Context) (int64, error) { return truth.Load(), nil }
	key := func(i int) string { return fmt.Sprint("k", i%keys) }
	stale := 0
	round := func(i int) {
		now := truth.Add(1)
		if i%4 == 0 {
			if a.values.InvalidateTags(ctx, "group") != nil {
				return
			}
		} else if a.values.Delete(ctx, key(i)) != nil {
			return
		}
		if v, err := a.values.GetOrLoad(ctx, key(i), load); err != nil || v < now {
			stale++
		}
		if _, err := b.values.GetOrLoad(ctx, key(i), load); err != nil {
			t.Error(err)
		}
	}
	for i := range 300 {
		round(i)
	}
	time.Sleep(time.Second)
	kill()
	for i, end := 0, time.Now().Add(4*time.Second); time.Now().Before(end); i++ {
		round(i)
	}
	if stale != 0 {
		t.Errorf("%d stale reads in the process that wrote", stale)
	}
	// What is deleted now, whether the new master is there already or not, is gone for
	// all when the process that deleted it has Redis back, and without anybody's help.
	now := truth.Add(1)
	for i := range keys {
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			err := a.values.Delete(ctx, key(i))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s cannot be deleted: %v", key(i), err)
			}
		}
		if v, err := a.values.GetOrLoad(ctx, key(i), load); v != now || err != nil {
			t.Errorf("%s: %d, %v in the process that wrote", key(i), v, err)
		}
	}
	for i := range keys {
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			v, err1 := a.values.GetOrLoad(ctx, key(i), load)
			w, err2 := b.values.GetOrLoad(ctx, key(i), load)
			if v != now {
				t.Fatalf("%s: %d in the process that wrote, want %d (%v)", key(i), v, now, err1)
			}
			if w == now && err1 == nil && err2 == nil && a.store.(*cache.Fallback).Stats().Pending == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d and %d, want %d (%v, %v)", key(i), v, w, now, err1, err2)
			}
		}
	}
}

// TestRedisDown: what a reader pays for a Redis that refuses, that hangs, and that has
// been given up.
func TestRedisDown(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for name, breakDown := range map[string]func(){"hung": server.Pause, "refused": server.Kill} {
		shared := newStore(t, redis.NewClient(ClientOptions(server.Addr())), &Options{Logger: silent()})
		memory, err := ristrettocache.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { memory.Close() })
		store, err := cache.NewFallback(shared, memory, &cache.FallbackOptions{Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := cache.New[int64](store, "values", time.Hour, &cache.Options{Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		if _, err := c.GetOrLoad(ctx, "warm", constant(1)); err != nil {
			t.Fatal(err)
		}
		breakDown()
		start := time.Now()
		if v, err := c.GetOrLoad(ctx, "k", constant(1)); v != 1 || err != nil {
			t.Errorf("%s: %d, %v", name, v, err)
		}
		first := time.Since(start)
		if first > 5*time.Second {
			t.Errorf("%s: the first call took %v", name, first)
		}
		for range 10 {
			_, _ = c.GetOrLoad(ctx, "k", constant(1))
		}
		if !store.Degraded() {
			t.Errorf("%s: Redis is still asked", name)
		}
		const calls = 1000
		start = time.Now()
		for range calls {
			if v, err := c.GetOrLoad(ctx, "k", constant(1)); v != 1 || err != nil {
				t.Fatalf("%s: %d, %v", name, v, err)
			}
		}
		t.Logf("%s: first call %v, then %v each", name, first, time.Since(start)/calls)
		server.Continue()
	}
}
