package command

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/logfile"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// BenchmarkProducts reads the cached list of products and the same bytes from a bare handler,
// alternately. of-bare is the throughput as a share of the bare handler's. The shop does
// everything that it does in production: session, log in two files, metrics, versions. The
// client is a raw connection with little cost of its own.
func BenchmarkProducts(b *testing.B) {
	b.Run("in process", func(b *testing.B) { benchmarkProducts(b) })
	b.Run("on Redis", func(b *testing.B) {
		benchmarkProducts(b, "--redis=redis://"+testserver.Redis(b).Addr())
	})
}

func benchmarkProducts(b *testing.B, flags ...string) {
	demo, err := demoTemplate()
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := settings.Load(append([]string{"--data", b.TempDir(), "--ops-token", opsToken, "--backup-at=off"}, append(unlimited, flags...)...), func(string) string { return "" })
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Data, "pos.db"), demo, 0o600); err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	logger, logs := logfile.New(null, s.LogFile(), slog.LevelInfo)
	defer logs.Close()
	srv, err := newServer(b.Context(), Env{Stdout: io.Discard}, s, st, logger)
	if err != nil {
		b.Fatal(err)
	}
	defer srv.close()
	background, stop := context.WithCancel(b.Context())
	defer stop()
	if srv.parts.shared != nil {
		go func() { _ = srv.parts.shared.Run(background) }()
	}
	web := httptest.NewServer(srv.handler)
	defer web.Close()
	token, err := srv.parts.sessions.Start(b.Context(), store.CashierUser, time.Hour, "", "")
	if err != nil {
		b.Fatal(err)
	}
	shop := dialRaw(b, web.Listener.Addr().String(), "GET /api/v1/products/ HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer "+token+"\r\n\r\n")
	body := shop.get(b)
	if !strings.Contains(string(body), `"count":450`) {
		b.Fatalf("the list is %.200s", body)
	}
	bareWeb := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}))
	defer bareWeb.Close()
	bare := dialRaw(b, bareWeb.Listener.Addr().String(), "GET /api/v1/products/ HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer "+token+"\r\n\r\n")
	var took [2]time.Duration
	for b.Loop() {
		for i, c := range []*rawConn{shop, bare} {
			start := time.Now()
			for range 50 {
				c.get(b)
			}
			took[i] += time.Since(start)
		}
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "of-bare")
	b.ReportMetric(float64(took[0])/float64(b.N)/50, "ns/list")
	b.ReportMetric(0, "ns/op")
}

// rawConn sends one request repeatedly.
type rawConn struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
}

func dialRaw(b *testing.B, addr, request string) *rawConn {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &rawConn{conn, bufio.NewReaderSize(conn, 64<<10), []byte(request)}
}

// get returns the body, whose end is known from its length.
func (c *rawConn) get(b *testing.B) []byte {
	if _, err := c.conn.Write(c.request); err != nil {
		b.Fatal(err)
	}
	length := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	body := make([]byte, max(length, 0))
	if _, err := io.ReadFull(c.reader, body); err != nil || length < 0 {
		b.Fatalf("length %d, %v", length, err)
	}
	return body
}
