package command

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// asCommand makes the test binary run as pos, so that the tests use a process with its signals,
// exit codes and files.
const asCommand = "MAINSTAY_TEST_AS_POS"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(Run(context.Background(), Env{Getenv: os.Getenv, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:]))
	}
	testserver.MostlyWaits(3)
	os.Exit(m.Run())
}

func posCommand(t *testing.T, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts the server; run it without -short")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.TempDir() // the place of the default data folder
	// A developer may run a server on the default port at the same time.
	cmd.Env = append(os.Environ(), asCommand+"=1", "POS_ADDR=127.0.0.1:0")
	return cmd
}

// pos runs a command to its end.
func pos(t *testing.T, env string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := posCommand(t, ctx, args...)
	if env != "" {
		cmd.Env = append(cmd.Env, env)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// process is a running server.
type process struct {
	shop
	cmd   *exec.Cmd
	lines []string // of stdout, until the server listens
	data  string
}

// startPos starts a server on a free port and logs in.
func startPos(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := launchPos(t, data, args...)
	status, body, _ := p.send("POST", "/api/v1/login/", `{"username":"cashier","password":"`+cashierPassword+`"}`)
	if status != http.StatusOK {
		t.Fatalf("login: %d %s", status, body)
	}
	p.token = field(t, body, "token").(string)
	return p
}

// launchPos starts a server without a log-in.
func launchPos(t *testing.T, data string, args ...string) *process {
	t.Helper()
	cmd := posCommand(t, context.Background(), append([]string{"--addr=127.0.0.1:0", "--data", data, "--drain=200ms"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, data: data}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		p.lines = append(p.lines, scanner.Text())
		if _, url, ok := strings.Cut(scanner.Text(), "listening on "); ok {
			p.shop = shop{t: t, url: strings.TrimSuffix(url, "/")}
			break
		}
	}
	if p.url == "" {
		t.Fatal("the server did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return p
}

// sellUntil sells with several tills until stop is closed, and returns the number of sales with
// status 201. It accepts broken connections, because a till sees them when its server stops.
func (p *process) sellUntil(stop <-chan struct{}) (accepted *atomic.Int64, wait func()) {
	accepted = new(atomic.Int64)
	var wg sync.WaitGroup
	for till := range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, _ := http.NewRequest("POST", p.url+"/api/v1/sales/", strings.NewReader(fmt.Sprintf(`{"items":[{"product":%d,"quantity":1}]}`, till+1)))
				req.Header.Set("Authorization", "Bearer "+p.token)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				if res.StatusCode == http.StatusCreated {
					accepted.Add(1)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				time.Sleep(20 * time.Millisecond) // on a slow host, the backup must not grow for minutes
			}
		})
	}
	return accepted, wg.Wait
}

// sold checks a database for damage and returns its number of sales without the demo data.
func sold(t *testing.T, path string) int64 {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	var n, wrong int64
	for query, to := range map[string]any{
		"PRAGMA integrity_check":             &verdict,
		"SELECT count(*) - 10000 FROM sales": &n,
		"SELECT count(*) FROM sales s WHERE total <> (SELECT coalesce(sum(quantity * price), 0) FROM sale_items i WHERE i.sale_id = s.id)": &wrong,
	} {
		if err := db.QueryRow(query).Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	if verdict != "ok" || wrong != 0 {
		t.Errorf("integrity %q, %d sales without their items", verdict, wrong)
	}
	return n
}

// waitFor polls until done, with a time limit that is long enough for a busy machine.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		env  string
		args []string
		says string
	}{
		{"", []string{"--bogus"}, "--bogus"},
		{"", []string{"serve", "--bogus=1"}, "--bogus"},
		{"", []string{"extra"}, "extra"},
		{"", []string{"serve", "extra"}, "extra"},
		{"", []string{"--addr"}, "--addr"},
		{"", []string{"--addr", "nonsense"}, "nonsense"},
		{"", []string{"--addr", "127.0.0.1:99999"}, "99999"},
		{"POS_ADDR=nonsense", nil, "POS_ADDR"},
		{"", []string{"--rate-login=5 per hour"}, "--rate-login"},
		{"POS_RATE_SALE=x", nil, "POS_RATE_SALE"},
		{"", []string{"--redis=http://x"}, "--redis"},
		{"", []string{"--redis=redis://:6379:x"}, "--redis"},
		{"", []string{"--database=oracle://a:s3cret@h/d"}, "--database"},
		{"", []string{"--database=mysql://a:s3cret@127.0.0.1:1/d"}, "--database"},
		{"", []string{"--database=postgres://a:s3cret@127.0.0.1:1/d"}, "--database"},
		{"", []string{"--smtp=smtp://a:s3cret@h"}, "--smtp"},
		{"", []string{"--receivers=slack+https://s3cret@hooks.slack.com/services/x"}, "--receivers"},
		{"", []string{"--receivers=fax+https://h/s3cret"}, "--receivers"},
		{"", []string{"--receivers=https://h/s3cret"}, "--receivers"},
		{"", []string{"--receivers=slack+https://h:s3cret/%zz"}, "--receivers"},
		{"", []string{"--receivers=slack+http://hooks.example.org/s3cret"}, "--receivers"},
		{"", []string{"--receivers=webhook+https://h/x telegram+https://api.telegram.org/s3cret"}, "receiver 2"},
		{"", []string{"--receivers=pagerduty+https://events.pagerduty.com/s3cret"}, "--receivers"},
		{"", []string{"--receivers=ntfy+https://ntfy.sh/a%20s3cret/"}, "--receivers"},
		{"POS_RECEIVERS=  ", nil, "POS_RECEIVERS"},
		{"", []string{"--public-url=pos.example.org"}, "--public-url"},
		{"", []string{"--public-url=https://u:s3cret@pos.example.org"}, "--public-url"},
		{"", []string{"--public-url=https://pos.example.org/x?y"}, "--public-url"},
		{"", []string{"--trusted-proxies=everybody"}, "--trusted-proxies"},
		{"", []string{"--backup-at=25:00"}, "--backup-at"},
		{"POS_DEMO=perhaps", nil, "POS_DEMO"},
		{"", []string{"--admin-password=short"}, "--admin-password"},
		{"", []string{"--data", file}, "--data"},
		{"", []string{"--data", t.TempDir(), "--addr", busy.Addr().String()}, "in use"},
		{"", []string{"seed", "--sales=many"}, "many"},
		{"", []string{"seed", "--sales=-1"}, "--sales"},
		{"", []string{"schedule"}, "print"},
		{"", []string{"schedule", "print", "--target=amiga"}, `"amiga": unknown target`},
		{"", []string{"schedule", "print"}, "want --target"},
		{"POS_DATABASE=postgres://pos:s3cret@db/pos", []string{"schedule", "print", "--target=cron"}, "--database"},
		{"", []string{"schedule", "print", "--target=cron", "--smtp=smtp://u:s3cret@h?from=a@b&to=c@d", "--backup-target=s3://k:s3cret@h/bucket"}, "--smtp, --backup-target"},
	} {
		if i%testserver.Sample(3, 1) != 0 { // each is a process
			continue
		}
		code, _, stderr := pos(t, test.env, test.args...)
		if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, test.says) || strings.Contains(stderr, "s3cret") {
			t.Errorf("%s %v: exit code %d, %q", test.env, test.args, code, stderr)
		}
	}
}

// TestMisspeltVariables warns of a variable that is no setting. Kubernetes sets some variables
// beside a service with the name pos.
func TestMisspeltVariables(t *testing.T) {
	t.Parallel()
	for variable, warns := range map[string]bool{
		"POS_BACKUP_TRAGET=s3://k:s3cret@h/b": true, "POS_BACKUP_AT=03:00": false, "POS_SERVICE_PORT_HTTP=80": false, "POS_PORT=tcp://10.0.0.1:80": false, "POS_PORTS=1": true,
	} {
		name, _, _ := strings.Cut(variable, "=")
		code, _, stderr := pos(t, variable, "schedule", "print", "--target=cron")
		if code != 0 || strings.Contains(stderr, name) != warns || strings.Contains(stderr, "s3cret") {
			t.Errorf("%s: exit code %d, %q", variable, code, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"serve", "--help"}, {"backup", "-h"}, {"health", "-h"}, {"schedule", "-h"}, {"queries", "-h"}, {"analyze", "-h"}, {"seed", "-h"}} {
		if code, stdout, stderr := pos(t, "", args...); code != 0 || !strings.Contains(stdout, "sage") || stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

func TestQueriesAndSeed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if code, stdout, stderr := pos(t, "", "seed", "--data", data, "--products=30", "--customers=20", "--sales=40"); code != 0 {
		t.Errorf("seed: %d %s %s", code, stdout, stderr)
	}
	if code, _, _ := pos(t, "", "seed", "--data", data); code != 2 {
		t.Errorf("a second seed: %d", code)
	}
	code, stdout, stderr := pos(t, "", "queries", "--data", data)
	if code != 0 || !strings.Contains(stdout, "41 → 1") || !strings.Contains(stdout, "16 → 2") {
		t.Errorf("queries: %d %q %q", code, stdout, stderr)
	}
}

func TestAnalyze(t *testing.T) {
	t.Parallel()
	p := startPos(t, demoShop(t), "--ops-token", opsToken)
	code, stdout, stderr := pos(t, "", "analyze", "--json", "--data", p.data, "--addr", strings.TrimPrefix(p.url, "http://"), "--ops-token", opsToken)
	var a analysis
	if err := json.Unmarshal([]byte(stdout), &a); code != 0 || err != nil || stderr != "" {
		t.Fatalf("analyze: %d, %v, %q", code, err, stderr)
	}
	if len(a.Database.Tables) != len(store.Tables) || len(a.Database.Unindexed) != 0 || len(a.Database.Doubled) != 0 {
		t.Errorf("the database is said to be %+v", a.Database)
	}
	cached := map[string]bool{"/api/v1/categories/": true, "/api/v1/products/": true, "/api/v1/reports/sales/": true, "/api/v1/dashboard/": true}
	for _, r := range a.Routes {
		if r.Status != 200 || r.Cold < 1 || r.Cold > manyStatements || cached[r.Route] && r.Warm != 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(a.Routes) != 9 || a.Cache.Source != thatServer {
		t.Errorf("%d routes, cache %+v", len(a.Routes), a.Cache)
	}
	if code, stdout, _ := pos(t, "", "analyze", "--data", p.data); code != 0 || !strings.Contains(stdout, "sale_items_product (product_id)") || !strings.Contains(stdout, "as seen by this run") {
		t.Errorf("analyze: %d %s", code, stdout)
	}
}

// TestFirstAndSecondStart reads the generated passwords, which are printed once, and logs in
// with them.
func TestFirstAndSecondStart(t *testing.T) {
	t.Parallel()
	p := startPos(t, t.TempDir(), "--cashier-password", cashierPassword, "--demo=off")
	var admin string
	for _, l := range p.lines {
		if _, found, ok := strings.Cut(l, "admin password: "); ok {
			admin = found
		}
	}
	if status, body, _ := p.send("POST", "/api/v1/login/", `{"username":"admin","password":"`+admin+`"}`); status != 200 || field(t, body, "role") != "admin" {
		t.Errorf("login as admin with %q: %d %s", admin, status, body)
	}
	if code, _, stderr := pos(t, "", "--addr=127.0.0.1:0", "--data", p.data); code != 2 || !strings.Contains(stderr, "another server") {
		t.Errorf("a second server: %d %q", code, stderr)
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	again := startPos(t, p.data)
	if len(again.lines) != 1 {
		t.Errorf("the second start printed %q", again.lines)
	}
	log, err := os.ReadFile(filepath.Join(p.data, "logs", "pos.log"))
	if err != nil || !bytes.Contains(log, []byte("serving")) || bytes.Contains(log, []byte(admin)) {
		t.Errorf("log: %v %s", err, log)
	}
}

// TestStopUnderLoad stops a selling server with SIGTERM. The server returns 503 on /ready/ and
// continues to sell. It exits with status 0 and has every sale that it accepted.
func TestStopUnderLoad(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM on Windows")
	}
	p := startPos(t, demoShop(t), append(unlimited, "--drain=3s")...) // on a busy machine, too, a probe comes meanwhile
	stop := make(chan struct{})
	accepted, wait := p.sellUntil(stop)
	waitFor(t, "the first sales", func() bool { return accepted.Load() > 20 })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	notReady := 0
	waitFor(t, "503 on /ready/", func() bool {
		res, err := http.Get(p.url + "/ready/")
		if err != nil {
			return true
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusServiceUnavailable {
			notReady++
		}
		return notReady > 0
	})
	if notReady == 0 {
		t.Error("/ready/ never said 503")
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	close(stop)
	wait()
	if n := sold(t, filepath.Join(p.data, "pos.db")); n != accepted.Load() {
		t.Errorf("%d sales in the database, %d accepted", n, accepted.Load())
	}
}

// TestKilledUnderLoad kills a selling server. Every sale that it accepted is in the database.
func TestKilledUnderLoad(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	p := startPos(t, demoShop(t), unlimited...)
	stop := make(chan struct{})
	accepted, wait := p.sellUntil(stop)
	waitFor(t, "the first sales", func() bool { return accepted.Load() > 20 })
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	close(stop)
	wait()
	// A sale without a response may be stored. A sale with a response must be stored.
	if n := sold(t, filepath.Join(p.data, "pos.db")); n < accepted.Load() || n > accepted.Load()+8 {
		t.Errorf("%d sales in the database, %d accepted", n, accepted.Load())
	}
}

// TestBackupWhileSelling makes, verifies and restores a backup beside a server that sells.
func TestBackupWhileSelling(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	p := startPos(t, demoShop(t), append(unlimited, "--backup-at=off")...)
	stop := make(chan struct{})
	accepted, wait := p.sellUntil(stop)
	waitFor(t, "the first sales", func() bool { return accepted.Load() > 5 })
	before := accepted.Load()
	restored := filepath.Join(t.TempDir(), "restored.db")
	for _, args := range [][]string{{"--compress", "--keep-days=30"}, {"verify"}, {"verify", "--restore"}, {"list"}, {"check"}, {"restore", "--to", restored}} {
		args = append(append([]string{"backup"}, args...), "--data", p.data)
		if code, stdout, stderr := pos(t, "", args...); code != 0 {
			t.Errorf("%v: %d %s %s", args, code, stdout, stderr)
		}
	}
	after := accepted.Load()
	close(stop)
	wait()
	if n := sold(t, restored); n < before || n > after+8 {
		t.Errorf("%d sales in the backup, of between %d and %d", n, before, after)
	}
	code, _, _ := pos(t, "", "backup", "--data", t.TempDir())
	if code != 2 {
		t.Errorf("a backup of nothing: %d", code)
	}
	if code, stdout, stderr := pos(t, "", "health", "--data", p.data, "--only=database,backups,cache"); code != 0 {
		t.Errorf("health: %d %s %s", code, stdout, stderr)
	}
	if code, _, _ := pos(t, "", "health", "--url", p.url+"/health/"); code > 1 {
		t.Errorf("health --url: %d", code)
	}
	if code, _, stderr := pos(t, "", "health", "--data", t.TempDir()); code != 3 {
		t.Errorf("health of nothing: %d %s", code, stderr)
	}
}

// TestDamagedDatabase starts on a damaged file, which must stay unchanged, and restores a
// backup beside it.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	s := settings.Default()
	s.Data = t.TempDir()
	st, err := store.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := pos(t, "", "backup", "--data", s.Data); code != 0 {
		t.Fatalf("backup: %d %s %s", code, stdout, stderr)
	}
	garbage := bytes.Repeat([]byte("no database "), 1000)
	if err := os.WriteFile(s.SQLitePath(), garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := pos(t, "", "--data", s.Data, "--addr=127.0.0.1:0")
	if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "damaged") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	// This is a failed run, which sends a notification, and not a mistake in a setting.
	if code, _, stderr := pos(t, "", "backup", "--data", s.Data); code != 1 || !strings.Contains(stderr, "damaged") {
		t.Errorf("backup: exit code %d, %q", code, stderr)
	}
	if code, stdout, stderr := pos(t, "", "backup", "restore", "--data", s.Data); code != 0 {
		t.Errorf("restore: %d %s %s", code, stdout, stderr)
	}
	if now, err := os.ReadFile(s.SQLitePath()); err != nil || !bytes.Equal(now, garbage) {
		t.Errorf("the damaged file was touched (%v)", err)
	}
}
