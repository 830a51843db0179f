package hostcheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A real control group with a limit, and this test again in a child of it: the
// limit of the parent is found, and its usage is small. It needs root and a
// tree of version 1 or 2 that may be written to, and skips elsewhere.
func TestRealControlGroup(t *testing.T) {
	if os.Getenv("HOSTCHECK_IN_GROUP") != "" {
		m, err := Host().Memory(t.Context())
		require.NoError(t, err)
		fmt.Printf("limited=%v total=%d used=%d\n", m.Limited, m.Total, m.Used)
		return
	}
	const limit = 512 * mib
	parent, limitFile := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		parent, limitFile = "/sys/fs/cgroup", "memory.max"
	}
	group := filepath.Join(parent, fmt.Sprintf("mainstay-test-%d", os.Getpid()))
	child := filepath.Join(group, "child")
	if err := os.MkdirAll(child, 0o755); err != nil {
		t.Skipf("no control group may be made here: %v", err)
	}
	t.Cleanup(func() {
		os.Remove(child)
		os.Remove(group)
	})
	if err := os.WriteFile(filepath.Join(group, limitFile), fmt.Append(nil, limit), 0o600); err != nil {
		t.Skipf("no limit may be set here: %v", err)
	}
	// A shell enters the group first, so that the test program starts in it.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `echo $$ > "$0" && exec "$1" -test.run='^TestRealControlGroup$' -test.count=1`,
		filepath.Join(child, "cgroup.procs"), os.Args[0])
	cmd.Env = append(os.Environ(), "HOSTCHECK_IN_GROUP=1")
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "cgroup.procs") {
		t.Skipf("no process may be moved here: %s", out)
	}
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), fmt.Sprintf("limited=true total=%d", limit))
}
