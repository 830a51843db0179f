package rediscache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

// TestCallerGone changes a source and ends the context of the write of the cache, as a client
// does that disconnects after the commit. No process may return the old value for longer than
// StoreTimeout: not the writer's, not another, whether the context ended before the write or
// during it.
func TestCallerGone(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	opts := &cache.Options[string]{StaleFor: time.Hour}
	here, there := open[string](t, process(t, server.Addr()), "c", opts), open[string](t, process(t, server.Addr()), "c", opts)
	kinds := map[string]func(ctx context.Context, key string) error{
		"Set":            func(ctx context.Context, key string) error { return here.Set(ctx, key, "new") },
		"Delete":         func(ctx context.Context, key string) error { return here.Delete(ctx, key) },
		"Expire":         func(ctx context.Context, key string) error { return here.Expire(ctx, key) },
		"InvalidateTags": func(ctx context.Context, key string) error { return here.InvalidateTags(ctx, key) },
		"Clear":          func(ctx context.Context, _ string) error { return here.Clear(ctx) },
	}
	read := func(c *cache.Typed[string], key, now string) string {
		v, err := c.GetOrLoad(t.Context(), key, func(context.Context) (string, error) { return now, nil }, cache.WithTags(key))
		if err != nil {
			t.Error(err)
		}
		return v
	}
	for name, write := range kinds {
		for when, after := range map[string]time.Duration{"before": 0, "during": 30 * time.Millisecond} {
			key := name + when
			read(here, key, "old")
			if read(there, key, "old") != "old" {
				t.Fatal("the value is not there")
			}
			ctx, cancel := context.WithTimeout(t.Context(), after)
			if after > 0 {
				server.Pause()
			}
			began := time.Now()
			err := write(ctx, key)
			if took := time.Since(began); took > 600*time.Millisecond { // the limit of the store is 700 ms
				t.Errorf("%s: the caller waited for %v", key, took)
			}
			if after > 0 {
				time.Sleep(50 * time.Millisecond)
				server.Continue()
			}
			cancel()
			// A nil error means that the store applies the write later, because its node hangs.
			if !errors.Is(err, context.DeadlineExceeded) && (err != nil || after == 0) {
				t.Errorf("%s returned %v", key, err)
			}
			for process, c := range map[string]*cache.Typed[string]{"this": here, "another": there} {
				eventually(t, key+" in "+process+" process", func() bool { return read(c, key, "new") == "new" })
			}
		}
	}
}
