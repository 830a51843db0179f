//go:build unix

// Package killing ends processes of tests at moments that a test chooses.
package killing

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Times returns the number of kills of a test: MAINSTAY_KILLS, or few.
func Times(few int) int {
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_KILLS")); err == nil && n > 0 {
		return n
	}
	return few
}

// Again starts the running test binary with one of its tests and further variables of the
// environment.
func Again(t testing.TB, test string, environment ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	victim := exec.CommandContext(t.Context(), self, "-test.run=^"+test+"$")
	victim.Env = append(os.Environ(), environment...)
	return victim
}

// Running reports to the parent, in a process that is to be killed, that the work begins.
func Running() { _, _ = os.Stdout.WriteString("running\n") }

// After starts a process, and kills it after a time since it called [Running].
func After(t testing.TB, victim *exec.Cmd, after time.Duration) {
	t.Helper()
	out, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "running\n" {
		t.Errorf("the process printed %q, %v", line, err)
	}
	time.Sleep(after) // the moment of the kill
	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait()
}

// Aim chooses moments such that every second process ends its work before it is killed,
// however slow the machine is.
type Aim struct{ Within time.Duration }

// Moment returns the next moment.
func (a *Aim) Moment() time.Duration { return rand.N(a.Within) }

// Learn adapts the moments to whether the last process had ended its work.
func (a *Aim) Learn(done bool) {
	if done {
		a.Within = max(a.Within*4/5, 5*time.Millisecond)
	} else {
		a.Within = min(a.Within*5/4, 10*time.Second)
	}
}
