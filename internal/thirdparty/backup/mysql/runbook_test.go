package mysql_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestRunbook types in the first block of docs/backup-mariadb.md, on a second server. The
// password that the client would ask a person for comes from a file.
func TestRunbook(t *testing.T) {
	t.Parallel()
	client := testserver.Lookup(t, "mariadb", "mariadb-client")
	testserver.Lookup(t, "zstd", "zstd")
	schema, err := os.ReadFile("testdata/schemas/qualified.sql")
	require.NoError(t, err)
	server := testserver.MariaDB(t)
	second := testserver.MariaDB(t, "--character-set-server=latin1")
	load(t, server, "pos", string(schema))
	job := jobOf(t, sourceOf(t, server, "pos", nil), &backup.Options{Compression: backup.Zstd})
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	path, _ := folders.Load(job)

	document, err := os.ReadFile("../../../../docs/backup-mariadb.md")
	require.NoError(t, err)
	_, block, found := strings.Cut(string(document), "```sh\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	block = strings.ReplaceAll(block, "pos_20261123T020000Z_4f1c2a", report.Manifest.ID)
	var lines []string
	for _, line := range strings.Split(block, "\n") {
		if strings.HasPrefix(line, "cd ") || strings.HasPrefix(line, "age ") {
			continue
		}
		lines = append(lines, line)
	}
	bin := t.TempDir()
	options := filepath.Join(bin, "client.cnf")
	require.NoError(t, os.WriteFile(options, fmt.Appendf(nil, "[client]\nsocket=%s\npassword=%s\n", second.Socket(), second.Password()), 0o600))
	asks := "#!/bin/sh\nfor a; do shift; [ \"$a\" = -p ] || set -- \"$@\" \"$a\"; done\nexec " + client + " --defaults-file=" + options + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "mariadb"), []byte(asks), 0o700))
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", strings.Join(lines, "\n"))
	cmd.Dir = path.(string)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, 2, strings.Count(string(out), report.Manifest.SHA256), "%s", out)
	assert.Contains(t, string(out), "-- Dump completed")
	equal(t, described(t, server, "pos", false, "pos_restored"), described(t, second, "pos_restored", false, "pos"))
}

// TestLock: one run of a job at a time, from any host.
func TestLock(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "pos", "CREATE TABLE t (id INT);")
	one, two := sourceOf(t, server, "pos", nil), sourceOf(t, server, "pos", nil)
	unlock, err := one.Lock(t.Context(), "pos")
	require.NoError(t, err)
	_, err = two.Lock(t.Context(), "pos")
	require.ErrorIs(t, err, backup.ErrLocked)
	other, err := two.Lock(t.Context(), "another")
	require.NoError(t, err)
	require.NoError(t, other())
	require.NoError(t, unlock())
	unlock, err = two.Lock(t.Context(), "pos")
	require.NoError(t, err)
	require.NoError(t, unlock())
}
