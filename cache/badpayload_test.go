package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// onStores runs a test over each kind of store that a service uses.
func onStores(t *testing.T, test func(t *testing.T, store cache.Cache)) {
	memory := func(t *testing.T) cache.Cache {
		m, err := ristrettocache.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	server := testserver.Redis(t)
	shared := func(t *testing.T) cache.Cache {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		s, err := rediscache.New(client, &rediscache.Options{Timeout: 20 * time.Second, Prefix: t.Name() + ":", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("memory", func(t *testing.T) { test(t, memory(t)) })
	t.Run("Redis", func(t *testing.T) { test(t, shared(t)) })
	t.Run("Fallback", func(t *testing.T) {
		f, err := cache.NewFallback(shared(t), memory(t), &cache.FallbackOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		test(t, f)
	})
}

// patiently are options for tests on servers.
func patiently(o cache.Options) *cache.Options {
	o.StoreTimeout = 20 * time.Second
	return &o
}

// TestBadPayloadsGo: what cannot be read is a miss, counted once, and gone.
func TestBadPayloadsGo(t *testing.T) {
	onStores(t, func(t *testing.T, store cache.Cache) {
		ctx := t.Context()
		var reasons []error
		c := newTyped[string](t, store, patiently(cache.Options{Trace: &cache.Trace{
			BadPayload: func(_ context.Context, _, _ string, reason error) { reasons = append(reasons, reason) },
		}}))
		if err := c.Set(ctx, "k", "value"); err != nil {
			t.Fatal(err)
		}
		good, found, err := store.Get(ctx, "test:k")
		if !found || err != nil {
			t.Fatal(found, err)
		}
		bad := map[string][]byte{"empty": {}, "foreign": []byte("hello"), "zeros": make([]byte, 100), "longer": append(bytes.Clone(good), 0)}
		for i := range good {
			bad[fmt.Sprint("cut at ", i)] = good[:i]
			for bit := range 8 {
				flipped := bytes.Clone(good)
				flipped[i] ^= 1 << bit
				bad[fmt.Sprint("bit ", i, ".", bit)] = flipped
			}
		}
		for name, data := range bad {
			if err := store.Set(ctx, "test:k", data, time.Hour); err != nil {
				t.Fatal(err)
			}
			before := c.Stats().BadPayloads
			if v, found, err := c.Get(ctx, "k"); found || err != nil {
				t.Errorf("%s: %q, %v", name, v, err)
			}
			if n := c.Stats().BadPayloads - before; n != 1 {
				t.Errorf("%s: counted %d times", name, n)
			}
			if data, found, err := store.Get(ctx, "test:k"); found || err != nil {
				t.Errorf("%s is still there: %q, %v", name, data, err)
			}
		}
		if len(reasons) != len(bad) {
			t.Errorf("%d reasons for %d defects", len(reasons), len(bad))
		}
	})
}

// TestBadPayloadThatWasReplaced: only the version that was seen to be bad may go. The
// hook runs between the look and the removal.
func TestBadPayloadThatWasReplaced(t *testing.T) {
	onStores(t, func(t *testing.T, store cache.Cache) {
		ctx := t.Context()
		var c *cache.Typed[string]
		c = newTyped[string](t, store, patiently(cache.Options{Trace: &cache.Trace{
			BadPayload: func(ctx context.Context, _, key string, _ error) {
				if err := c.Set(ctx, key, "new"); err != nil {
					t.Error(err)
				}
			},
		}}))
		if err := store.Set(ctx, "test:k", []byte("bad"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, found, err := c.Get(ctx, "k"); found || err != nil {
			t.Fatal(found, err)
		}
		if v, found, err := c.Get(ctx, "k"); v != "new" || !found || err != nil {
			t.Errorf("the value that came meanwhile: %q, %v, %v", v, found, err)
		}
	})
}

// TestNewerFormat: what a newer version of this package has stored is for its readers.
func TestNewerFormat(t *testing.T) {
	onStores(t, func(t *testing.T, store cache.Cache) {
		ctx := t.Context()
		c := newTyped[string](t, store, patiently(cache.Options{}))
		if err := c.Set(ctx, "k", "mine"); err != nil {
			t.Fatal(err)
		}
		data, _, err := store.Get(ctx, "test:k")
		if err != nil {
			t.Fatal(err)
		}
		newer := cache.NewerFormat(data)
		if err := store.Set(ctx, "test:k", newer, time.Hour); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if v, found, err := c.Get(ctx, "k"); found || err != nil {
				t.Errorf("read as %q, %v", v, err)
			}
			if v, err := c.GetOrLoad(ctx, "k", constant("loaded")); v != "loaded" || err != nil {
				t.Errorf("loaded %q, %v", v, err)
			}
		}
		if data, found, err := store.Get(ctx, "test:k"); !found || !bytes.Equal(data, newer) || err != nil {
			t.Errorf("it has become %q, %v, %v", data, found, err)
		}
		if c.Stats().BadPayloads == 0 {
			t.Error("not counted")
		}
		// Whoever writes on purpose replaces it.
		if err := c.Set(ctx, "k", "written"); err != nil {
			t.Fatal(err)
		}
		if v, found, err := c.Get(ctx, "k"); v != "written" || !found || err != nil {
			t.Errorf("after Set: %q, %v, %v", v, found, err)
		}
	})
}
