package redischeck_test

import (
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/redischeck"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// registryOf returns a registry with the check. Unless a test says so, an answer of the server is
// not slow: a busy machine takes longer than the default of 100 ms.
func registryOf(t *testing.T, client redis.UniversalClient, opts *redischeck.Options) *health.Registry {
	t.Helper()
	o := &redischeck.Options{}
	if opts != nil {
		*o = *opts
	}
	if o.SlowAfter == 0 {
		o.SlowAfter = time.Minute
	}
	r, err := health.New([]health.Check{redischeck.New("cache", client, o)},
		&health.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	return r
}

func run(t *testing.T, r *health.Registry) health.CheckState {
	t.Helper()
	snap, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return snap.Checks[0]
}

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestServerThatComesAndGoes(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	r := registryOf(t, newClient(t, server.Addr()), &redischeck.Options{WriteKey: "health:probe"})
	s := run(t, r)
	require.Equal(t, health.Pass, s.Status, s.Output)
	require.Nil(t, server.Do("GET", "health:probe"), "the probe cleans up")

	server.Kill()
	require.Equal(t, health.Fail, run(t, r).Status)
	server.Restart()
	require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 20*time.Millisecond)

	// go-redis does not look at a context's deadline unless it is told to: the
	// check has its own.
	server.Pause()
	begin := time.Now()
	s = run(t, r)
	require.Equal(t, health.KindTimeout, s.Kind)
	require.Less(t, time.Since(begin), 4*time.Second, "2 s, and not the 5 s of the client")
	server.Continue()
	require.Eventually(t, func() bool { return run(t, r).Status == health.Pass }, 20*time.Second, 20*time.Millisecond)
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	r := registryOf(t, newClient(t, l.Addr().String()), &redischeck.Options{Timeout: 100 * time.Millisecond})
	require.Equal(t, health.KindTimeout, run(t, r).Kind)
	require.Equal(t, health.KindStuck, run(t, r).Kind)
}

func TestServerThatRefusesWrites(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := newClient(t, server.Addr())
	r := registryOf(t, client, nil)
	writing := registryOf(t, client, &redischeck.Options{WriteKey: "health:probe"})

	server.Do("SET", "filler", strings.Repeat("x", 1<<20))
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	server.Do("CONFIG", "SET", "maxmemory", "1000000")
	s := run(t, r)
	require.Equal(t, health.Fail, s.Status)
	require.Contains(t, s.Output, "refuses writes: OOM")
	s = run(t, writing)
	require.Equal(t, health.Fail, s.Status)
	require.Contains(t, s.Output, "answers and refuses writes")

	server.Do("CONFIG", "SET", "maxmemory", "0")
	require.Equal(t, health.Pass, run(t, r).Status)
	require.Equal(t, health.Pass, run(t, writing).Status)

	// A replica whose master has gone.
	server.Do("REPLICAOF", "127.0.0.1", "1")
	s = run(t, r)
	require.Equal(t, health.Fail, s.Status, s.Output)
	require.Contains(t, s.Output, "refuses writes: READONLY")
	s = run(t, registryOf(t, client, &redischeck.Options{AllowReadOnly: true}))
	require.Equal(t, health.Warn, s.Status, s.Output)
	require.Contains(t, s.Output, "lost its master")
	require.Equal(t, health.Fail, run(t, writing).Status)
}

// Every reason for a refusal is found without a key to write to, and the probe
// leaves nothing behind.
func TestRefusedWritesAreFoundUnasked(t *testing.T) {
	t.Parallel()
	master, server := testserver.Redis(t), testserver.Redis(t)
	client := newClient(t, server.Addr())
	r := registryOf(t, client, nil)
	require.Equal(t, health.Pass, run(t, r).Status)
	require.EqualValues(t, 0, server.Do("DBSIZE"))

	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(t, err)
	server.Do("REPLICAOF", host, port)
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, 20*time.Second, 20*time.Millisecond)
	s := run(t, r)
	require.Equal(t, health.Fail, s.Status, "a replica whose link is up")
	require.Contains(t, s.Output, "READONLY")
	require.Equal(t, health.Pass, run(t, registryOf(t, client, &redischeck.Options{AllowReadOnly: true})).Status)
	server.Do("REPLICAOF", "NO", "ONE")
	require.Equal(t, health.Pass, run(t, r).Status)

	server.Do("CONFIG", "SET", "min-replicas-to-write", "3")
	s = run(t, r)
	require.Equal(t, health.Fail, s.Status)
	require.Contains(t, s.Output, "NOREPLICAS")
	server.Do("CONFIG", "SET", "min-replicas-to-write", "0")

	server.Do("ACL", "SETUSER", "reader", "on", "nopass", "~app:*", "+@read", "+ping", "+info")
	reader := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "reader", Password: "x", MaxRetries: -1})
	defer reader.Close()
	s = run(t, registryOf(t, reader, nil))
	require.Equal(t, health.Pass, s.Status, "a user who may not write is no fault: %s", s.Output)
}

func TestServerThatForbidsInfo(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t, "--rename-command", "INFO", "")
	s := run(t, registryOf(t, newClient(t, server.Addr()), nil))
	require.Equal(t, health.Pass, s.Status, s.Output)
}

func TestSlowServerWarns(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := run(t, registryOf(t, newClient(t, server.Addr()), &redischeck.Options{SlowAfter: time.Nanosecond}))
	require.Equal(t, health.Warn, s.Status)
}

func TestBadOptionsAreRefused(t *testing.T) {
	client := newClient(t, "127.0.0.1:1")
	for _, c := range []health.Check{
		redischeck.New("cache", nil, nil),
		redischeck.New("cache", client, &redischeck.Options{SlowAfter: -1}),
		redischeck.New("cache", client, &redischeck.Options{MemoryPercent: 101}),
		redischeck.New("cache", client, &redischeck.Options{MemoryPercent: math.NaN()}),
		redischeck.New("cache", client, &redischeck.Options{Timeout: -1}),
	} {
		_, err := health.New([]health.Check{c}, nil)
		require.Error(t, err)
	}
}
