package rediscache_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// counted is a process whose commands are counted, except those of the log.
type counted struct {
	*cache.Typed[int]
	commands atomic.Int64
}

func newCounted(t *testing.T, addr string) *counted {
	t.Helper()
	c := &counted{}
	cl := client(t, addr)
	cl.AddHook(&intercept{refuse: func(cmd redis.Cmder) error {
		if name := cmd.Name(); name == "get" || name == "mget" || strings.HasPrefix(name, "eval") && !strings.HasPrefix(keyOf(cmd), "cache:log") {
			c.commands.Add(1)
		}
		return nil
	}})
	c.Typed = open[int](t, running(t, newStore(t, cl, &rediscache.Options{Timeout: patient})), "w", nil)
	return c
}

// keyOf is the key of a script.
func keyOf(cmd redis.Cmder) string {
	key, _ := cmd.Args()[3].(string)
	return key
}

// TestWaiters: processes that wait for the load of another are woken by its end, and send at
// most three commands: a read, a request for the lease, and a read of the value. So does the
// process that loads, except in a cache that is new in Redis.
func TestWaiters(t *testing.T) {
	for name, used := range map[string]bool{"a new cache": false, "a used cache": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // with the other one only: no other test disturbs what it measures
			server := redisServer(t)
			const n = 10
			var all []*counted
			for range n {
				all = append(all, newCounted(t, server.Addr()))
			}
			if used {
				if _, err := all[0].GetOrLoad(t.Context(), "first", one); err != nil {
					t.Fatal(err)
				}
				all[0].commands.Store(0)
			}
			db := client(t, server.Addr())
			db.ConfigResetStat(t.Context())
			var ended, loads atomic.Int64
			late := make([]time.Duration, n)
			var wg sync.WaitGroup
			for i, c := range all {
				wg.Go(func() {
					_, err := c.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) {
						loads.Add(1)
						time.Sleep(2 * time.Second)
						ended.Store(time.Now().UnixNano())
						return 1, nil
					})
					if late[i] = time.Duration(time.Now().UnixNano() - ended.Load()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			var sent []int64
			for _, c := range all {
				sent = append(sent, c.commands.Load())
			}
			slices.Sort(sent)
			executed, worst := calls(t, db, "get", "mget", "evalsha", "eval"), slices.Max(late)
			t.Logf("the last waiter woke %v after the end; commands of each process: %v; the server executed %d", worst, sent, executed)
			most, limit := int64(4), int64(3*n+2) // the first load of a cache creates its state, by a script that reads it
			if used {
				most, limit = 3, 3*n
			}
			if loads.Load() != 1 || sent[n-2] > 3 || sent[n-1] > most || executed > limit {
				t.Errorf("%d loads; commands of each process: %v; the server executed %d", loads.Load(), sent, executed)
			}
			if worst > 500*time.Millisecond { // 5 ms on an idle machine; without a message it takes a second
				t.Errorf("the last waiter woke after %v", worst)
			}
		})
	}
}

// TestLoadEndsBeforeLease: another process stores the value between the read of a process and
// its request for the lease. No message follows, so the process must read again at once.
func TestLoadEndsBeforeLease(t *testing.T) {
	t.Parallel()
	addr := redisServer(t).Addr()
	a := open[int](t, unhurried(t, addr), "p", nil)
	for _, keys := range [][]string{{"k"}, {"x", "y", "z"}} {
		var once sync.Once
		cl := client(t, addr)
		cl.AddHook(&intercept{refuse: func(cmd redis.Cmder) error {
			if strings.HasPrefix(cmd.Name(), "eval") && strings.HasPrefix(keyOf(cmd), "cache:{p:") {
				once.Do(func() {
					if _, err := a.GetOrLoad(t.Context(), keys[0], one); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}})
		b := open[int](t, running(t, newStore(t, cl, &rediscache.Options{Timeout: patient})), "p", nil)
		began := time.Now()
		got, err := b.GetOrLoadMany(t.Context(), keys, func(_ context.Context, missing []string) (map[string]int, error) {
			out := map[string]int{}
			for _, key := range missing {
				out[key] = 2
			}
			return out, nil
		})
		if took := time.Since(began); got[keys[0]] != 1 || len(got) != len(keys) || err != nil || took > 2*time.Second { // a lease takes three
			t.Errorf("%v, %v after %v", got, err, took)
		}
	}
}

// TestLoaderDies: a process that dies during its load, just after it has renewed its lease,
// delays the load of another process by 3 s and a little more.
func TestLoaderDies(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	addr := redisServer(t).Addr()
	var dead atomic.Bool
	renewed := make(chan struct{}, 100)
	cl := client(t, addr)
	cl.AddHook(&intercept{refuse: func(redis.Cmder) error {
		if dead.Load() {
			return errors.New("the process is dead")
		}
		return nil
	}, hold: func(cmd redis.Cmder) {
		// The second script on the key is the first renewal.
		if strings.HasPrefix(cmd.Name(), "eval") && keyOf(cmd) == "cache:{p:k}" && cmd.Err() == nil {
			renewed <- struct{}{}
		}
	}})
	a, b := open[int](t, running(t, newStore(t, cl, nil)), "p", nil), open[int](t, process(t, addr), "p", nil)
	ctx, kill := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = a.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { <-ctx.Done(); return 1, nil })
	})
	<-renewed
	wg.Go(func() {
		for range 2 {
			<-renewed
		}
		dead.Store(true)
	})
	time.Sleep(100 * time.Millisecond)
	type end struct {
		value int
		err   error
		at    time.Time
	}
	ends := make(chan end, 1)
	go func() {
		v, err := b.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { return 2, nil })
		ends <- end{v, err, time.Now()}
	}()
	eventually(t, "the process dies", dead.Load)
	died := time.Now()
	got := <-ends
	if took := got.at.Sub(died); got.value != 2 || got.err != nil || took > 5*time.Second { // two leases take six
		t.Errorf("%d, %v, %v after the other process died", got.value, got.err, took)
	}
	kill()
	wg.Wait()
}

// TestLongLoad: a load that takes several leases costs a waiter one command for each lease.
func TestLongLoad(t *testing.T) {
	t.Parallel()
	testserver.NeedsLong(t)
	addr := redisServer(t).Addr()
	a, b := newCounted(t, addr), newCounted(t, addr)
	began := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) {
			close(began)
			time.Sleep(7 * time.Second)
			return 1, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-began
	if v, err := b.GetOrLoad(t.Context(), "k", func(context.Context) (int, error) { return 2, nil }); v != 1 || err != nil {
		t.Error(v, err)
	}
	wg.Wait()
	if n := b.commands.Load(); n > 3+4 {
		t.Errorf("%d commands in 7 s", n)
	}
	t.Log(strconv.FormatInt(b.commands.Load(), 10) + " commands in 7 s")
}
