package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// brokenOverwrite is a source whose dump breaks off in the middle of an overwriting restore.
type brokenOverwrite struct{ *postgres.Source }

func (b brokenOverwrite) Abilities() driver.Abilities {
	able := b.Source.Abilities()
	whole := able.Overwrite
	able.Overwrite = func(ctx context.Context, r io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
		return whole(ctx, io.MultiReader(io.LimitReader(r, 1000), readerFunc(func([]byte) (int, error) { return 0, errors.New("the storage is gone") })), o)
	}
	return able
}

// TestOverwrite overwrites a database in each way that can go wrong, and at last well.
func TestOverwrite(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
	rows := func() string { return strings.TrimSpace(server.Exec(t, "shop", "SELECT count(*) FROM t")) }
	p := source(t, server.DSN("shop"), nil)
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobIn(t, folder, p, nil)
	want, err := job.Backup(t.Context())
	require.NoError(t, err)
	id := want.Manifest.ID
	server.Exec(t, "shop", "INSERT INTO t VALUES (4)")

	for _, wrong := range []string{"", "T", "shopx", "postgres"} {
		_, err := job.RestoreOver(t.Context(), id, wrong, nil)
		require.ErrorIs(t, err, backup.ErrNotConfirmed, wrong)
	}
	_, err = job.RestoreOver(t.Context(), "", "shop", nil)
	require.ErrorIs(t, err, backup.ErrNotConfirmed, "without an id")
	over, err := jobIn(t, folder, brokenOverwrite{p}, nil).RestoreOver(t.Context(), id, "shop", nil)
	require.ErrorContains(t, err, over.Safety)
	require.NotEmpty(t, over.Safety)
	require.Equal(t, "4", rows())
	require.NoError(t, os.Chmod(folder, 0o777))
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.ErrorContains(t, err, "nothing was overwritten")
	require.NoError(t, os.Chmod(folder, 0o700))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = job.RestoreOver(ctx, id, "shop", nil)
	require.Error(t, err)
	require.Equal(t, "4", rows())

	// A session that reconnects without pause does not keep the names from changing.
	busy, stop := context.WithCancel(t.Context())
	reconnects := connect(t, server.DSN("shop"))
	reconnects.SetMaxIdleConns(0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for busy.Err() == nil {
			_, _ = reconnects.ExecContext(busy, "SELECT pg_sleep(0.2)") // it is ended, and comes again
		}
	}()
	over, err = job.RestoreOver(t.Context(), id, "shop", nil)
	stop()
	<-ended
	require.NoError(t, err)
	require.Equal(t, "3", rows())
	e, err := job.Find(t.Context(), over.Safety)
	require.NoError(t, err)
	assert.True(t, e.Pinned)
	assert.EqualValues(t, 4, e.Manifest.RowsTotal)
	_, err = job.RestoreOver(t.Context(), over.Safety, "shop", nil)
	require.NoError(t, err)
	require.Equal(t, "4", rows())
	assert.Equal(t, []string{"postgres", "shop", "template0", "template1"}, databases(t, server))

	// A session that may not be ended: the database is as it was, and takes connections.
	server.Exec(t, "postgres", "CREATE ROLE owner LOGIN CREATEDB PASSWORD 'pw'; GRANT pg_read_all_data TO owner; ALTER DATABASE shop OWNER TO owner")
	server.Exec(t, "shop", "ALTER TABLE t OWNER TO owner")
	admin := connect(t, server.DSN("shop"))
	require.NoError(t, admin.PingContext(t.Context()))
	owner := source(t, as(t, server.DSN("shop"), "owner"), nil)
	archive, holds := dumped(t, owner)
	_, err = owner.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: holds})
	require.ErrorContains(t, err, "end the sessions")
	require.NoError(t, admin.PingContext(t.Context()))
	require.NoError(t, admin.Close())
	require.Equal(t, "4", rows())
	assert.Equal(t, []string{"postgres", "shop", "template0", "template1"}, databases(t, server))
	// Idle sessions of the superuser, which the owner may not end.
	server.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop' AND usename = 'postgres'")
	for server.Exec(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND usename = 'postgres'") != "0\n" {
		time.Sleep(20 * time.Millisecond) // the session ends after its connection
	}
	_, err = owner.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: holds})
	require.NoError(t, err, "a plain owner can overwrite")

	// What the server would not let go is refused before anything is restored.
	server.Exec(t, "shop", "SET client_min_messages = error; CREATE SUBSCRIPTION \"su;b\" CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)")
	_, err = p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: holds})
	require.ErrorContains(t, err, `the subscription "su;b"`)
	// A copy does not take part in the replication of the original, and can be dropped.
	archive, holds = dumped(t, p)
	got := restored(t, p, archive, driver.RestoreOptions{Target: "copy", Want: holds})
	assert.Contains(t, strings.Join(got.Warnings, "\n"), "the slot of the subscription su;b")
	assert.Equal(t, "\tf\n", server.Exec(t, "copy", "SELECT subslotname, subenabled FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = 'copy')"))
	require.NoError(t, p.Test(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: holds}, func(context.Context, driver.Queryer, driver.Contents) error { return nil }))
	server.Exec(t, "copy", `DROP SUBSCRIPTION "su;b"`)
}

// TestScratch holds the databases of restore tests to what they promise.
func TestScratch(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3); CREATE ROLE clerk LOGIN PASSWORD 'pw'; GRANT pg_read_all_data TO clerk")
	p := source(t, server.DSN("shop"), nil)
	archive, want := dumped(t, p)
	before := databases(t, server)
	asked := false
	asks := func(ctx context.Context, db driver.Queryer, got driver.Contents) error {
		asked = true
		require.NoError(t, want.Compare(got))
		result, err := db.QueryContext(ctx, "SELECT id FROM t")
		require.NoError(t, err)
		require.NoError(t, result.Close())
		require.Len(t, databases(t, server), len(before)+1)
		return nil
	}
	o := driver.RestoreOptions{Want: want}
	require.NoError(t, p.Test(t.Context(), bytes.NewReader(archive), o, asks))
	require.True(t, asked)
	errNo := errors.New("no")
	require.ErrorIs(t, p.Test(t.Context(), bytes.NewReader(archive), o, func(context.Context, driver.Queryer, driver.Contents) error { return errNo }), errNo)
	ctx, cancel := context.WithCancel(t.Context())
	require.Error(t, p.Test(ctx, io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
		cancel()
		time.Sleep(50 * time.Millisecond)
		return 0, io.ErrUnexpectedEOF
	})), o, asks), "cancelled in the middle")
	require.Error(t, p.Test(t.Context(), bytes.NewReader(archive[:len(archive)/2]), o, asks), "a truncated dump")
	require.Equal(t, before, databases(t, server))

	// What a killed process left is dropped when it is old, and no other database is.
	old := "shop_scratch_20200102t030405_abcdef"
	young := "shop_scratch_" + time.Now().UTC().Format("20060102t150405") + "_abcdef"
	for _, name := range []string{"shop_scratch_mine", "other_scratch_20200102t030405_abcdef", young, old} {
		server.CreateDatabase(t, name)
	}
	dropped, err := p.SweepTests(t.Context(), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []string{old}, dropped)
	require.Len(t, databases(t, server), len(before)+3)

	// A role that may not create databases still has good backups.
	job := jobIn(t, filepath.Join(t.TempDir(), "backups"), source(t, as(t, server.DSN("shop"), "clerk"), nil), nil)
	_, err = job.Backup(t.Context())
	require.NoError(t, err)
	_, err = job.TestRestore(t.Context(), "")
	require.ErrorContains(t, err, "create the database")
	require.NotErrorIs(t, err, backup.ErrVerification)
}
