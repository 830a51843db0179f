package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// gate stands before a server: closed, nothing gets through.
type gate struct{ closed atomic.Bool }

func (g *gate) Allow() error {
	if g.closed.Load() {
		return errDown
	}
	return nil
}

func (g *gate) ReportResult(error) {}

// recorder is a Redis store that remembers the order in which tags were invalidated.
type recorder struct {
	*rediscache.Store
	mu   sync.Mutex
	tags []string
}

func (r *recorder) InvalidateTags(ctx context.Context, tags ...string) error {
	err := r.Store.InvalidateTags(ctx, tags...)
	if err == nil {
		r.mu.Lock()
		r.tags = append(r.tags, tags...)
		r.mu.Unlock()
	}
	return err
}

// outage is a process that loses its Redis, and a peer that does not.
type outage struct {
	gate     gate
	shared   *recorder
	fallback *cache.Fallback
	peer     cache.Cache
}

func newOutage(t *testing.T, opts cache.FallbackOptions) *outage {
	t.Helper()
	server := testserver.Redis(t)
	o := &outage{}
	open := func(limiter redis.Limiter) *rediscache.Store {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, Limiter: limiter, MaxRetries: -1})
		t.Cleanup(func() { client.Close() })
		s, err := rediscache.New(client, &rediscache.Options{Timeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	o.shared, o.peer = &recorder{Store: open(&o.gate)}, open(nil)
	opts.Logger, opts.TTL = slog.New(slog.DiscardHandler), time.Hour
	var err error
	if o.fallback, err = cache.NewFallback(o.shared, newMapStore(), &opts); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *outage) typed(t *testing.T, store cache.Cache, name string) *cache.Typed[string] {
	t.Helper()
	c, err := cache.New[string](store, name, time.Hour, patiently(cache.Options{
		Logger: slog.New(slog.DiscardHandler), Tags: func(key string) []string { return []string{"of " + key} },
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// over waits until the process has its Redis back and has told it everything.
func (o *outage) over(t *testing.T) {
	t.Helper()
	o.gate.closed.Store(false)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, _, err := o.fallback.Get(t.Context(), "probe:"); err != nil {
			t.Fatal(err)
		}
		if s := o.fallback.Stats(); !s.Degraded && s.Pending == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", o.fallback.Stats())
		}
	}
}

// TestOverflowOfKeys: of more deletions than can be remembered none is lost. The cache
// that has the most of them is cleared, and others are left in peace.
func TestOverflowOfKeys(t *testing.T) {
	t.Parallel()
	var overflows, keys, tags atomic.Int64
	o := newOutage(t, cache.FallbackOptions{MaxPending: 50, Trace: &cache.FallbackTrace{
		Overflow: func(context.Context) { overflows.Add(1) },
		Replayed: func(_ context.Context, k, t int) { keys.Add(int64(k)); tags.Add(int64(t)) },
	}})
	many, few := o.typed(t, o.fallback, "many"), o.typed(t, o.fallback, "few")
	peerMany, peerFew := o.typed(t, o.peer, "many"), o.typed(t, o.peer, "few")
	ctx := t.Context()
	const n = 500
	for i := range n {
		if err := errors.Join(peerMany.Set(ctx, fmt.Sprint(i), "old"), peerFew.Set(ctx, fmt.Sprint(i), "old")); err != nil {
			t.Fatal(err)
		}
	}
	o.gate.closed.Store(true)
	for i := range n {
		err := many.Delete(ctx, fmt.Sprint(i))
		if i%50 == 0 {
			err = errors.Join(err, few.Delete(ctx, fmt.Sprint(i)))
		}
		if i == 77 {
			err = errors.Join(err, many.Set(ctx, "77", "new"))
		}
		if err != nil {
			t.Fatal(err)
		}
		if pending := o.fallback.Stats().Pending; pending > 52 {
			t.Fatalf("%d are remembered", pending)
		}
	}
	if v, found, err := many.Get(ctx, "77"); v != "new" || !found || err != nil {
		t.Errorf("meanwhile: %q, %v, %v", v, found, err)
	}
	s := o.fallback.Stats()
	if !s.Degraded || s.Outages != 1 || s.Overflows == 0 || s.Overflows != uint64(overflows.Load()) || s.Fallbacks < n {
		t.Errorf("%+v and %d", s, overflows.Load())
	}
	o.over(t)
	for i := range n {
		if _, found, err := peerMany.Get(ctx, fmt.Sprint(i)); found || err != nil {
			t.Fatalf("many:%d came back (%v)", i, err)
		}
		if _, found, err := peerFew.Get(ctx, fmt.Sprint(i)); found == (i%50 == 0) || err != nil {
			t.Fatalf("few:%d: %v, %v", i, found, err)
		}
	}
	if s := o.fallback.Stats(); s.Replayed != uint64(keys.Load()+tags.Load()) || tags.Load() != 1 || keys.Load() != 10 {
		t.Errorf("%+v, %d keys, %d tags", s, keys.Load(), tags.Load())
	}
}

// TestOverflowOfTags: where the tags are too many, the caches of this process are cleared.
func TestOverflowOfTags(t *testing.T) {
	t.Parallel()
	o := newOutage(t, cache.FallbackOptions{MaxPending: 50})
	c, peer := o.typed(t, o.fallback, "values"), o.typed(t, o.peer, "values")
	ctx := t.Context()
	const n = 300
	for i := range n {
		if err := peer.Set(ctx, fmt.Sprint(i), "old"); err != nil {
			t.Fatal(err)
		}
	}
	o.gate.closed.Store(true)
	for i := range n {
		if err := c.InvalidateTags(ctx, fmt.Sprint("of ", i)); err != nil {
			t.Fatal(err)
		}
		if pending := o.fallback.Stats().Pending; pending > 51 {
			t.Fatalf("%d are remembered", pending)
		}
	}
	o.over(t)
	for i := range n {
		if _, found, err := peer.Get(ctx, fmt.Sprint(i)); found || err != nil {
			t.Fatalf("%d came back (%v)", i, err)
		}
	}
}

// TestReplayOrder: the tag that stands for any is invalidated before all others, or a
// load that learns its tags late would not notice.
func TestReplayOrder(t *testing.T) {
	t.Parallel()
	o := newOutage(t, cache.FallbackOptions{})
	c := o.typed(t, o.fallback, "values")
	o.gate.closed.Store(true)
	var want []string
	for i := range 20 {
		if err := c.InvalidateTags(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint("tag:", i))
	}
	o.over(t)
	o.shared.mu.Lock()
	defer o.shared.mu.Unlock()
	if o.shared.tags[0] != "any" {
		t.Errorf("the first is %q", o.shared.tags[0])
	}
	got := slices.Clone(o.shared.tags[1:])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// slowToDelete lets something happen behind each Delete.
type slowToDelete struct {
	*mapStore
	behind func(key string)
}

func (s *slowToDelete) Delete(ctx context.Context, keys ...string) error {
	err := s.mapStore.Delete(ctx, keys...)
	if err == nil && s.behind != nil {
		s.behind(keys[0])
	}
	return err
}

// TestMissedWhileReplaying: a key that is deleted again while the primary is told of the
// first time is not forgotten with that.
func TestMissedWhileReplaying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		primary := &slowToDelete{mapStore: newMapStore()}
		f, err := cache.NewFallback(primary, newMapStore(), &cache.FallbackOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		primary.breakDown(errDown)
		for range 5 {
			if err := f.Delete(ctx, "k"); err != nil {
				t.Fatal(err)
			}
		}
		primary.breakDown(nil)
		primary.behind = func(key string) {
			primary.behind = nil
			// Somebody else fills the key, and this process has news that make it old.
			if err := primary.Set(ctx, key, []byte("old"), time.Hour); err != nil {
				t.Error(err)
			}
			if err := f.Delete(ctx, key); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if _, _, err := f.Get(ctx, "k"); err != nil { // this one tells it
			t.Error(err)
		}
		if v, found, err := f.Get(ctx, "k"); found || err != nil || primary.behind != nil {
			t.Errorf("%q, %v, %v", v, found, err)
		}
	})
}

// TestOrderOfDecorators: what is put together wrongly is refused.
func TestOrderOfDecorators(t *testing.T) {
	memory := newMapStore()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { client.Close() })
	shared, err := rediscache.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := cache.NewFallback(shared, memory, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, stores := range map[string][2]cache.Cache{
		"reversed":        {memory, shared},
		"nested":          {good, memory},
		"nested below":    {shared, good},
		"one store twice": {memory, memory},
		"no second":       {shared, nil},
	} {
		if _, err := cache.NewFallback(stores[0], stores[1], nil); err == nil || !strings.HasPrefix(err.Error(), "cache: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// plain hides what a store can do besides.
type plain struct{ cache.Cache }

// TestNearBeforeADeafStore: memory before a store that hears of nobody's writes is
// believed for 2 s, unless the caller says otherwise.
func TestNearBeforeADeafStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := plain{newMapStore()}
		fallback, err := cache.NewFallback(store, newMapStore(), &cache.FallbackOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		other := newTyped[string](t, store, nil)
		for name, c := range map[string]*cache.Typed[string]{
			"store":    newTyped[string](t, store, &cache.Options{Near: &nearMap{}}),
			"fallback": newTyped[string](t, fallback, &cache.Options{Near: &nearMap{}}),
		} {
			read := func(want string) {
				t.Helper()
				if v, err := c.GetOrLoad(ctx, "k", constant("loaded")); v != want || err != nil {
					t.Errorf("%s: %q, %v", name, v, err)
				}
			}
			read("loaded")
			if err := other.Set(ctx, "k", "theirs"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1900 * time.Millisecond)
			read("loaded")
			time.Sleep(200 * time.Millisecond)
			read("theirs")
			if err := other.Delete(ctx, "k"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		asked := newTyped[string](t, store, &cache.Options{Near: &nearMap{}, NearTTL: time.Minute})
		for _, want := range []string{"first", "first"} {
			if v, err := asked.GetOrLoad(ctx, "long", constant(want)); v != "first" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			if err := other.Delete(ctx, "long"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Second)
		}
	})
}
