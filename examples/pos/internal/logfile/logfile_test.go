package logfile

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type buffer struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.text.Write(p)
}

func (b *buffer) lines() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), "\n")
}

// TestLines verifies that the first line is written at once, the others together in their
// order, and all lines at the end.
func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "pos.log")
	var stderr buffer
	logger, closer := New(&stderr, path, slog.LevelInfo)
	logger.Info("first")
	if stderr.lines() != 1 {
		t.Error("the first line waits")
	}
	for i := range 1000 {
		logger.Info("line", "i", i)
	}
	for end := time.Now().Add(10 * time.Second); stderr.lines() < 1001 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := stderr.lines(); n != 1001 || stderr.writes > 500 {
		t.Errorf("%d lines in %d writes", n, stderr.writes)
	}
	logger.Info("last")
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	file, err := os.ReadFile(path)
	if err != nil || string(file) != stderr.text.String() || !strings.HasSuffix(strings.TrimSpace(string(file)), "msg=last") {
		t.Errorf("the file differs from stderr, or has no last line: %v", err)
	}
}
