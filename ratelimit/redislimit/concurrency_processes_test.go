package redislimit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// holderAddr tells a copy of the test binary to hold slots until it is killed.
const holderAddr = "MAINSTAY_RATELIMIT_HOLDER"

const (
	heldLimit = 3
	heldLease = 3 * time.Second
)

// heldSlots is the limiter of every process of this file, of which all share the key.
func heldSlots(addr string) *Concurrency {
	o := ClientOptions(addr)
	o.ReadTimeout, o.DialTimeout, o.WriteTimeout = time.Second, time.Second, time.Second
	s, err := New(redis.NewUniversalClient(o), &Options{Timeout: time.Second})
	if err != nil {
		panic(err)
	}
	c, err := s.Concurrency(concurrency.Policy{Name: "held", Limit: heldLimit, OnFailure: ratelimit.FailClosed}, &ConcurrencyOptions{Lease: heldLease})
	if err != nil {
		panic(err)
	}
	return c
}

// holding is a time in which a process surely had a slot, in Unix nanoseconds.
type holding struct{ From, To int64 }

// holdFromHere takes slots, works for a moment under each and tells of it, for ever.
func holdFromHere(addr string) {
	c, out := heldSlots(addr), json.NewEncoder(os.Stdout)
	var mu sync.Mutex
	for range 2 {
		go func() {
			for {
				slot, err := c.Acquire(context.Background(), "k", 1)
				if err == nil && slot.Result().Allowed {
					h := holding{From: time.Now().UnixNano()}
					time.Sleep(2 * time.Millisecond)
					h.To = time.Now().UnixNano()
					if slot.Held() {
						mu.Lock()
						out.Encode(h)
						mu.Unlock()
					}
				}
				slot.Release()
			}
		}()
	}
	select {}
}

// Three services share three slots, and each is killed in the middle of its work. They
// never hold more than three at once, and what died with them is free again after a
// lease.
func TestKilledHoldersGiveTheirSlotsBack(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	self, err := os.Executable()
	require.NoError(t, err)
	lists := make(chan []holding, 3)
	var holders []*exec.Cmd
	for range 3 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), holderAddr+"="+server.Addr())
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		holders = append(holders, cmd)
		go func() {
			var list []holding
			for lines := bufio.NewScanner(out); lines.Scan(); {
				var h holding
				if json.Unmarshal(lines.Bytes(), &h) == nil {
					list = append(list, h)
				}
			}
			lists <- list
		}()
	}
	// Let them work until Redis has seen a good deal of it.
	client := dial(t, server.Addr())
	require.Eventually(t, func() bool {
		n, err := client.Info(t.Context(), "commandstats").Result()
		return err == nil && commandCalls(n, "zrem") > 200
	}, 30*time.Second, 20*time.Millisecond)
	for _, cmd := range holders {
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
	}
	killed := time.Now()

	var all []holding
	for range 3 {
		all = append(all, <-lists...)
	}
	require.NotEmpty(t, all)
	most := mostAtOnce(all)
	t.Logf("%d uses, at most %d at once", len(all), most)
	require.LessOrEqual(t, most, heldLimit)

	c := heldSlots(server.Addr())
	var mine []*concurrency.Slot
	require.Eventually(t, func() bool {
		slot, err := c.Acquire(t.Context(), "k", 1)
		if err == nil && slot.Result().Allowed {
			mine = append(mine, slot)
		}
		return len(mine) == heldLimit
	}, heldLease+20*time.Second, 20*time.Millisecond, "the slots of the dead")
	t.Logf("all free %v after the kill, leases are %v", time.Since(killed).Round(time.Millisecond), heldLease)
	for _, slot := range mine {
		slot.Release()
	}
}

// mostAtOnce is the most that held a slot at one instant.
func mostAtOnce(all []holding) (most int) {
	type edge struct {
		at    int64
		count int
	}
	var edges []edge
	for _, h := range all {
		edges = append(edges, edge{h.From, 1}, edge{h.To, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.count, b.count)) })
	now := 0
	for _, e := range edges {
		now += e.count
		most = max(most, now)
	}
	return most
}
