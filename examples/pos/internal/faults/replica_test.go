//go:build linux

package faults

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/command"
)

// asCommand makes the test binary run as pos, so that a replica is a process.
const asCommand = "POS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(command.Run(context.Background(), command.Env{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:]))
	}
	os.Exit(m.Run())
}

const (
	adminPassword   = "admin-of-the-test"
	cashierPassword = "cashier-of-the-test"
)

// replica is a server process with its own data folder.
type replica struct {
	t       *testing.T
	program string
	args    []string
	addr    string
	cmd     *exec.Cmd
	client  *http.Client
}

const firstAddr = "127.0.0.1:0" // a free port, chosen at the first start

// startReplica starts a replica. It keeps its address after a restart.
func startReplica(t *testing.T, program string, args ...string) *replica {
	t.Helper()
	r := &replica{t: t, program: program, addr: firstAddr, client: &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	r.args = append([]string{
		"--data", t.TempDir(), "--drain=0s", "--admin-password", adminPassword, "--cashier-password", cashierPassword,
		"--rate-api=off", "--rate-sale=off", "--rate-topup=off", "--rate-login=off", "--rate-page=off", "--demo=off",
	}, args...)
	t.Cleanup(r.client.CloseIdleConnections)
	t.Cleanup(r.kill)
	if !r.start() {
		t.Fatal("a replica did not start")
	}
	return r
}

// start starts the process and returns when it listens.
func (r *replica) start() bool {
	r.cmd = exec.Command(r.program, append(r.args, "--addr="+r.addr)...)
	r.cmd.Env = append(os.Environ(), asCommand+"=1")
	r.cmd.Dir = r.args[1]
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.t.Error(err)
		return false
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Error(err)
		return false
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "listening on http://"); ok {
			if got := strings.TrimSuffix(url, "/"); r.addr == firstAddr {
				r.addr = got
			} else if got != r.addr { // requests in progress read the address: it must not change
				r.t.Errorf("a replica listens on %s after its restart, not on %s", got, r.addr)
			}
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return true
		}
	}
	return false
}

// restart starts a killed replica, and retries until the replica can reach its servers.
func (r *replica) restart() {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if r.start() {
			return
		}
		r.kill()
		if time.Now().After(end) {
			r.t.Error("a killed replica did not start again")
			return
		}
	}
}

func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *replica) pause()     { _ = r.cmd.Process.Signal(syscall.SIGSTOP) }
func (r *replica) continues() { _ = r.cmd.Process.Signal(syscall.SIGCONT) }

// fastClock builds pos with a clock that is 25 hours ahead, for every time.Now of the process.
func fastClock(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Skip("the clock cannot be shifted without the standard library's source: ", err)
	}
	const call = "sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), call) < 1 {
		t.Fatal("time.Now has another form in this version of Go: adapt the overlay")
	}
	shifted := filepath.Join(dir, "time.go")
	overlay := filepath.Join(dir, "overlay.json")
	program := filepath.Join(dir, "pos")
	for path, content := range map[string]string{
		shifted: strings.ReplaceAll(string(text), call, call+"\tsec += 25 * 60 * 60\n"),
		overlay: `{"Replace":{"` + source + `":"` + shifted + `"}}`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, "github.com/mainstay-go/mainstay/examples/pos").CombinedOutput(); err != nil {
		t.Fatalf("go build -overlay: %v\n%s", err, out)
	}
	return program
}
