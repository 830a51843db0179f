package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/client"
	"github.com/mainstay-go/mainstay/backup/internal/server"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
	"github.com/mainstay-go/mainstay/internal/redact"
)

// CommandOptions configures a [Command].
type CommandOptions struct {
	// Extension of the dump file, such as ".ldif". Default: ".out".
	Extension string
	// Database is the name that lists show. Default: the name of the program.
	Database string
	// Trailer must be at the end of the output, before any white space. If the program
	// always writes the same text last, that text shows that the output is complete.
	// Default: "". Then only the exit status decides.
	Trailer string
	// Env is added to the environment of this process, as "NAME=value". The values are
	// removed from messages. Default: nil.
	Env []string
	// Secrets are also removed from messages. Default: nil.
	Secrets []string
	// Dir is the folder in which the program runs. Default: the folder of this process.
	Dir string
}

// Command is a [driver.Source] that stores the standard output of a program. The program is
// started without a shell and gets no input. The backup fails on an exit status other than
// 0, on a signal, on empty output, and on output without its trailer. Cancelling the run
// ends the program and all processes that it started. A Command measures only the length of
// the output. It counts no tables.
type Command struct {
	argv []string
	opts CommandOptions
}

var (
	fileExtension = regexp.MustCompile(`^(\.[a-z0-9]{1,16}){1,3}$`)
	variable      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// NewCommand returns the source for the program argv[0] and its arguments argv[1:]. Put no
// secret in an argument, because every user of the host can read it. Pass secrets in Env or
// in a file. NewCommand starts no process.
func NewCommand(argv []string, opts *CommandOptions) (*Command, error) {
	c := &Command{argv: slices.Clone(argv)}
	if opts != nil {
		c.opts = *opts
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("backup: NewCommand needs a program")
	}
	c.opts.Extension = cmp.Or(c.opts.Extension, ".out")
	if !fileExtension.MatchString(c.opts.Extension) {
		return nil, fmt.Errorf("backup: the extension %q must be like .sql or .tar: a-z and 0-9 after a dot", c.opts.Extension)
	}
	if c.opts.Database == "" {
		c.opts.Database = filepath.Base(argv[0])
	}
	for _, e := range c.opts.Env {
		if !variable.MatchString(e) {
			return nil, errors.New("backup: an element of CommandOptions.Env is not of the form NAME=value")
		}
	}
	return c, nil
}

// Describe returns the engine and the name of the source.
func (c *Command) Describe() driver.Description {
	return driver.Description{Engine: "command", Extension: c.opts.Extension, Database: c.opts.Database}
}

// Abilities returns the optional functions of the source.
func (c *Command) Abilities() driver.Abilities {
	return driver.Abilities{Preflight: c.Preflight, Restore: c.Restore}
}

// Preflight checks that the program exists.
func (c *Command) Preflight(context.Context) ([]string, error) {
	_, err := c.find()
	return nil, err
}

func (c *Command) find() (string, error) {
	path, err := exec.LookPath(c.argv[0])
	if err != nil {
		return "", fmt.Errorf("backup: the program cannot be run: %w", err)
	}
	return path, nil
}

// Dump runs the program to its end.
func (c *Command) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	path, err := c.find()
	if err != nil {
		return driver.Contents{}, err
	}
	end := &trailerWriter{to: w, keep: len(c.opts.Trailer) + 64}
	err = client.Program{
		Path: path, Env: append(os.Environ(), c.opts.Env...), Dir: c.opts.Dir, Stdout: end, Group: true,
		Said: func(_ string, tail []byte) string { return c.scrub(tail) },
	}.Run(ctx, c.argv[1:]...)
	if err != nil {
		return driver.Contents{}, err
	}
	if tail := bytes.TrimRightFunc(end.tail, unicode.IsSpace); !bytes.HasSuffix(tail, []byte(strings.TrimRightFunc(c.opts.Trailer, unicode.IsSpace))) {
		return driver.Contents{}, fmt.Errorf("backup: %s ended well, but its output does not end as a complete one does", filepath.Base(path))
	}
	return driver.Contents{Consistency: "command"}, nil
}

// trailerWriter keeps the last bytes that were written to it.
type trailerWriter struct {
	to   io.Writer
	keep int
	tail []byte
}

func (w *trailerWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.tail = append(w.tail, p[max(0, n-w.keep):n]...)
	if over := len(w.tail) - w.keep; over > 0 {
		w.tail = append(w.tail[:0], w.tail[over:]...)
	}
	return n, err
}

// scrub returns the last line that the program printed, without secrets.
func (c *Command) scrub(tail []byte) string {
	text := strings.ToValidUTF8(string(tail), "")
	secrets := slices.Clone(c.opts.Secrets)
	for _, e := range c.opts.Env {
		_, value, _ := strings.Cut(e, "=")
		secrets = append(secrets, value)
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one secret may contain another
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if len(tail) >= client.MessageLimit {
		// The first line may be truncated, and so may a secret in it.
		_, text, _ = strings.Cut(text, "\n")
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, lines[i]))
		if line != "" {
			return client.Shorten(redact.New(secrets...).Text(line, 0))
		}
	}
	return ""
}

// Restore writes the output of the program to a new file. The file is target, or a file in
// the current folder with the time in its name. Use the tools of the program to load the
// file again.
func (c *Command) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (restored string, got driver.Contents, err error) {
	if len(o.Tables) > 0 {
		return "", got, errors.New("backup: single tables can be restored of databases only")
	}
	target := o.Target
	if target == "" {
		target = "restore_" + time.Now().UTC().Format(server.Stamp) + c.opts.Extension
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", got, fmt.Errorf("backup: %w", err)
	}
	err = atomicfile.Create(target, 0o600, func(w io.Writer) error {
		_, err := io.Copy(contextWriter{ctx, w}, r)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return target, got, fmt.Errorf("backup: %s exists: a restore never overwrites; choose another target", target)
	}
	if err != nil {
		return target, got, fmt.Errorf("backup: %w", err)
	}
	return target, got, nil
}
