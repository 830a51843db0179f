package postgres

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestClientVersions(t *testing.T) {
	shell := testserver.Lookup(t, "sh", "dash")
	dir := t.TempDir()
	program := func(name, script string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!"+shell+"\n"+script+"\n"), 0o700))
		return path
	}
	old := program("old", `echo "pg_dump (PostgreSQL) 13.4 (Debian)"`)
	_, err := findPostgresClient(t.Context(), "pg_dump", old, 15)
	require.ErrorContains(t, err, "pg_dump is of version 13 and the server of version 15: install a client")
	client, err := findPostgresClient(t.Context(), "pg_dump", old, 13)
	require.NoError(t, err)
	assert.Equal(t, 13, client.major)
	_, err = findPostgresClient(t.Context(), "pg_dump", program("other", "echo mysqldump 8"), 13)
	require.ErrorContains(t, err, "no program of PostgreSQL")
	_, err = findPostgresClient(t.Context(), "pg_dump", filepath.Join(dir, "missing"), 13)
	require.Error(t, err)
	t.Setenv("PATH", dir)
	_, err = findPostgresClient(t.Context(), "pg_nothing", "", 13)
	require.ErrorContains(t, err, "pg_nothing is not installed")

	// Messages are bounded, and rows are left out of them.
	noisy := program("pg_restore", `i=0; while [ $i -lt 3000 ]; do echo "INSERT INTO cards VALUES (4111111111111111)" >&2; i=$((i+1)); done
echo 'pg_restore: error: COPY failed for table "cards"' >&2
echo 'pg_restore: detail: Key (number)=(4111111111111111)' >&2
echo 'Command was: COPY 4111111111111111' >&2
exit 3`)
	err = postgresClient{path: noisy}.run(t.Context(), passfile{}, nil, nil)
	require.EqualError(t, err, `backup: pg_restore: exit status 3: error: COPY failed for table "cards"`)
	require.ErrorAs(t, err, new(*exec.ExitError))
}

// TestUntested: a server that is full or going down says nothing about a backup.
func TestUntested(t *testing.T) {
	t.Parallel()
	for text, trouble := range map[string]bool{
		`backup: pg_restore: exit status 1: error: could not execute query: ERROR:  could not extend file "base/1": No space left on device`: true,
		"backup: pg_restore: exit status 1: error: server closed the connection unexpectedly":                                                true,
		"failed to connect: dial error: connect: connection refused":                                                                         true,
		`backup: pg_restore: exit status 1: error: could not execute query: ERROR:  relation "t" does not exist`:                             false,
	} {
		require.Equal(t, trouble, errors.Is(untested(errors.New(text)), driver.ErrUntested), text)
	}
	require.NoError(t, untested(nil))
}
