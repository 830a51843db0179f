package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// onStores runs a test over each kind of store that a service uses.
func onStores(t *testing.T, test func(t *testing.T, store driver.Store)) {
	t.Run("ristretto", func(t *testing.T) {
		m, err := ristrettocache.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		test(t, m)
	})
	server := testserver.Redis(t)
	t.Run("Redis", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		s, err := rediscache.New(client, &rediscache.Options{Timeout: 20 * time.Second, Prefix: t.Name() + ":", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		t.Cleanup(func() { cancel(); wg.Wait() })
		for !s.Stats().Online {
			time.Sleep(time.Millisecond)
		}
		test(t, s)
	})
}

// stored and store work on the bytes of a key.
func stored(t *testing.T, s driver.Store, key string) []byte {
	t.Helper()
	ops := []driver.Op{{Kind: driver.Get, Key: key}}
	if s.Do(t.Context(), ops); ops[0].Err != nil {
		t.Fatal(ops[0].Err)
	}
	return ops[0].Value
}

func store(t *testing.T, s driver.Store, key string, value []byte) {
	t.Helper()
	ops := []driver.Op{{Kind: driver.Set, Key: key, Value: value, TTL: time.Hour}}
	if s.Do(t.Context(), ops); ops[0].Err != nil {
		t.Fatal(ops[0].Err)
	}
}

// patiently are options for tests on servers.
func patiently(o cache.Options[string]) *cache.Options[string] {
	o.StoreTimeout = 20 * time.Second
	return &o
}

// TestBadPayloadsGo: a value that cannot be decoded is a miss, and the next load replaces it.
func TestBadPayloadsGo(t *testing.T) {
	onStores(t, func(t *testing.T, s driver.Store) {
		ctx := t.Context()
		var reasons []error
		c := newTyped[string](t, s, patiently(cache.Options[string]{Trace: &cache.Trace{
			BadPayload: func(_ context.Context, e cache.StoreErrorEvent) { reasons = append(reasons, e.Err) },
		}}))
		if err := c.Set(ctx, "k", "value"); err != nil {
			t.Fatal(err)
		}
		good := stored(t, s, "test:k")
		bad := map[string][]byte{"empty": {}, "foreign": []byte("hello"), "zeros": make([]byte, 100), "longer": append(bytes.Clone(good), 0)}
		for i := range good {
			bad[fmt.Sprint("cut at ", i)] = good[:i]
			flipped := bytes.Clone(good)
			flipped[i] ^= 1 << (i % 8)
			bad[fmt.Sprint("flipped at ", i)] = flipped
		}
		for name, data := range bad {
			store(t, s, "test:k", data)
			before := c.Stats().BadPayloads
			if v, found, err := c.Get(ctx, "k"); found || err != nil {
				t.Errorf("%s: %q, %v", name, v, err)
			}
			if n := c.Stats().BadPayloads - before; n != 1 {
				t.Errorf("%s: counted %d times", name, n)
			}
			loads := 0
			for range 3 {
				v, err := c.GetOrLoad(ctx, "k", func(context.Context) (string, error) { loads++; return "again", nil })
				if v != "again" || err != nil {
					t.Errorf("%s: %q, %v", name, v, err)
				}
			}
			if loads != 1 {
				t.Errorf("%s: %d loads of 3 reads", name, loads)
			}
		}
		if len(reasons) < len(bad) {
			t.Errorf("%d reasons for %d defects", len(reasons), len(bad))
		}
	})
}

// TestNewerFormat: a value of a newer version of this package is for its readers.
func TestNewerFormat(t *testing.T) {
	onStores(t, func(t *testing.T, s driver.Store) {
		ctx := t.Context()
		c := newTyped[string](t, s, patiently(cache.Options[string]{}))
		if err := c.Set(ctx, "k", "mine"); err != nil {
			t.Fatal(err)
		}
		newer := cache.NewerFormat(stored(t, s, "test:k"))
		store(t, s, "test:k", newer)
		for range 3 {
			if v, found, err := c.Get(ctx, "k"); found || err != nil {
				t.Errorf("read as %q, %v", v, err)
			}
			if v, err := c.GetOrLoad(ctx, "k", constant("loaded")); v != "loaded" || err != nil {
				t.Errorf("loaded %q, %v", v, err)
			}
		}
		if data := stored(t, s, "test:k"); !bytes.Equal(data, newer) {
			t.Errorf("it has become %q", data)
		}
		if c.Stats().BadPayloads == 0 {
			t.Error("not counted")
		}
		if err := c.Set(ctx, "k", "written"); err != nil {
			t.Fatal(err)
		}
		present(t, c, "k", "written")
	})
}
