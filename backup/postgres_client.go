package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// postgresClient runs a program of the PostgreSQL client.
type postgresClient struct {
	path  string
	major int
}

var postgresVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// findPostgresClient returns the program that fits a server: the given path, or
// the first of PATH and Debian's folders whose major version is high enough. An
// older one would leave out what it does not know.
func findPostgresClient(ctx context.Context, name, given string, server int) (postgresClient, error) {
	candidates := []string{given}
	if given == "" {
		candidates = nil
		if path, err := exec.LookPath(name); err == nil {
			candidates = append(candidates, path)
		}
		others, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		slices.Reverse(others)
		candidates = append(candidates, others...)
	}
	newest := 0
	for _, path := range candidates {
		major, err := postgresMajor(ctx, path)
		if err != nil {
			if given != "" {
				return postgresClient{}, err
			}
			continue
		}
		if major >= server {
			return postgresClient{path, major}, nil
		}
		newest = max(newest, major)
	}
	if newest == 0 {
		return postgresClient{}, fmt.Errorf("backup: %s is not installed: apt-get install postgresql-client, or set its path", name)
	}
	return postgresClient{}, fmt.Errorf("backup: %s is of version %d and the server of version %d: install a client that is as new as the server", name, newest, server)
}

func postgresMajor(ctx context.Context, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = (&passfile{}).environment()
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("backup: %s --version: %w", filepath.Base(path), err)
	}
	found := postgresVersion.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("backup: %s is no program of PostgreSQL", filepath.Base(path))
	}
	return strconv.Atoi(string(found[1]))
}

// run runs the program to its end and fails unless it ended well: it reports the
// exit status, a signal, and what it said. When ctx ends it gets SIGTERM and,
// termWait later, SIGKILL.
func (c postgresClient) run(ctx context.Context, secrets *passfile, stdin io.Reader, stdout io.Writer, args ...string) error {
	name := strings.TrimSuffix(filepath.Base(c.path), ".exe")
	var messages cappedTail
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env = secrets.environment()
	cmd.Stdin, cmd.Stderr = stdin, &messages
	out := &rememberingWriter{to: stdout}
	if stdout != nil {
		cmd.Stdout = out
	}
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return cmd.Process.Kill() // Windows knows no SIGTERM
		}
		return nil
	}
	cmd.WaitDelay = termWait
	err := cmd.Run()
	if err == nil {
		return nil
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		err = cause // the signal was ours
	case out.err != nil:
		err = out.err // the program only noticed that nobody listens
	}
	if said := messages.lines(name); said != "" {
		return fmt.Errorf("backup: %s: %w: %s", name, err, said)
	}
	return fmt.Errorf("backup: %s: %w", name, err)
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

// lines returns the program's own messages in one line. What follows them (the
// failed statement, the row, the key) is data of the database and stays out.
func (t *cappedTail) lines(program string) string {
	const longest = 300
	var said []string
	for line := range bytes.Lines(t.kept) {
		text, ours := strings.CutPrefix(string(bytes.TrimSpace(line)), program+": ")
		if !ours || strings.HasPrefix(text, "detail: ") || strings.HasPrefix(text, "while ") || strings.HasPrefix(text, "from TOC entry") {
			continue
		}
		if len(text) > longest {
			text = strings.ToValidUTF8(text[:longest], "") + "…"
		}
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

// rememberingWriter keeps the first error of a writer, which exec.Cmd reports
// only for a program that ends well.
type rememberingWriter struct {
	to  io.Writer
	err error // read after the program has ended
}

func (w *rememberingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}
