package redislimit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// burstAddr tells a copy of the test binary to send bursts.
const burstAddr = "MAINSTAY_RATELIMIT_BURST"

type burstReport struct{ Allowed, Denied, Degraded, Failed, Shared int }

// burstFromHere asks for many distinct keys at once, three times, and for one key that all
// processes share.
func burstFromHere(addr string) {
	keys, err := strconv.Atoi(os.Getenv(burstAddr + "_KEYS"))
	if err != nil {
		panic(err)
	}
	client, options := ClientOptions(addr), &Options{}
	if raceDetector { // a process that is ten times slower
		client.DialTimeout, client.ReadTimeout, client.WriteTimeout = time.Minute, time.Minute, time.Minute
		options.Timeout = time.Minute
	}
	s, err := New(redis.NewUniversalClient(client), options)
	if err != nil {
		panic(err)
	}
	api := must(s.Limiter(ratelimit.Policy{Name: "api", Limit: 3, Window: time.Hour, OnFailure: ratelimit.FailClosed}, nil))
	shared := must(s.Limiter(ratelimit.Login(), nil))
	var r burstReport
	var mu sync.Mutex
	for range 3 {
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() {
				got, err := api.Allow(context.Background(), fmt.Sprint("user:", os.Getpid(), ":", i))
				one, err2 := ratelimit.Result{}, error(nil)
				if i%50 == 0 {
					one, err2 = shared.Allow(context.Background(), "user:shared")
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil || err2 != nil:
					r.Failed++
					fmt.Fprintln(os.Stderr, err, err2)
				case got.Degraded || one.Degraded:
					r.Degraded++
				case got.Allowed:
					r.Allowed++
				default:
					r.Denied++
				}
				if one.Allowed {
					r.Shared++
				}
			})
		}
		wg.Wait()
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Bursts of four processes do not make a healthy Redis look dead.
func TestBurstsOfFourProcesses(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	sizes := []int{1000, 5000}
	if raceDetector {
		sizes = []int{200}
	}
	for _, keys := range sizes {
		t.Run(strconv.Itoa(keys), func(t *testing.T) {
			if !testserver.Long() && keys > 1000 {
				t.Skip("60,000 decisions")
			}
			server := testserver.Redis(t)
			reports := make(chan burstReport, 4)
			for range 4 {
				cmd := exec.CommandContext(t.Context(), self)
				cmd.Env = append(os.Environ(), burstAddr+"="+server.Addr(), burstAddr+"_KEYS="+strconv.Itoa(keys))
				cmd.Stderr = os.Stderr
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				go func() {
					var r burstReport
					if lines := bufio.NewScanner(out); lines.Scan() {
						_ = json.Unmarshal(lines.Bytes(), &r)
					}
					if err := cmd.Wait(); err != nil {
						t.Error(err)
					}
					reports <- r
				}()
			}
			var all burstReport
			for range 4 {
				r := <-reports
				all.Allowed += r.Allowed
				all.Denied += r.Denied
				all.Degraded += r.Degraded
				all.Failed += r.Failed
				all.Shared += r.Shared
			}
			t.Logf("%+v", all)
			require.Equal(t, burstReport{Allowed: 4 * 3 * keys, Shared: 5}, all)
		})
	}
}

// far is a connection over which each write takes 5 ms.
type far struct{ net.Conn }

func (c far) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return c.Conn.Write(p)
}

func TestABurstOverFewSlowConnections(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	o := ClientOptions(server.Addr())
	o.PoolSize = 10
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 5*time.Second, 5*time.Second, 5*time.Second
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return far{c}, err
	}
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	options := &Options{}
	if raceDetector {
		options.Timeout = 10 * time.Second
	}
	s := store(t, client, options)
	api := limiter(t, s, ratelimit.API(), nil)
	topup := limiter(t, s, ratelimit.Policy{Name: "topup", Limit: 1000, Window: time.Hour, OnFailure: ratelimit.FailClosed}, nil)
	var degraded atomic.Int64
	var wg sync.WaitGroup
	for i := range 800 {
		wg.Go(func() {
			if r, err := api.Allow(context.Background(), fmt.Sprint("user:", i)); err != nil || r.Degraded {
				degraded.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, degraded.Load())
	for range 20 {
		_, err := topup.Allow(context.Background(), "user:1")
		require.NoError(t, err)
	}
	require.False(t, s.Stats().Down)
}

// An error about one key stays with that key.
func TestAnErrorBelongsToItsKey(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := dial(t, server.Addr())
	s := store(t, client, &Options{Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	api := limiter(t, s, ratelimit.API(), nil)
	sale := limiter(t, s, ratelimit.Policy{Name: "sale", Limit: 5, Window: time.Hour, OnFailure: ratelimit.FailClosed}, nil)
	ctx := context.Background()
	require.NoError(t, client.Set(ctx, s.redisKey("user:1", api.suffix), "x", 0).Err())
	for range 20 {
		r, err := api.Allow(ctx, "user:1")
		require.NoError(t, err)
		require.True(t, r.Degraded)
		d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: api, Key: "user:1", Cost: 1}, ratelimit.Check{Limiter: sale, Key: "user:2", Cost: 0})
		require.NoError(t, err)
		require.False(t, d.Results[1].Degraded, "the other key is decided by Redis")
	}
	r, err := sale.Allow(ctx, "user:2")
	require.NoError(t, err)
	require.False(t, r.Degraded)
	require.False(t, s.Stats().Down)
	require.Positive(t, s.Stats().BadReplies)
	require.Zero(t, s.Stats().Failures)
}

// Two meanings of a name are refused in one process and count apart in two.
func TestOneNameOneMeaning(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := dial(t, server.Addr())
	hour := ratelimit.Policy{Name: "api", Limit: 5, Window: time.Hour}
	second := ratelimit.Policy{Name: "api", Limit: 50, Window: time.Second}
	buckets := hour
	buckets.Algorithm = ratelimit.Buckets
	s := store(t, client, patient())
	a := limiter(t, s, hour, nil)
	for _, p := range []ratelimit.Policy{second, buckets} {
		_, err := s.Limiter(p, nil)
		require.ErrorContains(t, err, "another Name")
	}
	raised := hour
	raised.Limit = 8
	limiter(t, s, raised, nil)
	b := limiter(t, store(t, client, patient()), second, nil)
	n := 0
	for range 3 {
		for range 10 {
			r, err := a.Allow(t.Context(), "user:1")
			require.NoError(t, err)
			if r.Allowed {
				n++
			}
		}
		time.Sleep(1100 * time.Millisecond)
		_, err := b.Allow(t.Context(), "user:1")
		require.NoError(t, err)
	}
	require.Equal(t, 5, n)
}

// An outage forgets nothing that this process knows, and Redis learns of what was let in.
func TestOutageKeepsTheCount(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t)
			client := dial(t, server.Addr())
			s := store(t, client, &Options{
				Timeout: 2 * time.Second, BreakerFailures: 1, BreakerOpen: 20 * time.Millisecond, DenyFor: -1, Logger: slog.New(slog.DiscardHandler),
			})
			p := ratelimit.Login()
			p.Algorithm = algorithm
			slack := 0
			if algorithm == ratelimit.GCRA {
				slack = 1 // the time that the units were on their way is not given back
			}
			l := limiter(t, s, p, nil)
			ctx := context.Background()
			use := func(key string, n int) (allowed int) {
				for range n {
					r, err := l.Allow(ctx, key)
					require.NoError(t, err)
					if r.Allowed {
						allowed++
					}
				}
				return allowed
			}
			require.Equal(t, 5, use("user:full", 10))
			require.Equal(t, 2, use("user:some", 2))
			server.Kill()
			require.Zero(t, use("user:full", 10), "this process has let in 5 already")
			require.Equal(t, 3, use("user:some", 10))
			require.Equal(t, 4, use("user:new", 4))
			held, err := l.Reserve(ctx, "user:held", 5)
			require.NoError(t, err)
			require.True(t, held.Result().Allowed)
			server.Restart() // without its data
			require.Eventually(t, func() bool {
				r, err := l.Peek(ctx, "user:other")
				return err == nil && !r.Degraded && s.Stats().Unmerged == 0
			}, 20*time.Second, 20*time.Millisecond)
			fresh := limiter(t, store(t, client, patient()), p, nil)
			r, err := fresh.Peek(ctx, "user:new")
			require.NoError(t, err)
			require.Equal(t, 1, r.Remaining, "another process finds what was let in meanwhile")
			require.NoError(t, held.Cancel(ctx))
			r, err = fresh.Peek(ctx, "user:held")
			require.NoError(t, err)
			require.GreaterOrEqual(t, r.Remaining, held.Result().Cost-slack, "a reservation of the outage is settled on Redis")
		})
	}
}

// Processes learn of each other, so each takes its share while Redis is away.
func TestInstancesAreLearned(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	var stores []*Store
	var all []*Limiter
	for range 4 {
		s := store(t, dial(t, server.Addr()), &Options{BreakerFailures: 1, BreakerOpen: time.Hour, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
		stores = append(stores, s)
		all = append(all, limiter(t, s, ratelimit.Policy{Name: "p", Limit: 20, Window: time.Hour}, nil))
	}
	warm := 0
	require.Eventually(t, func() bool {
		known := 0
		for i, s := range stores {
			_, err := all[i].Peek(context.Background(), "warm") // an operator's look is no instance
			require.NoError(t, err)
			if warm++; warm > 10 {
				_, err = all[i].Allow(context.Background(), fmt.Sprint("warm:", warm))
				require.NoError(t, err)
			} else {
				require.LessOrEqual(t, s.Stats().Instances, 1)
			}
			if s.Stats().Instances == 4 {
				known++
			}
			s.beaten.Store(-int64(time.Hour)) // no need to wait for the next heartbeat
		}
		return known == 4
	}, 20*time.Second, 10*time.Millisecond)
	server.Kill()
	total := 0
	for _, l := range all {
		for range 30 {
			r, err := l.Allow(context.Background(), "user:1")
			require.NoError(t, err)
			if r.Allowed {
				total++
			}
		}
	}
	require.Equal(t, 20, total)
}

// A thousand waiters are a thousand commands, and those without hope are refused at once.
func TestWaitersOnRedis(t *testing.T) {
	t.Parallel()
	const waiters, patience = 1000, 2 * time.Minute // so that no machine is too slow for it
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	for name, c := range map[string]struct {
		window         time.Duration
		served, refuse int64
	}{
		"served":   {50 * time.Millisecond, waiters, 0},
		"hopeless": {time.Hour, 10, waiters - 10},
	} {
		before := s.Stats().Calls
		l := limiter(t, s, ratelimit.Policy{Name: name, Limit: 10, Window: c.window}, nil)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var served, refused atomic.Int64
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() {
				_, err := l.Wait(ctx, "k", 1)
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, ratelimit.ErrWouldExceedDeadline) && ctx.Err() == nil:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, c.served, served.Load(), name)
		require.Equal(t, c.refuse, refused.Load(), name)
		require.LessOrEqual(t, s.Stats().Calls-before, uint64(2*waiters))
	}
}

// A settled login of three rules costs two commands, and so does the limits endpoint one.
func TestCommandsOfALogin(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	var checks []ratelimit.Check
	for _, name := range []string{"a", "b", "c"} {
		l := limiter(t, s, ratelimit.Policy{Name: name, Limit: 5, Window: time.Hour}, nil)
		checks = append(checks, ratelimit.Check{Limiter: l, Key: "key:" + name, Cost: 1, FailuresOnly: true})
	}
	for i := range 20 {
		a, err := ratelimit.Admit(context.Background(), checks...)
		require.NoError(t, err)
		require.True(t, a.Decision().Allowed)
		a.Succeed()
		a.End()
		require.EqualValues(t, 2*(i+1), s.Stats().Calls)
	}
	before := s.Stats().Calls
	for i := range checks {
		checks[i].Cost, checks[i].FailuresOnly = 0, false
	}
	d, err := ratelimit.Decide(context.Background(), checks...)
	require.NoError(t, err)
	require.Equal(t, 5, d.Results[2].Remaining)
	require.Equal(t, before+1, s.Stats().Calls)
}

// Every cost on an exhausted key is answered from memory, after a few commands.
func TestDenialsOfEveryCost(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), &Options{Timeout: 10 * time.Second, DenyFor: time.Hour})
	l := limiter(t, s, ratelimit.API(), nil)
	r, err := l.AllowN(t.Context(), "k", 100)
	require.NoError(t, err)
	require.True(t, r.Allowed)
	before := s.Stats().Calls
	for i := range 2000 {
		r, err := l.AllowN(t.Context(), "k", 1+i%99)
		require.NoError(t, err)
		require.False(t, r.Allowed)
		require.Positive(t, r.RetryAfter)
	}
	require.LessOrEqual(t, s.Stats().Calls-before, uint64(8))
}

// Parallel callers of one exhausted key are one command, also when another process has used
// it up, and whether they ask about one limit or about several.
func TestParallelCallersOfAnExhaustedKey(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	ctx := t.Context()
	other := limiter(t, store(t, client, patient()), login(), nil)
	_, err := other.AllowN(ctx, "k", 5)
	require.NoError(t, err)
	s := store(t, client, &Options{Timeout: 2 * time.Minute, DenyFor: time.Hour})
	l, second := limiter(t, s, login(), nil), limiter(t, s, ratelimit.API(), nil)
	for range 3 {
		for _, checks := range [][]ratelimit.Check{
			{{Limiter: l, Key: "k", Cost: 1}},
			{{Limiter: l, Key: "k", Cost: 1}, {Limiter: second, Key: "k", Cost: 1}},
		} {
			l.denials.drop("k")
			before := s.Stats().Calls
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					d, err := ratelimit.Decide(ctx, checks...)
					if err != nil || d.Allowed {
						t.Error(d, err)
					}
				})
			}
			wg.Wait()
			t.Log(s.Stats().Calls-before, "commands")
			require.LessOrEqual(t, s.Stats().Calls-before, uint64(20))
		}
	}
}

// One use takes little room on Redis, whatever its cost.
func TestBytesOfACost(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	s := store(t, client, patient())
	l := limiter(t, s, ratelimit.Policy{Name: "cost", Limit: 4096, Window: time.Hour}, nil)
	_, err := l.AllowN(t.Context(), "k", 4096)
	require.NoError(t, err)
	n, err := client.MemoryUsage(t.Context(), s.redisKey("k", l.suffix)).Result()
	require.NoError(t, err)
	t.Logf("%d bytes", n)
	require.LessOrEqual(t, n, int64(256))
}
