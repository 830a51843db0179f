package neighbours

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// tutorial is a program, the commands of a second terminal, and what both print.
var tutorial = regexp.MustCompile("(?s)```go\n(package main\n.*?)```.*?(?:```sh\n(curl .*?|for .*?)```.*?)?```text\n(.*?)```")

// TestTutorials types in the first program of each guide. TestTutorial of rediscache has the
// other steps of docs/cache.md.
func TestTutorials(t *testing.T) {
	testserver.NeedsLong(t)
	for _, name := range []string{"cache", "ratelimit", "health", "alerting", "backup", "pagination", "notify"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			document, err := os.ReadFile("../../docs/" + name + ".md")
			if err != nil {
				t.Fatal(err)
			}
			parts := tutorial.FindStringSubmatch(strings.ReplaceAll(string(document), "\r\n", "\n"))
			if parts == nil {
				t.Fatal("the guide has no tutorial")
			}
			program, commands, want := parts[1], parts[2], parts[3]
			addr := freeAddress(t)
			folder := t.TempDir()
			file, binary := filepath.Join(folder, "main.go"), filepath.Join(folder, "shop")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(program, "localhost:8080", addr)), 0o600); err != nil {
				t.Fatal(err)
			}
			build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, file)
			build.Dir = ".." // the module that has the drivers
			if text, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			second := exec.CommandContext(ctx, binary)
			second.Dir = folder
			if commands != "" {
				serve(t, second, addr)
				second = exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(commands, "localhost:8080", addr))
			}
			text, err := second.Output()
			if got := strings.ReplaceAll(string(text), addr, "localhost:8080"); err != nil || got != want {
				t.Errorf("%v: it prints\n%s\nand not\n%s", err, got, want)
			}
		})
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// serve starts a server, waits until it accepts connections, and ends it with the test.
func serve(t *testing.T, server *exec.Cmd, addr string) {
	t.Helper()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for range 1000 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the server does not accept connections")
}
