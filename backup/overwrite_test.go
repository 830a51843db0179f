//go:build engines

package backup

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// checkOverwrite overwrites a database with a table t of 3 rows, in every way that can
// go wrong, and at last well. broken is the job's source with a restore that fails in
// the middle.
func checkOverwrite(t *testing.T, source, broken Source, name string, db *sql.DB) {
	t.Helper()
	rows := func() (n int) {
		t.Helper()
		require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
		return n
	}
	j, folder := newTestJob(t, source, nil)
	want := mustBackup(t, j)
	_, err := db.Exec("INSERT INTO t VALUES (4)")
	require.NoError(t, err)

	for _, wrong := range []string{"", "T", name + "x", "postgres"} {
		_, err := j.RestoreOver(t.Context(), "", wrong)
		require.ErrorIs(t, err, ErrNotConfirmed, wrong)
	}
	_, err = j.RestoreOver(t.Context(), "", name)
	require.ErrorIs(t, err, ErrNotConfirmed, "without an id")
	_, err = j.RestoreOver(t.Context(), "pos_20200101T000000Z_abcdef", name)
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, 4, rows())

	// A restore that fails leaves the original as it is.
	failing := *j
	failing.source = broken
	over, err := failing.RestoreOver(t.Context(), want.ID, name)
	require.ErrorContains(t, err, over.Safety)
	require.NotEmpty(t, over.Safety)
	require.Equal(t, 4, rows())

	// Neither is anything touched when there can be no safety backup.
	require.NoError(t, os.Chmod(folder.Path(), 0o777))
	_, err = j.RestoreOver(t.Context(), want.ID, name)
	require.ErrorContains(t, err, "nothing was overwritten")
	require.NoError(t, os.Chmod(folder.Path(), 0o700))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = j.RestoreOver(ctx, want.ID, name)
	require.Error(t, err)
	require.Equal(t, 4, rows())

	over, err = j.RestoreOver(t.Context(), want.ID, name)
	require.NoError(t, err)
	require.Equal(t, 3, rows())
	require.EqualValues(t, 3, over.Contents.Rows())
	e, err := j.Find(t.Context(), over.Safety)
	require.NoError(t, err)
	assert.True(t, e.Pinned)
	assert.EqualValues(t, 4, e.Manifest.RowsTotal)
	assert.False(t, e.Verified.IsZero())

	// And back.
	_, err = j.RestoreOver(t.Context(), over.Safety, name)
	require.NoError(t, err)
	require.Equal(t, 4, rows())
	_, err = db.Exec("INSERT INTO t VALUES (5)")
	require.NoError(t, err)
}

// brokenFeed is a dump that breaks off in the middle, whatever the source.
func brokenFeed(dump func(func(io.Reader) error) error) func(func(io.Reader) error) error {
	return func(read func(io.Reader) error) error {
		return dump(func(r io.Reader) error {
			return read(io.MultiReader(io.LimitReader(r, 1000), failingReader{errors.New("the storage is gone")}))
		})
	}
}

type brokenSQLite struct{ *SQLite }

func (s brokenSQLite) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (Contents, error) {
	return s.SQLite.Overwrite(ctx, brokenFeed(dump), want)
}

type brokenPostgres struct{ *Postgres }

func (p brokenPostgres) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (Contents, error) {
	return p.Postgres.Overwrite(ctx, brokenFeed(dump), want)
}

type brokenMySQL struct{ *MySQL }

func (m brokenMySQL) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (Contents, error) {
	return m.MySQL.Overwrite(ctx, brokenFeed(dump), want)
}

func TestOverwriteSQLite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o640))
	source := NewSQLite(db)
	checkOverwrite(t, source, brokenSQLite{source}, "shop.db", db)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	// A file that somebody has open is refused.
	j, _ := newTestJob(t, source, nil)
	last := mustBackup(t, j)
	other, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer other.Close()
	var n int
	require.NoError(t, other.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	_, err = j.RestoreOver(t.Context(), last.ID, "shop.db")
	require.ErrorContains(t, err, "is in use: stop whoever has it open")
	require.NoError(t, other.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	require.Equal(t, 5, n)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".tmp-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestOverwritePostgres(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
	p := source(t, server.DSN("shop"), nil)
	db := connect(t, server.DSN("shop"))
	db.SetMaxIdleConns(0) // its sessions are ended
	checkOverwrite(t, p, brokenPostgres{p}, "shop", db)
	names, err := queryStrings(t.Context(), db, "SELECT datname FROM pg_database WHERE datname LIKE 'shop%'")
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names)

	// A session that may not be ended: the database is as it was, and open again.
	server.Exec(t, "postgres", "CREATE ROLE owner LOGIN CREATEDB PASSWORD 'pw'; GRANT pg_read_all_data TO owner; ALTER DATABASE shop OWNER TO owner")
	owner, err := url.Parse(server.DSN("shop"))
	require.NoError(t, err)
	owner.User = url.UserPassword("owner", "pw")
	j, _ := newTestJob(t, source(t, owner.String(), nil), &Options{Drill: DrillOptions{Every: -1}})
	last := mustBackup(t, j)
	var n int
	admin := connect(t, server.DSN("shop"))
	require.NoError(t, admin.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	_, err = j.RestoreOver(t.Context(), last.ID, "shop")
	require.ErrorContains(t, err, "end the sessions")
	again := connect(t, server.DSN("shop"))
	require.NoError(t, again.QueryRow("SELECT COUNT(*) FROM t").Scan(&n))
	require.Equal(t, 5, n)
	names, err = queryStrings(t.Context(), again, "SELECT datname FROM pg_database WHERE datname LIKE 'shop%'")
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names)
}

func TestOverwriteMySQL(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop CHARACTER SET latin1; USE shop; CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB; INSERT INTO t VALUES (1), (2), (3); CREATE VIEW v AS SELECT * FROM t;")
	m := mysqlSource(t, server.DSN("shop"), nil)
	db := mysqlConnect(t, server.DSN("shop"))
	db.SetMaxIdleConns(0) // a connection to a database that was dropped is in none
	checkOverwrite(t, m, brokenMySQL{m}, "shop", db)
	require.Equal(t, "latin1", strings.TrimSpace(server.Exec(t, "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'")))
	names, err := queryStrings(t.Context(), db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'shop%'")
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names)
	var n int
	require.NoError(t, m.db.QueryRow("SELECT COUNT(*) FROM v").Scan(&n), "the source's own pool")
	require.Equal(t, 5, n)
}
