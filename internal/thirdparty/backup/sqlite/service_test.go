package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A service with one connection waits for the copy, and not for a slow storage.
func TestDumpFreesTheConnectionOfTheService(t *testing.T) {
	t.Parallel()
	db, _ := open(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
	db.SetMaxOpenConns(1)
	queried := false
	_, err := sqlite.New(db).Dump(t.Context(), writerFunc(func(p []byte) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var n int
		queried = true
		return len(p), db.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n)
	}))
	require.NoError(t, err)
	require.True(t, queried)
}

// When the database is gone, opening a connection leaves an empty file, which the restore replaces.
func TestRestoreUnderTheNameOfALostDatabase(t *testing.T) {
	t.Parallel()
	db, path := open(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
	source := sqlite.New(db)
	var dump bytes.Buffer
	want, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	fresh, _ := open(t)
	restored, got, err := sqlite.New(fresh).Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Target: path, Want: want})
	require.NoError(t, err)
	require.Equal(t, path, restored)
	require.NoError(t, want.Compare(got))
	_, _, err = sqlite.New(fresh).Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Target: path, Want: want})
	require.ErrorContains(t, err, "a restore never overwrites")
}

// A service that is idle has no lock outside of WAL mode. After an overwriting restore it would keep the old file.
func TestOverwriteRefusesAFileThatAnotherProcessHasOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems do not tell which processes have a file open")
	}
	t.Parallel()
	db, path := open(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
	source := sqlite.New(db)
	var dump bytes.Buffer
	want, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)

	service := exec.CommandContext(t.Context(), testserver.Lookup(t, "sqlite3", "sqlite3"), path)
	in, err := service.StdinPipe()
	require.NoError(t, err)
	out, err := service.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, service.Start())
	_, err = io.WriteString(in, "SELECT count(*) FROM t;\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "2\n", line)

	_, err = source.Overwrite(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Want: want})
	require.ErrorContains(t, err, "(sqlite3): stop that, then restore again")
	require.NoError(t, in.Close())
	require.NoError(t, service.Wait())
	_, err = source.Overwrite(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Want: want})
	require.NoError(t, err)
}

// TestRestoreBesideALog restores to the path of a lost database whose log is still there.
func TestRestoreBesideALog(t *testing.T) {
	db, path := open(t, "PRAGMA journal_mode = WAL", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'now')")
	source := sqlite.New(db)
	var dump bytes.Buffer
	_, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE t SET v = 'later'")
	require.NoError(t, err)
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		lost := filepath.Join(t.TempDir(), "shop.db")
		left := []byte("rows")
		if suffix == "-wal" {
			left, err = os.ReadFile(path + suffix)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(lost+suffix, left, 0o600))
		_, _, err = source.Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Target: lost})
		require.ErrorContains(t, err, "SQLite would apply it")
		require.NoFileExists(t, lost)
		require.NoError(t, os.Remove(lost+suffix))
		_, _, err = source.Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Target: lost})
		require.NoError(t, err)
	}
}
