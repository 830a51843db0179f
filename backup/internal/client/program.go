// Package client runs the client programs of database servers.
package client

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/redact"
)

const (
	// termWait is the time between SIGTERM and SIGKILL for a client program.
	termWait = 10 * time.Second
	// MessageLimit is the maximum length of the stored messages of a program.
	MessageLimit = 8 << 10
)

// Program is a client program of a database server.
type Program struct {
	Path   string
	Env    []string
	Dir    string // "" is the folder of this process
	Group  bool   // processes that it starts end with it
	Stdin  io.Reader
	Stdout io.Writer
	// Said returns the part of the end of stderr that may be repeated, without rows and
	// secrets.
	Said func(name string, tail []byte) string
	// Passing matches messages of temporary failures, which justify a second attempt.
	Passing *regexp.Regexp
}

// Run runs the program to its end. On a failure, the error contains the exit status or the
// signal, and the program's message. When ctx ends, the program receives SIGTERM and,
// termWait later, SIGKILL.
func (p Program) Run(ctx context.Context, args ...string) error {
	name := strings.TrimSuffix(filepath.Base(p.Path), ".exe")
	var messages cappedTail
	cmd := exec.CommandContext(ctx, p.Path, args...)
	cmd.Env, cmd.Dir = p.Env, p.Dir
	cmd.Stdin, cmd.Stderr = p.Stdin, &messages
	out := &rememberingWriter{to: p.Stdout}
	if p.Stdout != nil {
		cmd.Stdout = out
	}
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return cmd.Process.Kill() // Windows has no SIGTERM
		}
		return nil
	}
	if p.Group {
		ownGroup(cmd)
		cmd.Cancel = func() error { return signalGroup(cmd, syscall.SIGTERM) }
	}
	cmd.WaitDelay = termWait
	err := cmd.Run()
	if p.Group && err != nil && cmd.Process != nil {
		_ = signalGroup(cmd, syscall.SIGKILL) // processes that ignored SIGTERM
	}
	if err == nil {
		return nil
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		err = cause // the signal came from this process
	case out.err != nil:
		err = out.err // the program failed because its output was not read
	case p.Passing != nil && p.Passing.Match(messages.kept):
		err = driver.Transient(err)
	}
	if said := new(redact.Redactor).Text(p.Said(name, messages.kept), 0); said != "" {
		return fmt.Errorf("backup: %s: %w: %s", name, err, said)
	}
	return fmt.Errorf("backup: %s: %w", name, err)
}

// Shorten truncates a long message.
func Shorten(text string) string {
	const longest = 300
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// cappedTail keeps the last bytes that are written to it.
type cappedTail struct{ kept []byte }

func (t *cappedTail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - MessageLimit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// rememberingWriter keeps the first error of a writer. exec.Cmd reports that error only if
// the program succeeds.
type rememberingWriter struct {
	to  io.Writer
	err error // read after the program has ended
}

// ReadFrom is called by io.Copy. It reads in large pieces, so that this process and the
// program wait for each other less often.
func (w *rememberingWriter) ReadFrom(r io.Reader) (n int64, err error) {
	widen(r)
	return io.CopyBuffer(onlyWriter{w}, r, make([]byte, 256<<10))
}

func (w *rememberingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// onlyWriter hides ReadFrom, so that the buffer is used.
type onlyWriter struct{ io.Writer }
