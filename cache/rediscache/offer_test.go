package rediscache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOffers: values that a process loaded during an outage are in Redis after it, unless
// a process has written their keys or tags since.
func TestOffers(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := redisServer(t)
	ctx := t.Context()
	opts := &cache.Options[int]{StoreTimeout: time.Second, OutageTTL: time.Minute}
	sa, sb := process(t, server.Addr()), process(t, server.Addr())
	a, b := open[int](t, sa, "p", opts), open[int](t, sb, "p", opts)
	if _, err := a.GetOrLoad(ctx, "warm", one); err != nil {
		t.Fatal(err)
	}
	const n = 300
	load := func(i int) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			switch i % 3 {
			case 0:
				return 1, cache.SetTags(ctx, "late "+k(i))
			case 1:
				return 1, cache.SetTTL(ctx, 30*time.Minute)
			}
			return 1, nil
		}
	}
	server.Pause()
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < n; i += 50 {
				if _, err := a.GetOrLoad(ctx, k(i), load(i), cache.WithTags("call "+k(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// Writes of both processes during the outage, by key and by tag.
	for i, err := range []error{
		a.Delete(ctx, k(0)), b.Delete(ctx, k(1)), a.InvalidateTags(ctx, "call "+k(2)), b.InvalidateTags(ctx, "call "+k(4)),
		a.InvalidateTags(ctx, "late "+k(3)), b.InvalidateTags(ctx, "late "+k(6)),
	} {
		if err != nil {
			t.Error(i, err)
		}
	}
	written := map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true, 6: true}
	server.Continue()
	eventually(t, "the writes are applied", func() bool { return sa.Stats().Pending+sb.Stats().Pending == 0 })
	c := open[int](t, unhurried(t, server.Addr()), "p", nil)
	eventually(t, "the values are stored", func() bool { return readable(t, c, n) == n-len(written) })
	time.Sleep(time.Second) // for an offer that should not be
	loads := map[int]bool{}
	for i := range n {
		if _, err := c.GetOrLoad(ctx, k(i), func(context.Context) (int, error) { loads[i] = true; return 2, nil }); err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		if loads[i] != written[i] {
			t.Errorf("key %d: loaded %v, want %v", i, loads[i], written[i])
		}
	}
	if d := client(t, server.Addr()).PTTL(ctx, "cache:{p:7}").Val(); d < 29*time.Minute || d > 30*time.Minute {
		t.Errorf("a value with a time to live of its own lives for %v", d)
	}
}
