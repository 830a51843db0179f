package postgres_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

var regexpPassfile = regexp.MustCompile(`PGPASSFILE=([^\x00]+)`)

// programs returns the process ids of client programs with a text among their arguments.
func programs(t *testing.T, program, argument string) []int {
	t.Helper()
	var found []int
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		name, arguments, _ := bytes.Cut(data, []byte{0})
		if filepath.Base(string(name)) != program || !bytes.Contains(arguments, []byte(argument+"?")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(t, err)
		found = append(found, pid)
	}
	return found
}
