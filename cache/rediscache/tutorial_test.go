package rediscache_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// goRun runs a program inside this module and returns its output.
func goRun(t *testing.T, program string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "run", file)
	command.Dir = "../.."
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, program)
	}
	return string(out)
}

// TestTutorial types in docs/cache.md: its steps after the first, and the Go of its other sections.
func TestTutorial(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles programs")
	}
	data, err := os.ReadFile("../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "```go\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) != 7 {
		t.Fatalf("docs/cache.md has %d blocks of Go; this test knows 7", len(blocks))
	}
	first, second, third, wait, fourth, decorator, sessions := blocks[0], blocks[1], blocks[2], blocks[3], blocks[4], blocks[5], blocks[6]
	const one, two = "loading\n120 <nil>\n120 <nil>\n", "loading\n120 <nil>\n"
	if out := goRun(t, strings.TrimSuffix(first, "}\n")+second+"}\n"); out != one+two {
		t.Errorf("step 2 prints %q", out)
	}
	program := `package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/cache/sessionstore"
)

func steps(ctx context.Context) error {
` + third + fourth + wait + `
	price, err := prices.GetOrLoad(ctx, "apple", func(context.Context) (int, error) { return 120, nil })
	if err != nil {
		return err
	}
	balance, err := balances.GetOrLoad(ctx, "ann", func(context.Context) (int64, error) { return 7, nil })
	if err != nil {
		return err
	}
	decorated, err := cache.New[int](logged{store}, "prices", time.Minute, nil)
	if err != nil {
		return err
	}
	same, found, err := decorated.Get(ctx, "apple")
	fmt.Println(price, balance, same, found, err)
	return nil
}

` + decorator + `
func login(ctx context.Context, cart []byte, token string) error {
	` + sessions + `
	fmt.Println(s == nil, err)
	return err
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := steps(ctx); err != nil {
		panic(err)
	}
	if err := login(ctx, []byte("bread"), "of another server"); err != nil {
		panic(err)
	}
}
`
	out := goRun(t, strings.ReplaceAll(program, "127.0.0.1:6379", redisServer(t).Addr()))
	if !strings.Contains(out, "120 7 120 true <nil>\n") || !strings.Contains(out, "\ntrue <nil>\n") {
		t.Errorf("the other sections print %q", out)
	}
}
