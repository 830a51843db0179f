package redislimit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/leakcheck"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

// attackerAddr tells a copy of the test binary that it is one of four services.
const attackerAddr = "MAINSTAY_RATELIMIT_ATTACKER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(attackerAddr); addr != "" {
		attackFromHere(addr)
		return
	}
	if addr := os.Getenv(holderAddr); addr != "" {
		holdFromHere(addr)
		return
	}
	if addr := os.Getenv(burstAddr); addr != "" {
		burstFromHere(addr)
		return
	}
	testserver.MostlyWaits(6)
	leakcheck.MainOfServers(m) // fails if a test leaves a goroutine behind
}

const processWindow = 2 * time.Second

// processPolicies are those that are attacked: of the names that begin with l units are
// leased.
func processPolicies() (list []ratelimit.Policy) {
	for _, n := range []int{5, 30, 100, 200} {
		list = append(list, ratelimit.Policy{Name: fmt.Sprintf("p%d", n), Limit: n, Window: processWindow})
	}
	return append(list,
		ratelimit.Policy{Name: "l100", Limit: 100, Window: processWindow},
		ratelimit.Policy{Name: "l400", Limit: 400, Window: processWindow, Algorithm: ratelimit.Buckets})
}

// attackFromHere does what an adversary does against one of several instances, against
// all limits at once, and prints what was let through.
func attackFromHere(addr string) {
	o := ClientOptions(addr)
	o.ReadTimeout, o.DialTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	s, err := New(redis.NewUniversalClient(o), &Options{Timeout: 10 * time.Second})
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	type target struct {
		ratelimit.Limiter
		policy ratelimit.Policy
	}
	try := func(l target) {
		for range l.policy.Limit/4 + 2 {
			asked := time.Now()
			r, err := l.AllowN(context.Background(), "user:mallory", 1)
			if err != nil || r.Degraded {
				panic(fmt.Sprintf("%+v, %v", r, err))
			}
			if r.Allowed {
				out.Encode(processAdmission{l.policy.Name, asked.UnixNano(), time.Now().UnixNano()})
			}
		}
	}
	var targets []target
	for _, p := range processPolicies() {
		var l ratelimit.Limiter
		if p.Name[0] == 'l' {
			var held *Leased
			held, err = s.Leased(p, &LeaseOptions{Block: 20, Life: processWindow / 40})
			l = held
			go held.Run(context.Background())
		} else {
			l, err = s.Limiter(p, nil)
		}
		if err != nil {
			panic(err)
		}
		targets = append(targets, target{l, p})
	}
	start := time.Now()
	for time.Since(start) < 3*processWindow {
		for _, l := range targets {
			try(l)
		}
		time.Sleep(processWindow / 100)
	}
}

type processAdmission struct {
	Policy          string
	Asked, Answered int64
}

// Four services on one Redis, attacked at once: together they let through the limit in
// every window, and all of it.
func TestFourProcesses(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	self, err := os.Executable()
	require.NoError(t, err)
	lists := make(chan []processAdmission, 4)
	for range 4 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), attackerAddr+"="+server.Addr())
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		go func() {
			var list []processAdmission
			for lines := bufio.NewScanner(out); lines.Scan(); {
				var a processAdmission
				if json.Unmarshal(lines.Bytes(), &a) == nil {
					list = append(list, a)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			lists <- list
		}()
	}
	admitted := make(map[string][]ratelimittest.Admission)
	for range 4 {
		for _, a := range <-lists {
			admitted[a.Policy] = append(admitted[a.Policy], ratelimittest.Admission{Asked: time.Unix(0, a.Asked), Answered: time.Unix(0, a.Answered)})
		}
	}
	for _, p := range processPolicies() {
		list := admitted[p.Name]
		slices.SortFunc(list, func(a, b ratelimittest.Admission) int { return a.Asked.Compare(b.Asked) })
		most := ratelimittest.MostInAnyWindow(list, processWindow)
		t.Logf("policy %s: %d let through in all, %d in one window", p.Name, len(list), most)
		require.LessOrEqual(t, most, p.Limit)
		require.Greater(t, len(list), p.Limit, "nothing of a second window was served")
	}
}
