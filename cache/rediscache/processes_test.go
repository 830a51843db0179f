package rediscache

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// childEnv tells the test binary that it is one of several processes: its number, their
// number, the address of the cache's Redis, and that of the source's.
const childEnv = "MAINSTAY_CACHE_PROCESS"

const (
	childKeys    = 4
	childReaders = 300
)

// TestProcesses runs the cache in processes of their own. First all of them miss one key
// at once, many readers in each: one load runs. Then each writes keys of its own and reads
// those of all, while Redis is paused, killed and restarted and subscriptions are cut: no
// read returns what its own process has made old. When all is quiet, all agree with the
// source.
func TestProcesses(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		t.Skip("a child runs TestProcessChild only")
	}
	t.Parallel()
	server, source := testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always"), testserver.Redis(t)
	const processes = 3
	var outputs [processes]bytes.Buffer
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for i := range processes {
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessChild$", "-test.v", "-test.timeout=4m") //nolint:gosec // this binary
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s %s", childEnv, i, processes, server.Addr(), source.Addr()))
		child.Stdout, child.Stderr = &outputs[i], &outputs[i]
		wg.Go(func() {
			if err := child.Run(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, outputs[i].String())
			}
		})
	}
	db := client(source.Addr())
	defer db.Close()
	awaitCount(t, db, "stressed", processes)
	for range 12 {
		time.Sleep(250 * time.Millisecond)
		switch rand.IntN(4) {
		case 0:
			server.Do("CLIENT", "KILL", "TYPE", "pubsub")
		case 1:
			server.Pause()
			time.Sleep(300 * time.Millisecond)
			server.Continue()
		case 2:
			server.Kill()
			time.Sleep(150 * time.Millisecond)
			server.Restart()
		case 3:
			server.Stop()
			server.Restart()
		}
	}
	if err := db.Set(ctx, "quiet", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n, err := db.Get(ctx, "loads").Int(); n != 1 || err != nil {
		t.Errorf("%d loads of a key that all processes missed at once, %v", n, err)
	}
	for i := range outputs {
		for line := range strings.Lines(outputs[i].String()) {
			if strings.Contains(line, "reads") {
				t.Logf("process %d: %s", i, strings.TrimSpace(line))
			}
		}
	}
}

func awaitCount(t *testing.T, db redis.UniversalClient, key string, want int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if n, err := db.Get(t.Context(), key).Int(); err == nil && n >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not come to %d", key, want)
		}
	}
}

// arrive counts this process at a point and waits for the others.
func arrive(t *testing.T, db redis.UniversalClient, point string, processes int) {
	t.Helper()
	if err := db.Incr(t.Context(), point).Err(); err != nil {
		t.Fatal(err)
	}
	awaitCount(t, db, point, processes)
}

// TestProcessChild is one process of TestProcesses.
func TestProcessChild(t *testing.T) {
	var me, processes int
	var addr, source string
	if n, _ := fmt.Sscan(os.Getenv(childEnv), &me, &processes, &addr, &source); n != 4 {
		t.Skip("started by TestProcesses")
	}
	ctx := t.Context()
	db := client(source)
	t.Cleanup(func() { db.Close() })
	p := newProcess(t, redis.NewClient(ClientOptions(addr)), true, cache.Options{Tags: func(key string) []string { return []string{"group"} }})
	patiently := newProcess(t, client(addr), false, cache.Options{})

	arrive(t, db, "cold", processes)
	var wg sync.WaitGroup
	for range childReaders {
		wg.Go(func() {
			v, err := patiently.values.GetOrLoad(ctx, "cold", func(ctx context.Context) (int64, error) {
				time.Sleep(200 * time.Millisecond)
				return 7, db.Incr(ctx, "loads").Err()
			})
			if v != 7 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	wg.Wait()

	p.listening(t)
	arrive(t, db, "stressed", processes)
	key := func(process, k int) string { return fmt.Sprintf("%d/%d", process, k) }
	load := func(key string) func(context.Context) (int64, error) {
		return func(ctx context.Context) (int64, error) {
			v, err := db.Get(ctx, "truth:"+key).Int64()
			if err == redis.Nil { //nolint:errorlint // as go-redis returns it
				err = nil
			}
			time.Sleep(rand.N(2 * time.Millisecond))
			return v, err
		}
	}
	var quiet atomic.Bool
	var floor [childKeys]atomic.Int64
	var reads, writes, stale atomic.Int64
	for k := range childKeys {
		wg.Go(func() {
			for !quiet.Load() {
				v, err := db.Incr(ctx, "truth:"+key(me, k)).Result()
				if err != nil {
					t.Error(err)
					return
				}
				if rand.IntN(4) == 0 {
					err = p.values.InvalidateTags(ctx, "group")
				} else {
					err = p.values.Delete(ctx, key(me, k))
				}
				if err == nil {
					floor[k].Store(v)
					writes.Add(1)
				}
				time.Sleep(rand.N(5 * time.Millisecond))
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for !quiet.Load() {
				process, k := rand.IntN(processes), rand.IntN(childKeys)
				least := floor[k].Load()
				v, err := p.values.GetOrLoad(ctx, key(process, k), load(key(process, k)))
				if err != nil {
					t.Error(err)
					return
				}
				if reads.Add(1); process == me && v < least {
					stale.Add(1)
				}
			}
		})
	}
	awaitCount(t, db, "quiet", 1)
	quiet.Store(true)
	wg.Wait()
	t.Logf("%d writes, %d reads, %d stale", writes.Load(), reads.Load(), stale.Load())
	if stale.Load() != 0 || reads.Load() == 0 || writes.Load() == 0 {
		t.Errorf("%d of %d reads returned what their own process had made old", stale.Load(), reads.Load())
	}
	arrive(t, db, "finished", processes)
	for process := range processes {
		for k := range childKeys {
			want, _ := load(key(process, k))(ctx)
			for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				v, err := p.values.GetOrLoad(ctx, key(process, k), load(key(process, k)))
				if v == want && err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s stays %d, want %d (%v)", key(process, k), v, want, err)
				}
			}
		}
	}
	arrive(t, db, "agreed", processes) // who leaves early cannot make good what it has deleted
}
