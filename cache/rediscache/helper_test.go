package rediscache_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

var quiet = slog.New(slog.DiscardHandler)

// clientOptions and clusterOptions are those of the package, except that a busy machine may take
// long to connect and to reply. The limit of the store still holds.
func clientOptions(addr string) *redis.Options {
	o := rediscache.ClientOptions(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patient, patient, patient, patient
	return o
}

func clusterOptions(addrs ...string) *redis.ClusterOptions {
	o := rediscache.ClusterOptions(addrs...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patient, patient, patient, patient
	return o
}

func client(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(clientOptions(addr))
	t.Cleanup(func() { c.Close() })
	return c
}

func newStore(t testing.TB, c redis.UniversalClient, opts *rediscache.Options) *rediscache.Store {
	t.Helper()
	if opts == nil {
		opts = &rediscache.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	s, err := rediscache.New(c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// patient is a limit for tests that are about something else: a busy machine is then no outage.
const patient = 20 * time.Second

// process is the store of one process, whose Run is under way.
func process(t testing.TB, addr string) *rediscache.Store {
	t.Helper()
	return running(t, newStore(t, client(t, addr), nil))
}

// unhurried is process with a limit of the store for tests that are about no outage.
func unhurried(t testing.TB, addr string) *rediscache.Store {
	t.Helper()
	return running(t, newStore(t, client(t, addr), &rediscache.Options{Timeout: patient}))
}

// trusting is unhurried with values that only a message drops from memory: not their age, nor a
// busy machine that receives messages late.
func trusting(t testing.TB, addr string) *rediscache.Store {
	t.Helper()
	return running(t, newStore(t, client(t, addr), &rediscache.Options{Timeout: patient, LocalLimit: time.Hour, OfflineLimit: time.Hour}))
}

func running(t testing.TB, s *rediscache.Store) *rediscache.Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	eventually(t, "invalidations are received", func() bool { return s.Stats().Online })
	return s
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func open[V any](t testing.TB, s driver.Store, name string, opts *cache.Options[V]) *cache.Typed[V] {
	t.Helper()
	o := cache.Options[V]{}
	if opts != nil {
		o = *opts
	}
	o.Logger, o.Jitter = quiet, -1
	if o.StoreTimeout == 0 {
		o.StoreTimeout = 5 * time.Second
	}
	c, err := cache.New[V](s, name, time.Hour, &o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func k(i int) string { return strconv.Itoa(i) }

func one(context.Context) (int, error) { return 1, nil }

func readable[V any](t testing.TB, c *cache.Typed[V], n int) (hits int) {
	for i := range n {
		if _, ok, _ := c.Get(t.Context(), k(i)); ok {
			hits++
		}
	}
	return hits
}

func redisServer(t testing.TB, args ...string) *testserver.RedisServer {
	return testserver.Redis(t, args...)
}
