package rediscache_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// cuts makes connections that lose the replies to commands with a text: those older than age.
type cuts struct {
	age  atomic.Int64
	text atomic.Pointer[string]
}

type cutConn struct {
	net.Conn
	of        *cuts
	age       int64
	cut, lost atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if text := c.of.text.Load(); c.of.age.Load() > c.age && (text == nil || bytes.Contains(b, []byte(*text))) {
		c.cut.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	if c.cut.Load() { // the server has the command, and the reply is lost
		c.lost.Store(true)
		return 0, io.EOF
	}
	return n, err
}

func (c *cuts) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, of: c, age: c.age.Load()}, err
}

// TestRetries: an operation that may be repeated survives a broken connection. The value of a
// Set is not sent twice, since the second command could replace a later write.
func TestRetries(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	connections := &cuts{}
	o := rediscache.ClientOptions(server.Addr())
	o.Dialer, o.DialTimeout, o.ReadTimeout = connections.dial, 20*time.Second, 20*time.Second
	c := redis.NewClient(o)
	defer c.Close()
	s := newStore(t, c, &rediscache.Options{Timeout: 20 * time.Second})
	do := func(ops ...driver.Op) (err error) {
		s.Do(t.Context(), ops)
		for i := range ops {
			if ops[i].Err != nil {
				err = ops[i].Err
			}
		}
		return err
	}
	set := driver.Op{Kind: driver.Set, Key: "p:k", Value: []byte("a value"), TTL: time.Hour}
	if err := do(set); err != nil {
		t.Fatal(err)
	}
	for name, ops := range map[string][]driver.Op{
		"Get":        {{Kind: driver.Get, Key: "p:k"}},
		"Get two":    {{Kind: driver.Get, Key: "p:k"}, {Kind: driver.TagState, Key: "t"}},
		"Delete":     {{Kind: driver.Delete, Key: "p:other"}},
		"Delete two": {{Kind: driver.Delete, Key: "p:other"}, {Kind: driver.Delete, Key: "p:another"}},
		"Invalidate": {{Kind: driver.Invalidate, Key: "t"}, {Kind: driver.Invalidate, Key: "u"}},
		"Set":        {set}, // the request for its lease is repeated
		"Lease":      {{Kind: driver.Lease, Key: "p:lease", Token: driver.NewToken(), TTL: time.Second}},
	} {
		before := s.Stats().Retries
		for tries := 0; s.Stats().Retries == before; tries++ { // the pool may have a connection that is new
			connections.age.Add(1)
			if err := do(ops...); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if tries == 100 {
				t.Fatalf("%s was never repeated", name)
			}
		}
	}
	value := "a value"
	connections.text.Store(&value)
	for tries := 0; ; tries++ {
		connections.age.Add(1)
		if do(set) != nil {
			break
		}
		if tries == 100 {
			t.Fatal("no Set reported its lost reply")
		}
	}
	// The Set is pending: the next read deletes the key first, for its value is unknown.
	if n := s.Stats().Pending; n != 1 {
		t.Errorf("%d pending writes", n)
	}
	get := []driver.Op{{Kind: driver.Get, Key: "p:k"}}
	if s.Do(t.Context(), get); get[0].Err != nil || get[0].Value != nil || s.Stats().Pending != 0 {
		t.Errorf("%+v, %d pending", get[0], s.Stats().Pending)
	}
	// The calls of a server that is gone end soon.
	server.Kill()
	before := s.Stats().Retries
	for range 2 {
		if err := do(driver.Op{Kind: driver.Get, Key: "p:k"}); err == nil {
			t.Error("a dead server replied")
		}
	}
	if n := s.Stats().Retries - before; n > 4 {
		t.Errorf("a dead server was asked again %d times", n)
	}
}
