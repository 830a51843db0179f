package testserver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// RedisServer is a private redis-server.
type RedisServer struct {
	Process
	port int
}

// Redis starts a redis-server with the given arguments after its own. It saves no data, so it
// is empty after a restart. For a server that saves its data, pass "--appendonly", "yes".
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	return startRedis(t, func(int) []string { return args })
}

// startRedis tries several ports, because another process may take one between the choice and
// the start. The arguments may depend on the port.
func startRedis(t testing.TB, args func(port int) []string) *RedisServer {
	t.Helper()
	binary := first(t, "redis-server", "redis-server")
	for range 5 {
		port := FreePort(t)
		dir := newFolder(t, "redis")
		server := &RedisServer{port: port}
		server.Process = Process{
			t: t, name: "redis-server " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGTERM,
			command: func() *exec.Cmd {
				all := []string{
					"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
					"--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0",
				}
				return exec.Command(binary, append(all, args(port)...)...)
			},
			ready: func(ctx context.Context) error { return redisAnswers(ctx, address(port)) },
		}
		if server.run() {
			return server
		}
	}
	t.Fatal("testserver: redis-server does not start")
	return nil
}

// redisAnswers returns nil after the server accepts commands. A server that requires a password
// counts as ready.
func redisAnswers(ctx context.Context, addr string) error {
	_, err := redisCommand(ctx, addr, "PING")
	var refused redisError
	if errors.As(err, &refused) && !strings.HasPrefix(string(refused), "LOADING") {
		return nil
	}
	return err
}

// Addr returns the server's host:port.
func (s *RedisServer) Addr() string { return address(s.port) }

// Do runs one command on the server, and fails the test if the command fails.
func (s *RedisServer) Do(args ...string) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline)
	defer cancel()
	reply, err := redisCommand(ctx, s.Addr(), args...)
	if err != nil {
		s.t.Fatalf("testserver: %s: %v: %v", s.name, args, err)
	}
	return reply
}

// info returns one field of INFO, or "" if the server does not respond.
func (s *RedisServer) info(ctx context.Context, section, field string) string {
	reply, err := redisCommand(ctx, s.Addr(), "INFO", section)
	if err != nil {
		return ""
	}
	return infoField(fmt.Sprint(reply), field)
}

// infoField reads one field from the lines of INFO and CLUSTER INFO.
func infoField(text, field string) string {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == field {
			return value
		}
	}
	return ""
}
