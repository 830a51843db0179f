package postgres_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// disturbed is a source during whose first dump something happens once.
type disturbed struct {
	*postgres.Source
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

// manyRows are written at its end: the test servers confirm a commit before that.
const manyRows = "CREATE TABLE many AS SELECT i AS id, repeat(md5(i::text), 20) AS line FROM generate_series(1, 20000) i; CHECKPOINT"

// leftovers are the databases that a restore may leave.
func leftovers(t testing.TB, server *testserver.PostgresServer) []string {
	t.Helper()
	return strings.Fields(server.Exec(t, "", "SELECT datname FROM pg_database WHERE datname ~ '_(scratch|replaced)_|^copy$|^shop_restore_20260101t000000$'"))
}

// TestSessionKilledDuringADump: the session of a dump, or the whole server, ends while the dump
// runs. That attempt publishes nothing. The second attempt of the run is good.
func TestSessionKilledDuringADump(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	for name, happens := range map[string]func(*testing.T, *testserver.PostgresServer){
		"its session": func(t *testing.T, server *testserver.PostgresServer) {
			assert.Equal(t, "t\n", server.Exec(t, "", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pg_dump%'"))
		},
		"the server": func(_ *testing.T, server *testserver.PostgresServer) { server.Kill(); server.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a run waits for ten seconds before its second attempt
			server := testserver.Postgres(t)
			server.CreateDatabase(t, "shop")
			server.Exec(t, "shop", manyRows)
			from := disturbed{source(t, server.DSN("shop"), nil), new(sync.Once), func() { happens(t, server) }}
			_, err := from.Dump(t.Context(), io.Discard)
			require.ErrorIs(t, err, driver.ErrTransient)
			from.once = new(sync.Once)
			job := jobIn(t, filepath.Join(t.TempDir(), "backups"), from, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1}})
			report, err := job.Backup(t.Context())
			if err == nil {
				assert.True(t, report.Restored)
			} else { // the lock was held by a session of the server
				require.ErrorContains(t, err, "lock")
			}
			entries, listErr := job.List(t.Context())
			require.NoError(t, listErr)
			assert.Len(t, entries, 1, "%v", err)
		})
	}
}

// fatal is a source whose server ends while the rows of a dump are on their way to it.
type fatal struct {
	*postgres.Source
	end func()
}

func (f fatal) Abilities() driver.Abilities {
	able := f.Source.Abilities()
	restore, test, overwrite := able.Restore, able.Test, able.Overwrite
	ending := func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, 4<<20), readerFunc(func([]byte) (int, error) { f.end(); return 0, io.EOF }), r)
	}
	able.Restore = func(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
		return restore(ctx, ending(r), o)
	}
	able.Test = func(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
		return test(ctx, ending(r), o, use)
	}
	able.Overwrite = func(ctx context.Context, r io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
		return overwrite(ctx, ending(r), o)
	}
	return able
}

// TestServerKilledDuringARestore: the server ends while a restore writes. The restore names what
// it left, a restore test does not accuse the backup, and the original is what it was.
func TestServerKilledDuringARestore(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", manyRows)
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobIn(t, folder, source(t, server.DSN("shop"), nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before, id := script(t, server.DSN("shop")), report.Manifest.ID
	for name, restore := range map[string]func(*backup.Job) error{
		"beside": func(victim *backup.Job) error {
			_, err := victim.Restore(t.Context(), id, "shop_restore_20260101t000000", nil)
			return err
		},
		"over": func(victim *backup.Job) error { _, err := victim.RestoreOver(t.Context(), id, "shop", nil); return err },
		"test": func(victim *backup.Job) error { _, err := victim.TestRestore(t.Context(), id); return err },
	} {
		// Without connections to the server that was killed before.
		victim := jobIn(t, folder, fatal{source(t, server.DSN("shop"), nil), server.Kill}, nil)
		known := leftovers(t, server)
		err := restore(victim)
		require.Error(t, err, name)
		require.ErrorIs(t, err, driver.ErrLeft, name)
		require.NotErrorIs(t, err, backup.ErrVerification, "the server has failed, and not the backup")
		server.Restart()
		equal(t, before, script(t, server.DSN("shop")))
		require.Len(t, leftovers(t, server), len(known)+1, name)
	}
	job = jobIn(t, folder, source(t, server.DSN("shop"), nil), nil)
	_, err = job.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, backup.ErrHalfway)
	require.ErrorContains(t, err, "shop_restore_20260101t000000 is incomplete")
	settled, err := job.Settle(t.Context(), true)
	require.NoError(t, err)
	require.Len(t, settled, 2)
	assert.Len(t, leftovers(t, server), 1, "a run drops the database of a restore test after a day")
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.NoError(t, err)
	equal(t, before, script(t, server.DSN("shop")))
}

// creating has the server create the database copy, as it does for a process that was killed
// during that statement. The result checks that the statement was ended.
func creating(t *testing.T, server *testserver.PostgresServer) (stopped func()) {
	t.Helper()
	server.Exec(t, "", "DROP DATABASE IF EXISTS shop_restore_20260101t000000 WITH (FORCE)")
	server.CreateDatabase(t, "busy")
	user, err := connect(t, server.DSN("")).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = user.ExecContext(t.Context(), "COMMENT ON DATABASE busy IS 'its lock makes the server wait'")
	require.NoError(t, err)
	result := make(chan error, 1)
	victim := connect(t, server.DSN("shop"))
	go func() {
		_, err := victim.ExecContext(t.Context(), `CREATE DATABASE "shop_restore_20260101t000000" TEMPLATE busy`)
		result <- err
	}()
	require.Eventually(t, func() bool {
		return server.Exec(t, "", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type = 'Lock' AND query LIKE 'CREATE DATABASE%'") == "1\n"
	}, time.Minute, 10*time.Millisecond)
	return func() {
		require.NoError(t, user.Rollback())
		require.ErrorContains(t, <-result, "terminating connection")
	}
}

// TestKilledBeside kills a process that restores beside the original. Check names the incomplete
// database until the restore is settled.
func TestKilledBeside(t *testing.T) {
	testserver.NeedsLong(t)
	if dsn := os.Getenv(killDSN); dsn != "" {
		job := jobIn(t, os.Getenv(killFolder), source(t, dsn, nil), nil)
		fmt.Println("running")
		_, err := job.Restore(t.Context(), os.Getenv(killID), "shop_restore_20260101t000000", nil)
		require.NoError(t, err)
		select {}
	}
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", manyRows)
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobIn(t, folder, source(t, server.DSN("shop"), nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	start := time.Now()
	_, err = job.Restore(t.Context(), report.Manifest.ID, "shop_restore_20260101t000000", nil)
	require.NoError(t, err)
	within := time.Since(start)
	server.Exec(t, "", "DROP DATABASE shop_restore_20260101t000000")
	named, stopped := 0, func() {}
	var moments []time.Duration
	for moment := testserver.Sample(2, 1); moment < 7; moment += testserver.Sample(2, 1) {
		moments = append(moments, within*time.Duration(moment)/8)
	}
	planned := len(moments)
	for factor := 2; factor <= 16; factor *= 2 { // if the machine is faster or slower now than it was before
		moments = append(moments, within/time.Duration(4*factor), within*time.Duration(factor))
	}
	for i, after := range moments {
		if i >= planned && named > 0 {
			break
		}
		killed(t, after, killDSN+"="+server.DSN("shop"), killFolder+"="+folder, killID+"="+report.Manifest.ID)
		s, err := job.Check(t.Context(), time.Hour)
		if len(s.Unfinished) > 0 {
			require.ErrorIs(t, err, backup.ErrHalfway)
			require.ErrorContains(t, err, "so shop_restore_20260101t000000 is incomplete: settle it")
			if named++; named == 1 {
				stopped = creating(t, server)
			}
		} else if len(leftovers(t, server)) > 0 { // the restore had ended
			require.Equal(t, "20000\n", server.Exec(t, "shop_restore_20260101t000000", "SELECT count(*) FROM many"))
			server.Exec(t, "", "DROP DATABASE shop_restore_20260101t000000")
		}
		_, err = job.Settle(t.Context(), true)
		require.NoError(t, err)
		stopped()
		stopped = func() {}
		require.Empty(t, leftovers(t, server))
		_, err = job.Check(t.Context(), time.Hour)
		require.NoError(t, err)
	}
	assert.Positive(t, named)
}
