package rediscache

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// silence swallows what comes in on subscribed connections, as a cable that was pulled
// does: nothing breaks, and nothing arrives.
type silence struct{ on atomic.Bool }

type silentConn struct {
	net.Conn
	silence *silence
	bus     atomic.Bool
}

func (c *silentConn) Write(b []byte) (int, error) {
	if bytes.Contains(bytes.ToLower(b), []byte("subscribe")) {
		c.bus.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *silentConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.bus.Load() || !c.silence.on.Load() {
			return n, err
		}
	}
}

func (s *silence) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &silentConn{Conn: conn, silence: s}, nil
}

// history is when each version of a key was overwritten: the writer's Delete returned.
type history struct {
	mu   sync.Mutex
	gone []time.Time
}

func (h *history) overwritten(at time.Time) {
	h.mu.Lock()
	h.gone = append(h.gone, at)
	h.mu.Unlock()
}

// staleness is for how long a version had been overwritten at a time.
func (h *history) staleness(version int64, at time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if version >= int64(len(h.gone)) {
		return 0
	}
	return at.Sub(h.gone[version])
}

// TestBusCut silences a process's subscription while another writes. What it serves may be
// old for as long as silence takes to be noticed, or for NearLimitDeaf from then on, and
// nothing is old once it hears again. MAINSTAY_BUS_CUT is how long the cut lasts.
func TestBusCut(t *testing.T) {
	t.Parallel()
	cut := 12 * time.Second
	if testing.Short() {
		cut = time.Second
	}
	if s := os.Getenv("MAINSTAY_BUS_CUT"); s != "" {
		var err error
		if cut, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	// A busy machine may notice late; without the limits all would be old for the whole cut.
	const patience = 4 * time.Second
	bound := deafAfter + beatEvery/4 + 2*time.Second + patience
	server := testserver.Redis(t)
	var line silence
	o := ClientOptions(server.Addr())
	o.Dialer, o.DialTimeout, o.ReadTimeout, o.PoolTimeout = line.dial, 5*time.Second, 5*time.Second, 5*time.Second
	reader := newProcess(t, redis.NewClient(o), false, cache.Options{})
	writer := newProcess(t, client(server.Addr()), false, cache.Options{})
	reader.listening(t)
	writer.listening(t)

	const keys = 6 // of which the first half is written all the time, the rest once
	ctx := context.Background()
	var truth [keys]atomic.Int64
	var histories [keys]history
	load := func(k int) func(context.Context) (int64, error) {
		return func(context.Context) (int64, error) { return truth[k].Load(), nil }
	}
	write := func(k int) {
		truth[k].Add(1)
		if err := writer.values.Delete(ctx, fmt.Sprint(k)); err != nil {
			t.Error(err)
		}
		histories[k].overwritten(time.Now())
	}
	var worst time.Duration
	read := func(k int) int64 {
		at := time.Now() // before: what the read itself takes does not count
		v, err := reader.values.GetOrLoad(ctx, fmt.Sprint(k), load(k))
		if err != nil {
			t.Error(err)
		}
		worst = max(worst, histories[k].staleness(v, at))
		return v
	}
	for k := range keys {
		read(k)
	}
	line.on.Store(true)
	for k := range keys {
		write(k)
	}
	var sawStale bool
	for end := time.Now().Add(cut); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		write(int(time.Now().UnixNano()/1e6) % (keys / 2))
		for k := range keys {
			sawStale = read(k) < truth[k].Load() || sawStale
		}
	}
	if !sawStale {
		t.Error("nothing was ever old: the cut did not work")
	}
	t.Logf("cut for %v: old for %v at most; stated %v", cut, worst, bound-patience)
	if worst > bound {
		t.Errorf("old for %v, more than %v", worst, bound)
	}
	for k := range keys { // what is in memory when the line is mended was overwritten unheard
		read(k)
		write(k)
	}
	before := reader.shared.Stats()
	line.on.Store(false)
	if cut > deafAfter+time.Second && before.Deaf == 0 {
		t.Errorf("the cut was not noticed: %+v", before)
	}
	reader.awaitLimit(t, 30*time.Second)
	for k := range keys {
		// A cut that was too short to be noticed is found by the gap in the counts.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			v := read(k)
			if v == truth[k].Load() {
				break
			}
			if before.Deaf > 0 || time.Now().After(deadline) {
				t.Fatalf("after the cut key %d is %d, want %d", k, v, truth[k].Load())
			}
		}
	}
}
