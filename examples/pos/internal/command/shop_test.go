package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
)

// shop is a server of a test with its demo data.
type shop struct {
	handler http.Handler
	t       *testing.T
	url     string
	token   string // of the cashier; "" sends no token
	admin   string // the manager's token
	store   *store.Store
	parts   *parts
}

const (
	adminPassword   = "admin-of-the-test"
	cashierPassword = "cashier-of-the-test"
	opsToken        = "operations-of-the-test"
)

// unlimited are settings for tests that send more requests than a person would.
var unlimited = []string{"--rate-api=off", "--rate-sale=off", "--rate-topup=off", "--rate-login=off"}

func openTestShop(t *testing.T, flags ...string) *shop {
	t.Helper()
	return openTestShopEnv(t, "", flags...)
}

// openTestShopEnv opens a shop with one environment variable, NAME=value.
func openTestShopEnv(t *testing.T, variable string, flags ...string) *shop {
	t.Helper()
	args := append([]string{"--data", demoShop(t), "--ops-token", opsToken}, flags...)
	if slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--database=") }) {
		args = append(args, "--admin-password", adminPassword, "--cashier-password", cashierPassword)
	}
	s, rest, err := settings.Load(args, func(name string) string {
		value, _ := strings.CutPrefix(variable, name+"=")
		if value == variable {
			return ""
		}
		return value
	})
	if err != nil || len(rest) > 0 {
		t.Fatal(rest, err)
	}
	st, err := store.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if empty, err := st.Empty(t.Context()); err != nil || empty && s.Demo { // fewer rows on a server, because writing them takes time
		if err := errors.Join(err, st.Seed(t.Context(), calendar(s), time.Now(), store.Demo{Products: 60, Customers: 30, Sales: 500})); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := newServer(t.Context(), Env{Stdout: io.Discard}, s, st, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.close)
	web := httptest.NewServer(srv.handler)
	t.Cleanup(web.Close)
	sh := &shop{t: t, url: web.URL, handler: srv.handler, store: st, parts: srv.parts}
	// Not by logging in, because hashing two passwords takes seconds under the race detector.
	for user, token := range map[store.User]*string{store.CashierUser: &sh.token, store.AdminUser: &sh.admin} {
		if *token, err = srv.parts.sessions.Start(t.Context(), user, time.Hour, "127.0.0.1", "test"); err != nil {
			t.Fatal(err)
		}
	}
	return sh
}

// demoTemplate is a folder with the demo data and the passwords of the tests. It is made once,
// because that takes seconds under the race detector.
var demoTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pos-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := settings.Default()
	s.Data, s.AdminPassword, s.CashierPassword = dir, adminPassword, cashierPassword
	st, err := store.Open(context.Background(), s)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		fillShop(context.Background(), s, st, slog.New(slog.DiscardHandler)),
		st.SetPassword(context.Background(), store.AdminUser, adminPassword),
		st.SetPassword(context.Background(), store.CashierUser, cashierPassword),
		st.Close(), // moves the write-ahead log into the file
	)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(s.SQLitePath())
})

// demoShop returns a new data folder with the demo data.
func demoShop(t *testing.T) string {
	t.Helper()
	db, err := demoTemplate()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pos.db"), db, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// send sends a request and returns status, body and header. The headers are pairs of name and
// value.
func (s *shop) send(method, path, body string, headers ...string) (int, []byte, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		s.t.Error(err)
		return 0, nil, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Error(err)
	}
	return res.StatusCode, answer, res.Header
}

// asManager returns the shop with the manager's token.
func (s *shop) asManager() *shop {
	m := *s
	m.token = s.admin
	return &m
}

// get sends a GET that must succeed and returns the object.
func (s *shop) get(path string) map[string]any {
	s.t.Helper()
	status, body, _ := s.send("GET", path, "")
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return v
}

func field(t *testing.T, body []byte, name string) any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v[name]
}

// card is the first card of the demo data.
const card = "C1000007"

func (s *shop) balance() int64 {
	return int64(s.get("/api/v1/cards/" + card + "/")["balance"].(float64))
}

// product returns price and stock of the product with an id, from the list.
func (s *shop) product(id int) (price, stock int64) {
	s.t.Helper()
	v := s.get("/api/v1/products/?ordering=id&page_size=1&page=" + fmt.Sprint(id))
	p := v["results"].([]any)[0].(map[string]any)
	return int64(p["price"].(float64)), int64(p["stock"].(float64))
}

// failingListener fails after a signal.
type failingListener struct {
	net.Listener
	fail chan struct{}
}

func (l failingListener) Accept() (net.Conn, error) {
	<-l.fail
	return nil, net.ErrClosed
}

// TestServerThatFailsWaitsForItsWork lets the listener fail. The caller closes the database then,
// so no background work may use it any more.
func TestServerThatFailsWaitsForItsWork(t *testing.T) {
	s := openTestShop(t, unlimited...)
	inner, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := failingListener{inner, make(chan struct{})}
	var working atomic.Bool
	if err := s.parts.health.Add(health.Check{Name: "slow", Timeout: time.Minute, Checker: health.CheckerFunc(func(ctx context.Context) health.Result {
		if working.CompareAndSwap(false, true) {
			close(listener.fail)
		}
		<-ctx.Done()
		time.Sleep(300 * time.Millisecond) // it needs a moment to end
		working.Store(false)
		return health.Passed("")
	})}); err != nil {
		t.Fatal(err)
	}
	srv := &server{parts: s.parts, handler: s.handler, logger: slog.New(slog.DiscardHandler)}
	if err := srv.run(t.Context(), listener, nil); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if working.Load() {
		t.Error("a check still runs")
	}
}
