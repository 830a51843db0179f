package rediscache

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/cachetest"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func newStore(t testing.TB, client redis.UniversalClient, opts *Options) *Store {
	t.Helper()
	t.Cleanup(func() { client.Close() })
	s, err := New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// patient gives a busy machine time; the tests of deadlines set their own.
var patient = &Options{Timeout: 20 * time.Second}

func TestSuiteOnMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	cachetest.Run(t, cachetest.Harness{
		New: func(t testing.TB) cache.Cache {
			return newStore(t, redis.NewClient(&redis.Options{Addr: server.Addr()}), patient)
		},
		Sleep: server.FastForward,
	})
}

func TestSuiteOnRedis(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	cachetest.Run(t, cachetest.Harness{New: func(t testing.TB) cache.Cache {
		return newStore(t, redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true}), patient)
	}})
}

func TestSuiteOnCluster(t *testing.T) {
	t.Parallel()
	set := testserver.RedisCluster(t, 3, 0)
	cachetest.Run(t, cachetest.Harness{New: func(t testing.TB) cache.Cache {
		return newStore(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: set.Addrs()}), patient)
	}})
}

// TestDeadline: a server that hangs costs the store's own timeout, with clients that
// obey contexts and with those that do not.
func TestDeadline(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for name, opts := range map[string]*redis.Options{"default client": {Addr: server.Addr()}, "ClientOptions": ClientOptions(server.Addr())} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, redis.NewClient(opts), &Options{Timeout: 100 * time.Millisecond})
			if _, _, err := s.Get(t.Context(), "warm"); err != nil {
				t.Log(err) // a cold machine may need more than the timeout
			}
			server.Pause()
			defer server.Continue()
			start := time.Now()
			_, _, err := s.Get(t.Context(), "k")
			if err == nil || time.Since(start) > 15*time.Second {
				t.Errorf("a hung server: %v after %v", err, time.Since(start))
			}
		})
	}
}

// TestNoServer: construction does not connect, and calls fail soon and with the reason.
func TestNoServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	s := newStore(t, redis.NewClient(ClientOptions(addr)), nil)
	start := time.Now()
	if _, found, err := s.Get(t.Context(), "k"); err == nil || found {
		t.Error("a missing server answered")
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	// With a fallback the service goes on.
	memory, err := ristrettocache.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	f, err := cache.NewFallback(s, memory, &cache.FallbackOptions{Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Set(t.Context(), "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if v, found, err := f.Get(t.Context(), "k"); string(v) != "v" || !found || err != nil {
		t.Errorf("%q, %v, %v", v, found, err)
	}
}

func TestTooLarge(t *testing.T) {
	server := miniredis.RunT(t)
	s := newStore(t, redis.NewClient(&redis.Options{Addr: server.Addr()}), &Options{MaxValue: 10, Timeout: patient.Timeout})
	ctx := context.Background()
	if err := s.Set(ctx, "k", []byte("small"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, "k", make([]byte, 11), time.Hour); !errors.Is(err, cache.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if v, found, err := s.Get(ctx, "k"); found || err != nil {
		t.Errorf("the value that was replaced is served: %q, %v", v, err)
	}
}
