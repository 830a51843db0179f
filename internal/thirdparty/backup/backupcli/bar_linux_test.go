package backupcli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mainstay-go/mainstay/backup/backupcli"
)

// terminal opens a terminal, and returns what will have been seen on it when it is closed.
func terminal(t *testing.T) (tty *os.File, seen func() string) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { control.Close() })
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("there are no terminals here:", err)
	}
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	text := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		if _, err := io.Copy(&b, control); err != nil && !errors.Is(err, syscall.EIO) { // EIO is its end
			t.Error(err)
		}
		text <- b.String()
	}()
	return tty, func() string { tty.Close(); return <-text }
}

// TestBar: on a terminal there is a bar, which is gone in the end; where somebody reads
// JSON, and in a file, there is none.
func TestBar(t *testing.T) {
	t.Setenv("TERM", "xterm")
	s := newShop(t)
	s.want(backupcli.Good)
	run := func(args ...string) string {
		tty, seen := terminal(t)
		s.stderr = tty
		defer func() { s.stderr = nil }()
		if code, _, _ := s.run(args...); code != backupcli.Good {
			t.Errorf("exit %d", code)
		}
		return seen()
	}
	text := run()
	if !strings.Contains(text, "\rdump  [") || !strings.Contains(text, "\rverify …") || strings.Contains(text, "\x1b") {
		t.Errorf("seen: %q", text)
	}
	if !strings.HasSuffix(text, "\r"+strings.Repeat(" ", 79)+"\r") {
		t.Errorf("the bar stays: %q", text)
	}
	if text := run("--json"); text != "" {
		t.Errorf("with --json: %q", text)
	}
	t.Setenv("TERM", "dumb")
	if text := run(); text != "" {
		t.Errorf("on a dumb terminal: %q", text)
	}
}
