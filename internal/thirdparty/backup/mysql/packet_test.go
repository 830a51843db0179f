package mysql_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestLongStatement: a row of 2.5 MiB is a statement of 5 MiB, and this server takes 3 MiB. A
// restore says so before it creates a database, with the value that is needed.
func TestLongStatement(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t, "--max-allowed-packet=3M")
	load(t, server, "shop", "CREATE TABLE photos (id INT PRIMARY KEY, jpeg LONGBLOB); INSERT INTO photos VALUES (1, REPEAT(UNHEX('FFD8'), 1310720)); CREATE TABLE t (id INT PRIMARY KEY)")
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	const statement = "SET GLOBAL max_allowed_packet = 5243904"
	require.Contains(t, strings.Join(report.Warnings, "\n"), "before a restore, "+statement)

	_, err = job.Restore(t.Context(), "", "copy", nil)
	require.ErrorContains(t, err, statement+", and restore again")
	_, err = job.RestoreOver(t.Context(), report.ID, "shop", nil)
	require.ErrorContains(t, err, statement)
	_, err = job.TestRestore(t.Context(), "")
	require.ErrorContains(t, err, statement)
	require.NotErrorIs(t, err, backup.ErrVerification)
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	assert.Empty(t, leftovers(t, server))
	_, err = job.Restore(t.Context(), "", "part", &backup.RestoreOptions{Tables: []string{"t"}})
	require.NoError(t, err)
	_, err = job.Restore(t.Context(), "", "copy", &backup.RestoreOptions{Tables: []string{"photos"}})
	require.ErrorContains(t, err, "a statement for the rows of the table photos has 5242")
	require.ErrorContains(t, err, statement)

	server.Exec(t, statement)
	again := func(dsn string) (*backup.Job, error) {
		db, err := sql.Open("mysql", dsn)
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		path, _ := folders.Load(job)
		job := jobAt(t, path.(string), source, nil)
		_, err = job.Restore(t.Context(), "", "copy", nil)
		return job, err
	}
	address := server.User() + ":" + server.Password() + "@tcp(" + server.Addr() + ")/?maxAllowedPacket="
	_, err = again(address + "4194304")
	require.ErrorContains(t, err, "maxAllowedPacket=0")
	assert.Empty(t, leftovers(t, server))
	_, err = again(address + "0")
	require.NoError(t, err)
	equal(t, described(t, server, "shop", true), described(t, server, "copy", true))
}
