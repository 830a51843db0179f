// Package logfile makes the server's log. It writes each line to stderr, for the service
// manager, and to a file with rotation.
package logfile

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

const (
	megabytes = 10 // a file is closed at this size
	kept      = 10 // number of closed files that are kept
)

// New returns a logger to w and to the file at path. The first line creates the folder of the
// file. The caller closes the closer at the end.
func New(w io.Writer, path string, level slog.Level) (*slog.Logger, io.Closer) {
	file := &lumberjack.Logger{Filename: path, MaxSize: megabytes, MaxBackups: kept}
	out := &batched{to: io.MultiWriter(w, file), file: file}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), out
}

// period is how long a line waits for other lines. A line after a quiet period is written at
// once.
const period = 50 * time.Millisecond

// batched writes the lines of a busy server together, because each write is two system calls. A
// process that is killed loses at most the lines of one period.
type batched struct {
	to   io.Writer
	file io.Closer

	mu    sync.Mutex
	lines []byte
	wrote time.Time
	timer *time.Timer // nil: no write is planned
}

func (b *batched) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line...)
	if time.Since(b.wrote) >= period || len(b.lines) > 64<<10 {
		return len(line), b.flush()
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(period, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.timer = nil
			_ = b.flush()
		})
	}
	return len(line), nil
}

func (b *batched) flush() error {
	if len(b.lines) == 0 {
		return nil
	}
	_, err := b.to.Write(b.lines)
	b.lines, b.wrote = b.lines[:0], time.Now()
	return err
}

// Close writes the waiting lines and closes the file.
func (b *batched) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.flush(), b.file.Close())
}
