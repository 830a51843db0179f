package rediscache

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// newTracker is a process that hears of everybody's writes.
func newTracker(t testing.TB, client redis.UniversalClient, limit time.Duration, opts cache.Options) *process {
	t.Helper()
	p := &process{}
	p.shared = newStore(t, client, &Options{Timeout: 5 * time.Second, Logger: silent(), Tracking: true, NearLimit: limit})
	p.store = p.shared
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
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.shared.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	p.awaitLimit(t, limit)
	return p
}

// settle reads until the value is served from memory, and returns it: what is loaded or
// read has to be read once more, since the server tells of that write too.
func (p *process) settle(t testing.TB, key string, load int64) int64 {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		before := p.values.Stats()
		v, err := p.values.GetOrLoad(context.Background(), key, constant(load))
		if err != nil {
			t.Fatal(err)
		}
		if p.values.Stats().NearHits > before.NearHits {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal("never served from memory")
		}
	}
}

// await reads until the value is the wanted one.
func (p *process) await(t testing.TB, key string, load, want int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		v, err := p.values.GetOrLoad(context.Background(), key, constant(load))
		if err == nil && v == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d, %v, want %d", v, err, want)
		}
	}
}

// In every test here the limit is an hour: only being told drops anything.

func TestTrackingHearsOfForeignWriters(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	cluster := testserver.RedisCluster(t, 3, 0)
	for name, dial := range map[string]func() redis.UniversalClient{
		"standalone": func() redis.UniversalClient { return client(server.Addr()) },
		"another database": func() redis.UniversalClient {
			o := ClientOptions(server.Addr())
			o.DB = 5
			return redis.NewClient(o)
		},
		"ring": func() redis.UniversalClient {
			o := ClientOptions(server.Addr())
			return redis.NewRing(&redis.RingOptions{
				Addrs: map[string]string{"a": server.Addr()}, ContextTimeoutEnabled: true,
				DialTimeout: o.DialTimeout, MaxRetries: -1, DB: 7,
			})
		},
		"cluster": func() redis.UniversalClient {
			o := ClusterOptions(cluster.Addrs()...)
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 5*time.Second, 5*time.Second, 5*time.Second, 5*time.Second
			return redis.NewClusterClient(o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			p := newTracker(t, dial(), time.Hour, cache.Options{Tags: func(string) []string { return []string{"group"} }})
			other := dial()
			defer other.Close()
			for i := range 6 { // on a Cluster: keys of several masters
				key := fmt.Sprint("k", i)
				if v := p.settle(t, key, 1); v != 1 {
					t.Fatalf("%d", v)
				}
				if n, err := other.Del(ctx, p.shared.key("values:"+key)).Result(); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				p.await(t, key, 2, 2)
			}
			p.settle(t, "k0", 2)
			if err := other.Set(ctx, p.shared.key("values:k0"), "not ours", 0).Err(); err != nil {
				t.Fatal(err)
			}
			p.await(t, "k0", 3, 3)

			p.settle(t, "k1", 2)
			if err := other.Del(ctx, p.shared.tagKey("tag:group")).Err(); err != nil {
				t.Fatal(err)
			}
			p.await(t, "k1", 4, 4)

			long := strings.Repeat("x", 600)
			p.settle(t, long, 1)
			if err := other.Del(ctx, p.shared.key("values:"+long)).Err(); err != nil {
				t.Fatal(err)
			}
			p.await(t, long, 2, 2)

			p.settle(t, "k2", 2)
			flush := func(ctx context.Context, c *redis.Client) error { return c.FlushDB(ctx).Err() }
			if c, ok := other.(*redis.ClusterClient); ok {
				if err := c.ForEachMaster(ctx, flush); err != nil {
					t.Fatal(err)
				}
			} else if err := other.FlushDB(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			p.await(t, "k2", 5, 5)
			if st := p.shared.Stats(); !st.Tracking || st.Tracked == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A killed connection loses pushes: whatever was in memory before is read again, and
// what is written after is heard of.
func TestTrackingAfterAKilledConnection(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	ctx := context.Background()
	p := newTracker(t, client(server.Addr()), time.Hour, cache.Options{})
	other := client(server.Addr())
	defer other.Close()
	for round := range int64(5) {
		p.settle(t, "k", 10*round)
		// The connection is killed, and the write goes out at once, so that it falls into
		// the time in which nobody hears of it. The bus stays as it is.
		id := trackingConnection(t, other)
		if _, err := other.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.ClientKillByFilter(ctx, "ID", id)
			pipe.Del(ctx, p.shared.key("values:k"))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		p.await(t, "k", 10*round+1, 10*round+1)
		if err := other.Del(ctx, p.shared.key("values:k")).Err(); err != nil {
			t.Fatal(err)
		}
		p.await(t, "k", 10*round+10, 10*round+10)
		p.awaitLimit(t, time.Hour)
	}
}

// trackingConnection waits for the one connection that tracks, and returns its id.
func trackingConnection(t testing.TB, c redis.UniversalClient) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		list, err := c.ClientList(context.Background()).Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(list) {
			id, rest, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			_, flags, _ := strings.Cut(rest, " flags=")
			if flags, _, _ = strings.Cut(flags, " "); strings.ContainsRune(flags, 'B') {
				return id
			}
		}
	}
	t.Fatal("no connection tracks")
	return ""
}

// A server that hangs says nothing, and that must be noticed.
func TestTrackingNoticesSilence(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	var mu sync.Mutex
	var told []error
	s := newStore(t, client(server.Addr()), &Options{Timeout: time.Second, Logger: silent(), Tracking: true, NearLimit: time.Hour, Trace: &Trace{
		Tracking: func(_ context.Context, err error) { mu.Lock(); told = append(told, err); mu.Unlock() },
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	p := &process{shared: s}
	p.awaitLimit(t, time.Hour)
	server.Pause()
	await := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	await("the silence is not noticed", func() bool { return !s.Stats().Tracking })
	if limit := s.Coherence().Limit(); limit != 2*time.Second {
		t.Errorf("limit %v", limit)
	}
	server.Continue()
	p.awaitLimit(t, time.Hour)
	server.Kill()
	await("the end is not noticed", func() bool { return !s.Stats().Tracking })
	server.Restart()
	p.awaitLimit(t, time.Hour)
	mu.Lock()
	defer mu.Unlock()
	for i, err := range told {
		if (err == nil) != (i%2 == 0) {
			t.Errorf("told %v", told)
		}
	}
	if len(told) != 5 {
		t.Errorf("told %v", told)
	}
}

// What a user may not do on this server is told once, and memory is short-lived.
func TestTrackingThatIsForbidden(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "default", "-client|tracking")
	told := make(chan error, 100)
	s := newStore(t, client(server.Addr()), &Options{Logger: silent(), Tracking: true, NearLimit: time.Hour, Trace: &Trace{
		Tracking: func(_ context.Context, err error) { told <- err },
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	select {
	case err := <-told:
		if err == nil || !strings.Contains(err.Error(), "rediscache: tracking "+server.Addr()) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing was told")
	}
	time.Sleep(600 * time.Millisecond) // two more tries
	cancel()
	wg.Wait()
	if len(told) != 0 || s.Stats().Tracking || s.Coherence().Limit() != 2*time.Second {
		t.Errorf("%d more reports, limit %v", len(told), s.Coherence().Limit())
	}
}

func TestTrackingNeedsAClientThatItKnows(t *testing.T) {
	t.Parallel()
	c := client("127.0.0.1:1")
	defer c.Close()
	_, err := New(struct{ redis.UniversalClient }{c}, &Options{Tracking: true})
	if err == nil || !strings.Contains(err.Error(), "rediscache: Tracking needs") {
		t.Error(err)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	if _, err := nodesOf(ring)(context.Background()); err == nil {
		t.Error("a Ring without nodes was tracked")
	}
}
