//go:build unix

package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// sh is a command for tests only: a Command itself knows no shell.
func sh(t *testing.T, script string, opts *CommandOptions) *Command {
	t.Helper()
	c, err := NewCommand([]string{"sh", "-c", script}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCommandJob(t *testing.T) {
	t.Parallel()
	c := sh(t, `cat; printf 'rows of %s\n-- end\n\n' "$WHAT"`, &CommandOptions{Extension: ".ldif", Trailer: "-- end", Env: []string{"WHAT=staff"}})
	j, _ := newTestJob(t, c, nil)
	m := mustBackup(t, j)
	if !strings.HasSuffix(m.File, ".ldif.zst") || m.Engine != "command" || m.Suspect != "" {
		t.Errorf("%+v", m)
	}
	target := filepath.Join(t.TempDir(), "new.ldif")
	if _, err := j.Restore(t.Context(), "", target, nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "rows of staff\n-- end\n\n" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := j.Restore(t.Context(), "", target, nil); err == nil || !strings.Contains(err.Error(), "never overwrites") {
		t.Errorf("restored over a file: %v", err)
	}
}

func TestCommandFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, want string }{
		"status":          {"echo data; exit 3", "exit status 3"},
		"signal":          {"echo data; kill -9 $$", "killed"},
		"trailer":         {"echo 'data -- end'; echo more", "does not end"},
		"empty":           {"true", "does not end"},
		"secrets":         {`echo data; echo "no entry for $PW at db://me:hidden@host" >&2; exit 1`, "no entry for *** at db://***@host"},
		"endless message": {"echo data; yes \"$PW\" | head -c 300000 >&2; exit 1", "***"},
		"held open":       {"sleep 60 & echo '-- end'; exit 4", "exit status 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "held open" { // it waits for seconds
				testserver.NeedsLong(t)
			}
			j, folder := newTestJob(t, sh(t, test.script, &CommandOptions{Trailer: "-- end", Env: []string{"PW=s3cret-value"}}), nil)
			_, err := j.Backup(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "hidden") || len(err.Error()) > 600 {
				t.Errorf("%v", err)
			}
			if left := files(t, folder); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	for _, argv := range [][]string{nil, {""}} {
		if _, err := NewCommand(argv, nil); err == nil {
			t.Errorf("%v was accepted", argv)
		}
	}
	for _, opts := range []CommandOptions{{Extension: "../x"}, {Extension: "sql"}, {Env: []string{"s3cret"}}} {
		if _, err := NewCommand([]string{"true"}, &opts); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	if _, err := sh(t, "", nil).Preflight(t.Context()); err != nil {
		t.Error(err)
	}
	gone, err := NewCommand([]string{"no-such-program-here"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Preflight(t.Context()); err == nil {
		t.Error("a missing program passed")
	}
}

// TestCommandCancelled: what the program has started ends with it.
func TestCommandCancelled(t *testing.T) {
	t.Parallel()
	c := sh(t, `sleep 600 & echo $!; wait`, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { _, err := c.Dump(ctx, w); done <- err }()
	line := make([]byte, 32)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	for deadline := time.Now().Add(30 * time.Second); alive(child); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the grandchild lives on")
		}
	}
}

// alive is false for a process that has ended, even where nobody has asked how.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestCommandReadsNothing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if _, err := sh(t, "cat; echo end", nil).Dump(t.Context(), &out); err != nil || out.String() != "end\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}
