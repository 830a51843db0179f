package rediscache

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// cuts are connections whose answers get lost when told to: of those that there are now.
type cuts struct{ age atomic.Int64 }

type cutConn struct {
	net.Conn
	of        *cuts
	age       int64
	cut, lost atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.of.age.Load() > c.age {
		c.cut.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	if c.cut.Load() { // the server got the command, and the answer is lost
		c.lost.Store(true)
		return 0, io.EOF
	}
	return n, err
}

func (c *cuts) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, of: c, age: c.age.Load()}, err
}

// TestRetries: what may be done twice survives a cut connection, what may not is not
// done again.
func TestRetries(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	connections := &cuts{}
	o := ClientOptions(server.Addr())
	o.Dialer, o.DialTimeout, o.ReadTimeout, o.PoolTimeout = connections.dial, 20*time.Second, 20*time.Second, 20*time.Second
	s := newStore(t, redis.NewClient(o), patient)
	ctx := t.Context()
	calls := func(key string) string { return server.Do("GET", s.key(key)).(string) }
	if err := s.Set(ctx, "k", []byte("1"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Get":            func() error { _, _, err := s.Get(ctx, "k"); return err },
		"Read":           func() error { _, _, err := s.Read(ctx, []string{"k"}, []string{"t"}); return err },
		"Delete":         func() error { return s.Delete(ctx, "other") },
		"Delete two":     func() error { return s.Delete(ctx, "other", "another") },
		"InvalidateTags": func() error { return s.InvalidateTags(ctx, "t", "u") },
	} {
		before := s.Stats().Retries
		// Now and then the pool has a connection that it made in advance.
		for tries := 0; s.Stats().Retries == before; tries++ {
			connections.age.Add(1)
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if tries == 100 {
				t.Fatalf("%s was never made again", name)
			}
		}
	}
	before := s.Stats().Retries
	var err error
	for tries := 0; err == nil; tries++ {
		connections.age.Add(1)
		if err = s.Set(ctx, "k", []byte("2"), time.Hour); tries == 100 {
			t.Fatal("Set never reported that its answer was lost")
		}
	}
	if n := s.Stats().Retries - before; n != 0 || calls("k") != "2" {
		t.Errorf("Set was made again %d times; %q is stored", n, calls("k"))
	}
	// A server that is gone is not waited for.
	server.Kill()
	before = s.Stats().Retries
	for range 2 {
		if _, _, err := s.Get(ctx, "k"); err == nil {
			t.Error("a dead server answered")
		}
	}
	if n := s.Stats().Retries - before; n > 2 {
		t.Errorf("a dead server was tried %d times more", n)
	}
}

// warnings counts the lines of a log.
type warnings struct{ atomic.Int64 }

func (w *warnings) Write(p []byte) (int, error) { w.Add(1); return len(p), nil }

// TestBusStats: what Run hears, misses, and how long messages take. An outage is one
// warning, however often Run tries.
func TestBusStats(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	var listening, deaf, lags atomic.Int64
	var warned warnings
	logger := slog.New(slog.NewTextHandler(&warned, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a := newStore(t, client(server.Addr()), &Options{Timeout: 20 * time.Second, Logger: logger, Trace: &Trace{
		Listening: func(context.Context) { listening.Add(1) },
		Deaf:      func(context.Context, error) { deaf.Add(1) },
		BusLag:    func(context.Context, time.Duration) { lags.Add(1) },
	}})
	b := newStore(t, client(server.Addr()), patient)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	await := func(what string, is func(Stats) bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !is(a.Stats()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, a.Stats())
			}
		}
	}
	await("a beat", func(s Stats) bool { return s.Listening && s.BusLag > 0 })
	if lag := a.Stats().BusLag; lag > time.Minute || lags.Load() == 0 || listening.Load() == 0 {
		t.Errorf("%v, %d lags, %d times listening", lag, lags.Load(), listening.Load())
	}
	heard := a.Stats().Heard
	for range 3 {
		if err := b.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
	}
	await("three messages", func(s Stats) bool { return s.Heard >= heard+3 })
	server.Kill()
	before := a.Stats().Deaf
	await("deaf", func(s Stats) bool { return !s.Listening && s.Deaf > before+4 })
	if n := warned.Load(); n < 1 || n > listening.Load() {
		t.Errorf("%d warnings of an outage after %d times listening", n, listening.Load())
	}
	server.Restart()
	await("back", func(s Stats) bool { return s.Listening })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := a.Stats(); s.Listening || s.Deaf != uint64(deaf.Load()) {
		t.Errorf("after Run: %+v, told of %d", s, deaf.Load())
	}
}
