package rediscache_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// delay is a TCP proxy that holds one command back, also after its client has closed the
// connection, and delivers it on release.
type delay struct {
	listener net.Listener
	server   string
	marker   []byte        // in the command to hold
	held     chan struct{} // closed when it arrives
	released chan struct{} // closed by release
	over     chan struct{} // closed after the server has executed it
	hold     sync.Once
	deliver  sync.Once
	wg       sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
}

func newDelay(t *testing.T, server, marker string) *delay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &delay{listener: listener, server: server, marker: []byte(marker), held: make(chan struct{}), released: make(chan struct{}), over: make(chan struct{})}
	d.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			d.wg.Go(func() { d.serve(conn) })
		}
	})
	t.Cleanup(func() {
		d.release()
		_ = listener.Close()
		d.mu.Lock()
		for _, conn := range d.open {
			_ = conn.Close()
		}
		d.mu.Unlock()
		d.wg.Wait()
	})
	return d
}

func (d *delay) release() { d.deliver.Do(func() { close(d.released) }) }

func (d *delay) serve(down net.Conn) {
	up, err := net.Dial("tcp", d.server)
	if err != nil {
		_ = down.Close()
		return
	}
	d.mu.Lock()
	d.open = append(d.open, down, up)
	d.mu.Unlock()
	replied := make(chan struct{}, 1)
	d.wg.Go(func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := up.Read(buffer)
			if err != nil {
				_ = down.Close()
				return
			}
			select {
			case replied <- struct{}{}:
			default:
			}
			_, _ = down.Write(buffer[:n])
		}
	})
	defer up.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := down.Read(buffer)
		if err != nil {
			return
		}
		mine := false
		if bytes.Contains(buffer[:n], d.marker) {
			d.hold.Do(func() { mine = true })
		}
		if mine {
			close(d.held)
			<-d.released
			select {
			case <-replied: // of earlier commands
			default:
			}
		}
		if _, err := up.Write(buffer[:n]); err != nil {
			return
		}
		if mine {
			<-replied
			close(d.over)
		}
	}
}

// TestLateCommand: a command arrives at Redis after its caller gave up, and behind a later
// write of the same key. No reader receives the older value.
func TestLateCommand(t *testing.T) {
	t.Parallel()
	server := redisServer(t)
	opts := &cache.Options[string]{Tags: func(key string) []string { return []string{"group " + key} }, StaleFor: time.Hour, NoMemory: true, LoadTimeout: patient}
	stored := func(value string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return value, nil }
	}
	var names atomic.Int64
	type writes = *cache.Typed[string]
	for lateName, late := range map[string]struct {
		marker string // of the command that is late, "" for the first one with the key
		write  func(ctx context.Context, c writes, key string)
	}{
		"Set":           {"", func(ctx context.Context, c writes, key string) { _ = c.Set(ctx, key, "the old value") }},
		"value of Set":  {"the old value", func(ctx context.Context, c writes, key string) { _ = c.Set(ctx, key, "the old value") }},
		"value of load": {"the old value", func(ctx context.Context, c writes, key string) { _, _ = c.GetOrLoad(ctx, key, stored("the old value")) }},
		"value of SetMany": {"the old value", func(ctx context.Context, c writes, key string) {
			_ = c.SetMany(ctx, map[string]string{key: "the old value", key + "other": "the old value"})
		}},
		"Expire": {"", func(ctx context.Context, c writes, key string) { _ = c.Expire(ctx, key) }},
	} {
		for laterName, later := range map[string]func(ctx context.Context, own, other writes, key string) error{
			"Set":    func(ctx context.Context, _, other writes, key string) error { return other.Set(ctx, key, "new") },
			"Delete": func(ctx context.Context, _, other writes, key string) error { return other.Delete(ctx, key) },
			"InvalidateTags": func(ctx context.Context, _, other writes, key string) error {
				return other.InvalidateTags(ctx, "group "+key)
			},
			"Clear": func(ctx context.Context, _, other writes, _ string) error { return other.Clear(ctx) },
			"Delete and load": func(ctx context.Context, _, other writes, key string) error {
				if err := other.Delete(ctx, key); err != nil {
					return err
				}
				_, err := other.GetOrLoad(ctx, key, stored("new"))
				return err
			},
			"own Delete": func(ctx context.Context, own, _ writes, key string) error { return own.Delete(ctx, key) },
			"own Set":    func(ctx context.Context, own, _ writes, key string) error { return own.Set(ctx, key, "new") },
		} {
			for _, leaves := range []bool{false, true} {
				if even := (len(lateName)+len(laterName))%2 == 0; leaves != even && !testserver.Long() {
					continue // a plain run has half of the pairs with a caller that leaves
				}
				t.Run(fmt.Sprintf("%s before %s, the caller leaves %v", lateName, laterName, leaves), func(t *testing.T) {
					t.Parallel()
					ctx, key := t.Context(), "k"
					reader := open[string](t, newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: patient}), fmt.Sprint("late", names.Add(1)), opts)
					other := open[string](t, newStore(t, client(t, server.Addr()), &rediscache.Options{Timeout: patient}), reader.Name(), opts)
					if err := other.Set(ctx, key, "first"); err != nil { // which also gives the tags their states
						t.Fatal(err)
					}
					marker := "cache:{" + other.Name() + ":" + key + "}"
					if late.marker != "" {
						marker = late.marker
						if err := other.Delete(ctx, key); err != nil {
							t.Fatal(err)
						}
					}
					proxy := newDelay(t, server.Addr(), marker)
					store := newStore(t, client(t, proxy.listener.Addr().String()), &rediscache.Options{Timeout: 200 * time.Millisecond})
					own := open[string](t, store, other.Name(), opts)
					calling, cancel := context.WithCancel(ctx)
					defer cancel()
					if leaves {
						go func() { <-proxy.held; cancel() }()
					}
					eventually(t, "the command is on its way", func() bool {
						late.write(calling, own, key)
						select {
						case <-proxy.held:
							return true
						default: // this machine was too slow to send it
							return false
						}
					})
					// The first call has returned, and the command has not arrived.
					if err := later(ctx, own, other, key); err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(laterName, "own") {
						running(t, store) // applies the write
					}
					proxy.release()
					<-proxy.over
					eventually(t, "the later write is applied", func() bool { return !strings.HasPrefix(laterName, "own") || store.Stats().Pending == 0 })
					if v, ok, err := reader.Get(ctx, key); ok && v != "new" || err != nil {
						t.Errorf("Get: %q, %v", v, err)
					}
					if v, err := reader.GetOrLoad(ctx, key, stored("new")); v != "new" || err != nil {
						t.Errorf("GetOrLoad: %q, %v", v, err)
					}
				})
			}
		}
	}
}
