package rediscache_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// TestLostStates: the state of a tag that Redis lost costs each value one load, and two
// processes agree again.
func TestLostStates(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	caches := []*cache.Typed[int]{open[int](t, unhurried(t, server.Addr()), "p", nil), open[int](t, unhurried(t, server.Addr()), "p", nil)}
	loads := 0
	read := func() {
		for _, c := range caches {
			_, err := c.GetOrLoad(t.Context(), "k", func(ctx context.Context) (int, error) { loads++; return 1, cache.SetTags(ctx, "late") }, cache.WithTags("call"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Set(t.Context(), "other", 1); err != nil { // drops nothing but its own key
				t.Fatal(err)
			}
		}
	}
	read()
	db := client(t, server.Addr())
	for range 3 {
		for _, key := range db.Keys(t.Context(), "cache:tag:*").Val() {
			db.Del(t.Context(), key)
		}
		if err := caches[0].Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other process receives it", func() bool { _, ok, _ := caches[1].Get(t.Context(), "k"); return !ok })
		before := loads
		for range 5 {
			read()
		}
		if n := loads - before; n > 3 {
			t.Errorf("%d loads of 10 reads", n)
		}
	}
}

// TestForeignDelete: a write is visible to other processes within milliseconds, and within
// the log after its connections were cut.
func TestForeignDelete(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	a, b := open[int](t, unhurried(t, server.Addr()), "p", nil), open[int](t, unhurried(t, server.Addr()), "p", nil)
	var worst time.Duration
	for i := range 200 {
		if i%20 == 10 {
			server.Do("CLIENT", "KILL", "TYPE", "normal")
		}
		if _, err := a.GetOrLoad(t.Context(), k(i%7), one); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), k(i%7)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, "the value is gone", func() bool { _, ok, _ := a.Get(t.Context(), k(i%7)); return !ok })
		if took := time.Since(began); i%20 < 10 || i%20 > 14 {
			worst = max(worst, took)
		}
	}
	t.Logf("a Delete is visible after at most %v", worst)
	if worst > time.Second {
		t.Errorf("after %v", worst)
	}
}

// TestLostMessage: a message that the log never receives costs LocalLimit, also in a process
// that stores values with the tag all the time.
func TestLostMessage(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	cl, hook := client(t, server.Addr()), &refusing{err: redis.Nil}
	cl.AddHook(hook)
	writer := open[string](t, running(t, newStore(t, cl, &rediscache.Options{Timeout: patient})), "n", nil)
	s := running(t, newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: patient, LocalLimit: 300 * time.Millisecond, OfflineLimit: time.Hour}))
	reader := open[string](t, s, "n", nil)
	read := func(key, now string) string {
		v, err := reader.GetOrLoad(t.Context(), key, func(context.Context) (string, error) { return now, nil }, cache.WithTags("tag"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	read("k", "old")
	hook.on.Store(true)
	if err := writer.InvalidateTags(t.Context(), "tag"); err != nil {
		t.Fatal(err)
	}
	loads := 0
	eventually(t, "the old value ends", func() bool {
		loads++
		read("other"+k(loads), "other")
		return read("k", "new") == "new"
	})
}
