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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// tutorial is a program, the commands of a second terminal, and what both print.
var tutorial = regexp.MustCompile("(?s)```go\n(package main\n.*?)```.*?(?:```sh\n(curl .*?|for .*?)```.*?)?```text\n(.*?)```")

// TestTutorials types in the tutorial of each guide. TestTutorial of rediscache does so for
// docs/cache.md.
func TestTutorials(t *testing.T) {
	testserver.NeedsLong(t)
	for _, name := range []string{"ratelimit", "health", "alerting", "backup", "pagination", "notify"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			document, err := os.ReadFile("../../docs/" + name + ".md")
			require.NoError(t, err)
			parts := tutorial.FindStringSubmatch(strings.ReplaceAll(string(document), "\r\n", "\n"))
			require.NotNil(t, parts, "the guide has no tutorial")
			program, commands, want := parts[1], parts[2], parts[3]
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			addr := listener.Addr().String()
			require.NoError(t, listener.Close())
			folder := t.TempDir()
			file, binary := filepath.Join(folder, "main.go"), filepath.Join(folder, "shop")
			require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(program, "localhost:8080", addr)), 0o600))
			build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, file)
			build.Dir = ".." // the module that has the drivers
			text, err := build.CombinedOutput()
			require.NoError(t, err, string(text))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			shop := exec.CommandContext(ctx, binary)
			shop.Dir = folder
			if commands == "" {
				text, err = shop.Output()
				require.NoError(t, err)
				assert.Equal(t, want, string(text))
				return
			}
			require.NoError(t, shop.Start())
			require.Eventually(t, func() bool {
				conn, err := net.Dial("tcp", addr)
				return err == nil && conn.Close() == nil
			}, 10*time.Second, 10*time.Millisecond)
			text, err = exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(commands, "localhost:8080", addr)).Output()
			require.NoError(t, err)
			assert.Equal(t, want, strings.ReplaceAll(string(text), addr, "localhost:8080"))
			cancel()
			_ = shop.Wait()
		})
	}
}
