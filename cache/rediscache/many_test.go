package rediscache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// counting counts round trips: single commands and pipelines.
type counting struct{ trips atomic.Int32 }

func (c *counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.trips.Add(1); return next(ctx, cmd) }
}

func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.trips.Add(1); return next(ctx, cmds) }
}

func batch(n int) (keys []string, values map[string]int64) {
	values = map[string]int64{}
	for i := range n {
		keys = append(keys, fmt.Sprint("k", i))
		values[keys[i]] = int64(i)
	}
	return keys, values
}

// TestManyKeysInFewRoundTrips: 500 keys cost as many round trips as five.
func TestManyKeysInFewRoundTrips(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	count := &counting{}
	cl := client(server.Addr())
	cl.AddHook(count)
	p := newProcess(t, cl, true, cache.Options{})
	ctx := t.Context()
	keys, values := batch(500)
	load := func(context.Context, []string) (map[string]int64, error) { return values, nil }
	if _, err := p.values.GetOrLoadMany(ctx, keys[:1], load); err != nil { // what the first call sets up
		t.Fatal(err)
	}
	for _, n := range []int{5, 500} {
		if err := p.values.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		count.trips.Store(0)
		got, err := p.values.GetOrLoadMany(ctx, keys[:n], load)
		if err != nil || len(got) != n || got[keys[n-1]] != int64(n-1) {
			t.Fatal(len(got), err)
		}
		// To read, to read again under the flights, to lease, and to fill by the hundred;
		// the state of a tag that was invalidated is made on the way.
		if trips := int(count.trips.Load()); trips > 5+n/100 {
			t.Errorf("%d keys: %d round trips", n, trips)
		}
	}
	p.shared.Coherence().AllChanged() // memory is empty
	count.trips.Store(0)
	got, err := p.values.GetOrLoadMany(ctx, keys, func(context.Context, []string) (map[string]int64, error) {
		return nil, errors.New("nothing is missing")
	})
	if trips := count.trips.Load(); err != nil || len(got) != 500 || trips != 1 {
		t.Errorf("hits: %d values, %v, %d round trips", len(got), err, trips)
	}
}

// TestManyKeysOnceInAllProcesses has two processes load overlapping batches, on one
// server and on a Cluster: each key is loaded once, and what one process loads the other
// gets too.
func TestManyKeysOnceInAllProcesses(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func() redis.UniversalClient{
		"server": func() func() redis.UniversalClient {
			s := testserver.Redis(t)
			return func() redis.UniversalClient { return client(s.Addr()) }
		}(),
		"Cluster": func() func() redis.UniversalClient {
			set := testserver.RedisCluster(t, 3, 0)
			return func() redis.UniversalClient {
				return redis.NewClusterClient(&redis.ClusterOptions{Addrs: set.Addrs(), ContextTimeoutEnabled: true})
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newProcess(t, connect(), true, cache.Options{}), newProcess(t, connect(), true, cache.Options{})
			keys, _ := batch(60)
			var loads sync.Map
			var wg sync.WaitGroup
			for i, p := range []*process{a, b, a, b} {
				wg.Go(func() {
					got, err := p.values.GetOrLoadMany(context.Background(), keys[i*10:i*10+30], func(_ context.Context, missing []string) (map[string]int64, error) {
						out := map[string]int64{}
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
}

// TestForeignTagFencesLateTags: another process invalidates a tag that the load tells
// only after it has read what is old by then.
func TestForeignTagFencesLateTags(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	a, b := newProcess(t, client(server.Addr()), true, cache.Options{}), newProcess(t, client(server.Addr()), true, cache.Options{})
	a.listening(t)
	b.listening(t)
	ctx := t.Context()
	for round := range 500 {
		key := fmt.Sprint(round)
		v, err := a.values.GetOrLoad(ctx, key, func(ctx context.Context) (int64, error) {
			var wg sync.WaitGroup
			defer wg.Wait() // only just before the fill, or long before it
			wg.Go(func() {
				if err := b.values.InvalidateTags(ctx, "late"); err != nil {
					t.Error(err)
				}
			})
			return 1, cache.SetTags(ctx, "late")
		})
		if v != 1 || err != nil {
			t.Fatal(v, err)
		}
		for _, p := range []*process{a, b} {
			if v, found, err := p.values.Get(ctx, key); found || err != nil {
				t.Fatalf("round %d: %d is there, %v", round, v, err)
			}
		}
	}
}
