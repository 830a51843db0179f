// Package logfile makes the server's log: lines on stderr for the service manager, and
// the same in a file that is rotated.
package logfile

import (
	"io"
	"log/slog"

	"gopkg.in/natefinch/lumberjack.v2"
)

const (
	megabytes = 10 // a file is closed at this size
	kept      = 10 // and so many closed ones are kept
)

// New returns a logger to w and the file at path, whose folder is created with the
// first line. The caller closes the closer at the end.
func New(w io.Writer, path string, level slog.Level) (*slog.Logger, io.Closer) {
	file := &lumberjack.Logger{Filename: path, MaxSize: megabytes, MaxBackups: kept}
	handler := slog.NewTextHandler(io.MultiWriter(w, file), &slog.HandlerOptions{Level: level})
	return slog.New(handler), file
}
