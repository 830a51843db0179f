//go:build unix

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/internal/thirdparty/backup/killing"
)

// disturbed is a source during whose first dump something happens once.
type disturbed struct {
	*mysql.Source
	once    *sync.Once
	happens func()
}

func (d disturbed) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	return d.Source.Dump(ctx, writerFunc(func(b []byte) (int, error) {
		n, err := w.Write(b)
		d.once.Do(d.happens)
		return n, err
	}))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

const manyRows = "CREATE TABLE many (id INT PRIMARY KEY, line CHAR(200)); INSERT INTO many SELECT seq, REPEAT(MD5(seq), 6) FROM seq_1_to_25000;"

// TestSessionKilledDuringADump: the session of a dump, or the whole server, ends while the dump
// runs. That attempt publishes nothing. The second attempt of the run is good.
func TestSessionKilledDuringADump(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	for name, happens := range map[string]func(*testing.T, *testserver.MariaDBServer){
		"its session": func(t *testing.T, server *testserver.MariaDBServer) {
			ids := server.Exec(t, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'root' AND DB = 'shop' AND ID <> CONNECTION_ID()")
			require.NotEmpty(t, ids)
			for _, id := range strings.Fields(ids) {
				server.Exec(t, "KILL "+id)
			}
		},
		"the server": func(_ *testing.T, server *testserver.MariaDBServer) { server.Kill(); server.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a run waits for ten seconds before its second attempt
			server := testserver.MariaDB(t)
			// The second table is read after the first write, so that no buffer holds its row.
			load(t, server, "shop", manyRows+"CREATE TABLE more SELECT * FROM many LIMIT 1;")
			source := disturbed{sourceOf(t, server, "shop", nil), new(sync.Once), func() { happens(t, server) }}
			var out bytes.Buffer
			_, err := source.Dump(t.Context(), &out)
			require.ErrorIs(t, err, driver.ErrTransient)
			require.NotContains(t, out.String(), "Dump completed")
			source.once = new(sync.Once)
			job := jobOf(t, source, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1}})
			report, err := job.Backup(t.Context())
			require.NoError(t, err)
			assert.True(t, report.Restored)
			assert.Contains(t, strings.Join(report.Warnings, "\n"), "the dump was repeated")
			entries, err := job.List(t.Context())
			require.NoError(t, err)
			assert.Len(t, entries, 1)
		})
	}
}

// TestServerKilledDuringARestore: the server ends while a restore writes. The restore names what
// it left, a restore test does not accuse the backup, and the original is what it was.
func TestServerKilledDuringARestore(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", manyRows)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before := described(t, server, "shop", true)
	db, watch := stepping(t, server.DSN(""))
	source, err := mysql.New(db, "shop", nil)
	require.NoError(t, err)
	path, _ := folders.Load(job)
	victim := jobAt(t, path.(string), source, nil)
	id := report.Manifest.ID
	for _, restore := range []func() error{
		func() error {
			_, err := victim.Restore(t.Context(), id, "shop_restore_20260101t000000", nil)
			return err
		},
		func() error { _, err := victim.RestoreOver(t.Context(), id, "shop", nil); return err },
		func() error { _, err := victim.TestRestore(t.Context(), id); return err },
	} {
		var once sync.Once
		inserts := 0
		watch.watch(func(statement string) error {
			if strings.HasPrefix(statement, "INSERT INTO `many`") {
				if inserts++; inserts > 3 {
					once.Do(server.Kill)
				}
			}
			return nil
		})
		err := restore()
		watch.watch(nil)
		require.ErrorIs(t, err, driver.ErrLeft)
		require.NotErrorIs(t, err, backup.ErrVerification, "the server has failed, and not the backup")
		server.Restart()
		equal(t, before, described(t, server, "shop", true))
	}
	left := leftovers(t, server)
	require.Len(t, left, 3, "the copy, the second database, and the one of the restore test")
	_, err = job.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, backup.ErrHalfway)
	require.ErrorContains(t, err, "shop_restore_20260101t000000 is incomplete")
	settled, err := job.Settle(t.Context(), true)
	require.NoError(t, err)
	require.Len(t, settled, 2)
	assert.Len(t, leftovers(t, server), 1, "a run drops the database of a restore test after a day")
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	equal(t, before, described(t, server, "shop", true))
}

// TestLockedTable: a table that stays locked ends a run within 30 s, with the session that holds
// it, with the default LockWait of 20 s. A plain run waits for 2 s. A holder that is killed frees
// the table.
func TestLockedTable(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t)
	type run struct {
		lock, session string
		held          *sql.Conn
		job           *backup.Job
		err           error
		took          time.Duration
	}
	var runs []*run
	wait, stayed := 2*time.Second, "stayed locked for 2s"
	if testserver.Long() {
		wait, stayed = 0, "stayed locked for 20s"
	}
	for i, lock := range []string{"LOCK TABLES a WRITE", "LOCK TABLES b WRITE", "LOCK TABLES s WRITE"} {
		for _, tables := range []bool{false, true} {
			name := fmt.Sprint("shop", i, tables)
			load(t, server, name, "CREATE TABLE a (id INT); CREATE TABLE b (id INT) ENGINE=MyISAM; CREATE SEQUENCE s; CREATE VIEW v AS SELECT id FROM a;")
			held, err := boundTo(t, server, name).Conn(t.Context())
			require.NoError(t, err)
			r := &run{lock: name + ": " + lock, held: held, job: jobOf(t, sourceOf(t, server, name, &mysql.Options{LockTables: tables, LockWait: wait}), nil)}
			require.NoError(t, held.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&r.session))
			_, err = held.ExecContext(t.Context(), lock)
			require.NoError(t, err)
			runs = append(runs, r)
		}
	}
	var all sync.WaitGroup
	for _, r := range runs { // all at once, since each of them waits
		all.Go(func() {
			begin := time.Now()
			_, r.err = r.job.Backup(t.Context())
			r.took = time.Since(begin)
		})
	}
	all.Wait()
	for _, r := range runs {
		require.ErrorContains(t, r.err, stayed, r.lock)
		require.ErrorContains(t, r.err, r.session+" (root from ", r.lock)
		assert.Less(t, r.took, 30*time.Second, r.lock)
		server.Exec(t, "KILL "+r.session)
		_ = r.held.Close()
		_, err := r.job.Backup(t.Context())
		require.NoError(t, err)
	}
}

// TestLockHolderKilled: the lock of a run ends with its process and with its session, and a run
// whose lock was lost says so.
func TestLockHolderKilled(t *testing.T) {
	if dsn := os.Getenv(killDSN); dsn != "" {
		db, err := sql.Open("mysql", dsn)
		require.NoError(t, err)
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		_, err = source.Lock(t.Context(), "pos")
		require.NoError(t, err)
		killing.Running()
		select {}
	}
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", "CREATE TABLE t (id INT);")
	source := sourceOf(t, server, "shop", nil)
	killing.After(t, killing.Again(t, t.Name(), killDSN+"="+server.DSN("")), 0)
	var unlock func() error
	require.Eventually(t, func() bool {
		var err error
		unlock, err = source.Lock(t.Context(), "pos")
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	for _, id := range strings.Fields(server.Exec(t, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'root' AND ID <> CONNECTION_ID()")) {
		server.Exec(t, "KILL "+id)
	}
	var second func() error
	require.Eventually(t, func() bool {
		var err error
		second, err = source.Lock(t.Context(), "pos")
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	require.ErrorContains(t, unlock(), "the database lock was lost")
	_, err := source.Lock(t.Context(), "pos")
	require.ErrorIs(t, err, backup.ErrLocked, "the holder of the lost lock freed the other one")
	require.NoError(t, second())
}

// TestKilledBeside kills a restore beside the original before several of its statements. Check
// names the incomplete database until the restore is settled.
func TestKilledBeside(t *testing.T) {
	testserver.NeedsLong(t)
	if folder := os.Getenv(killFolder); folder != "" {
		db, watch := stepping(t, os.Getenv(killDSN))
		var left int
		_, err := fmt.Sscan(os.Getenv(killStep), &left)
		require.NoError(t, err)
		watch.watch(func(string) error {
			if left--; left < 0 {
				return syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			}
			return nil
		})
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		_, err = jobAt(t, folder, source, nil).Restore(t.Context(), os.Getenv(killID), "shop_restore_20260101t000000", nil)
		require.NoError(t, err)
		return
	}
	t.Parallel()
	server := testserver.MariaDB(t, "--log-bin-trust-function-creators=1")
	loadRich(t, server)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	whole := described(t, server, "shop", true)
	folder, _ := folders.Load(job)
	step, named := 0, 0
	for ; ; step += 19 {
		out, err := killing.Again(t, "TestKilledBeside", killDSN+"="+server.DSN(""), killFolder+"="+folder.(string), killID+"="+report.Manifest.ID, killStep+"="+fmt.Sprint(step)).CombinedOutput()
		if err == nil {
			break // it came to its end
		}
		require.Contains(t, err.Error(), "killed", "%s", out)
		_, err = job.Check(t.Context(), time.Hour)
		if len(leftovers(t, server)) > 0 {
			require.ErrorIs(t, err, backup.ErrHalfway)
			require.ErrorContains(t, err, "so shop_restore_20260101t000000 is incomplete: settle it")
			if named++; named == 1 { // without a table, it takes the restore again
				_, err = job.Restore(t.Context(), report.Manifest.ID, "shop_restore_20260101t000000", nil)
				require.NoError(t, err)
				_, err = job.Settle(t.Context(), true)
				require.NoError(t, err)
				require.NotEmpty(t, leftovers(t, server), "it is complete")
				server.Exec(t, "DROP DATABASE shop_restore_20260101t000000")
			}
		}
		_, err = job.Settle(t.Context(), true)
		require.NoError(t, err)
		require.Empty(t, leftovers(t, server))
		_, err = job.Check(t.Context(), time.Hour)
		require.NoError(t, err)
	}
	t.Logf("%d kills, %d left a database", step/19, named)
	assert.Greater(t, named, 2)
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	equal(t, whole, described(t, server, "shop", true))
}
