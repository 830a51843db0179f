package backup

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
)

const (
	// termWait is how long a client program has between SIGTERM and SIGKILL.
	termWait = 10 * time.Second
	// messageLimit bounds what is kept of a program's messages.
	messageLimit = 8 << 10
)

// program is a client program of a database server.
type program struct {
	path   string
	env    []string
	dir    string // "": that of this process
	group  bool   // what it has started is ended with it
	stdin  io.Reader
	stdout io.Writer
	// said picks what may be repeated from the end of what the program of that name
	// has written to stderr: no rows, no secrets.
	said func(name string, tail []byte) string
	// passing finds in it what may not happen when the program is run again.
	passing *regexp.Regexp
}

// run runs the program to its end and fails unless it ended well: it reports the
// exit status, a signal, and what it said. When ctx ends it gets SIGTERM and,
// termWait later, SIGKILL.
func (p program) run(ctx context.Context, args ...string) error {
	name := strings.TrimSuffix(filepath.Base(p.path), ".exe")
	var messages cappedTail
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	cmd.Stdin, cmd.Stderr = p.stdin, &messages
	out := &rememberingWriter{to: p.stdout}
	if p.stdout != nil {
		cmd.Stdout = out
	}
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return cmd.Process.Kill() // Windows knows no SIGTERM
		}
		return nil
	}
	if p.group {
		ownGroup(cmd)
		cmd.Cancel = func() error { return signalGroup(cmd, syscall.SIGTERM) }
	}
	cmd.WaitDelay = termWait
	err := cmd.Run()
	if p.group && err != nil && cmd.Process != nil {
		_ = signalGroup(cmd, syscall.SIGKILL) // those that have not obeyed
	}
	if err == nil {
		return nil
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		err = cause // the signal was ours
	case out.err != nil:
		err = out.err // the program only noticed that nobody listens
	case p.passing != nil && p.passing.Match(messages.kept):
		err = passingError{err}
	}
	if said := p.said(name, messages.kept); said != "" {
		return fmt.Errorf("backup: %s: %w: %s", name, err, said)
	}
	return fmt.Errorf("backup: %s: %w", name, err)
}

// shorten bounds one message.
func shorten(text string) string {
	const longest = 300
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// cappedTail keeps the end of what is written to it.
type cappedTail struct{ kept []byte }

func (t *cappedTail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - messageLimit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// rememberingWriter keeps the first error of a writer, which exec.Cmd reports
// only for a program that ends well.
type rememberingWriter struct {
	to  io.Writer
	err error // read after the program has ended
}

// ReadFrom is what io.Copy calls: it reads in larger pieces, so that this process and the
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
