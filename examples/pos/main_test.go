package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/command"
)

// asCommand makes the test binary run as pos, so that the pages are tested on a real server.
const asCommand = "POS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	code := m.Run()
	closeDriver()
	os.Exit(code)
}

const (
	adminPassword   = "admin-of-the-test"
	cashierPassword = "cashier-of-the-test"
	patience        = 40 * time.Second // maximum time of a wait in a test, on a busy machine
)

// demoData is a small database, made once.
var demoData = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pos-pages-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	code := command.Run(context.Background(), command.Env{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard},
		[]string{"seed", "--data", dir, "--products=60", "--customers=20", "--sales=200"})
	if code != 0 {
		return nil, fmt.Errorf("seed: exit code %d", code)
	}
	return os.ReadFile(filepath.Join(dir, "pos.db"))
})

// shop is a running server behind a proxy that injects faults. Browsers open pages through the
// proxy. The test itself sends its requests to the server.
type shop struct {
	*faults
	t      *testing.T
	url    string // of the proxy
	direct string
	token  string // of the manager
	first  int    // the newest sale of the demo data
}

// startShop starts a server on demo data. It has no limits unless flags set some.
func startShop(t *testing.T, flags ...string) *shop {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts the server; run it without -short")
	}
	data, err := demoData()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pos.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"--data", dir, "--addr=127.0.0.1:0", "--drain=1ms", "--backup-at=off", "--admin-password", adminPassword, "--cashier-password", cashierPassword,
		"--rate-api=off", "--rate-page=off", "--rate-sale=off", "--rate-topup=off", "--rate-login=off",
	}, flags...)
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asCommand+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &shop{t: t}
	lines := bufio.NewScanner(out)
	for s.direct == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "listening on "); ok {
			s.direct = strings.TrimSuffix(url, "/")
		}
	}
	if s.direct == "" {
		t.Fatal("the server did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	s.faults = newFaults(t, s.direct)
	s.url = s.faults.url
	s.token = s.post("/api/v1/login/", map[string]any{"username": "admin", "password": adminPassword})["token"].(string)
	s.first = s.newest()
	return s
}

// request sends a request to the server itself, as the manager, and returns status and object.
func (s *shop) request(method, path string, body any) (int, map[string]any) {
	s.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = strings.NewReader(string(text))
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.direct+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer := map[string]any{}
	text, err := io.ReadAll(res.Body)
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return res.StatusCode, answer
}

func (s *shop) get(path string) map[string]any {
	s.t.Helper()
	status, v := s.request("GET", path, nil)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %v", path, status, v)
	}
	return v
}

func (s *shop) post(path string, body any) map[string]any {
	s.t.Helper()
	status, v := s.request("POST", path, body)
	if status >= http.StatusMultipleChoices {
		s.t.Fatalf("POST %s: %d %v", path, status, v)
	}
	return v
}

func (s *shop) newest() int {
	s.t.Helper()
	list := s.get("/api/v1/sales/?ordering=-id&page_size=1")["results"].([]any)
	return int(list[0].(map[string]any)["id"].(float64))
}

// sale is a sale in the form that the tests compare.
type sale struct {
	ID, Total int
	Card      string
	Items     map[int]int // quantity of each product
}

// sales returns the sales since the last call, oldest first.
func (s *shop) sales() []sale {
	s.t.Helper()
	var list []sale
	newest := s.first
	for _, v := range s.get("/api/v1/sales/?ordering=-id&page_size=50")["results"].([]any) {
		v := v.(map[string]any)
		id := int(v["id"].(float64))
		if id <= s.first {
			break
		}
		one := sale{ID: id, Total: int(v["total"].(float64)), Items: map[int]int{}}
		one.Card, _ = v["card"].(string)
		for _, i := range v["items"].([]any) {
			i := i.(map[string]any)
			one.Items[int(i["product"].(float64))] = int(i["quantity"].(float64))
		}
		list, newest = append([]sale{one}, list...), max(newest, id)
	}
	s.first = newest
	return list
}

// sold checks the goods of each sale since the last call.
func (s *shop) sold(want ...sale) {
	s.t.Helper()
	got := s.sales()
	if len(got) != len(want) {
		s.t.Fatalf("%d sales, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if fmt.Sprint(got[i].Items) != fmt.Sprint(w.Items) || got[i].Card != w.Card {
			s.t.Errorf("sale %d is %+v, want %+v", i+1, got[i], w)
		}
	}
}

// goods is a cash sale of one of each of these products.
func goods(products ...int) sale {
	items := map[int]int{}
	for _, p := range products {
		items[p]++
	}
	return sale{Items: items}
}

func (s sale) by(card string) sale { s.Card = card; return s }

func (s *shop) balance(card string) int {
	s.t.Helper()
	return int(s.get("/api/v1/cards/" + card + "/")["balance"].(float64))
}

// product returns name, price and stock.
func (s *shop) product(id int) (name string, price, stock int) {
	s.t.Helper()
	v := s.get(fmt.Sprintf("/api/v1/products/?search=%s&all=1", sku(id)))["results"].([]any)[0].(map[string]any)
	return v["name"].(string), int(v["price"].(float64)), int(v["stock"].(float64))
}

func sku(id int) string { return fmt.Sprintf("SKU-%05d", id) }

// waitUp waits until a server responds.
func waitUp(t *testing.T, url string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", url, err)
		}
	}
}
