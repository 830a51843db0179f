package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/client"
)

// postgresClient runs a PostgreSQL client program.
type postgresClient struct {
	path  string
	major int
}

var postgresVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// findPostgresClient returns a program for a server. It is the given path, or the first
// program in PATH and in Debian's folders whose major version is not below the server's. An
// older program does not know all objects of the server.
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
	cmd.Env = passfile{}.environment()
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

// run runs the program to its end. It fails unless the program succeeds.
func (c postgresClient) run(ctx context.Context, secrets passfile, stdin io.Reader, stdout io.Writer, args ...string) error {
	return client.Program{Path: c.path, Env: secrets.environment(), Stdin: stdin, Stdout: stdout, Said: postgresMessages, Passing: postgresPassing}.Run(ctx, args...)
}

// postgresPassing matches errors of a table that was altered or dropped during the dump,
// and of a connection that was lost or could not be made.
var postgresPassing = regexp.MustCompile(`server closed the connection|terminating connection|Connection refused|the database system is |cache lookup failed|could not open relation|(?m)ERROR:.* does not exist$`)

// serverTrouble matches errors of a server that is full or going down. They say nothing about
// the dump that is restored.
var serverTrouble = regexp.MustCompile(`No space left on device|server closed the connection|terminating connection|Connection refused|connection refused|the database system is |too many clients|out of shared memory|unexpected EOF|broken pipe|connection reset`)

// untested marks a failed restore test whose cause is the server or the connection to it.
func untested(err error) error {
	if err == nil || !serverTrouble.MatchString(err.Error()) {
		return err
	}
	return errors.Join(driver.ErrUntested, err)
}

// postgresMessages returns the messages of the program in one line. It leaves out the lines
// after them (the failed statement, the row, the key), because they contain data.
func postgresMessages(name string, tail []byte) string {
	var said []string
	for line := range bytes.Lines(tail) {
		text, ours := strings.CutPrefix(string(bytes.TrimSpace(line)), name+": ")
		if !ours || strings.HasPrefix(text, "detail: ") || strings.HasPrefix(text, "while ") || strings.HasPrefix(text, "from TOC entry") {
			continue
		}
		said = append(said, client.Shorten(text))
	}
	return strings.Join(said, "; ")
}
