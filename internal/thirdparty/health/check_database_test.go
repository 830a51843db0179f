package health_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// slow is longer than an answer takes on a busy machine, which the default of 500 ms is not.
const slow = time.Minute

func once(t *testing.T, c health.Check) health.CheckState {
	t.Helper()
	r, err := health.New([]health.Check{c}, nil)
	require.NoError(t, err)
	return runOnce(t, r)
}

func runOnce(t *testing.T, r *health.Registry) health.CheckState {
	t.Helper()
	snap, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return snap.Checks[0]
}

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// The database is killed, comes back, is paused and continues: the check says
// so each time, within its timeout.
func databaseLifecycle(t *testing.T, db *sql.DB, p interface {
	Kill()
	Restart()
	Pause()
	Continue()
},
) {
	t.Helper()
	c := health.Database("database", db, &health.DatabaseOptions{Timeout: 5 * time.Second, SlowAfter: slow})
	r, err := health.New([]health.Check{c}, nil)
	require.NoError(t, err)
	state := runOnce(t, r)
	require.Equal(t, health.Pass, state.Status, state.Output)
	require.Equal(t, "responseTime", state.Observed[0].Name)

	p.Kill()
	require.Equal(t, health.Fail, runOnce(t, r).Status)
	p.Restart()
	require.Eventually(t, func() bool { return runOnce(t, r).Status == health.Pass }, 30*time.Second, 50*time.Millisecond)

	p.Pause()
	begin := time.Now()
	hung := health.Database("database", db, &health.DatabaseOptions{Timeout: 500 * time.Millisecond})
	require.Equal(t, health.Fail, once(t, hung).Status)
	require.Less(t, time.Since(begin), 20*time.Second)
	p.Continue()
	require.Eventually(t, func() bool { return runOnce(t, r).Status == health.Pass }, 30*time.Second, 50*time.Millisecond)
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	db := openDB(t, "mysql", server.DSN("mysql"))
	databaseLifecycle(t, db, server)

	readOnly := health.Database("database", db, &health.DatabaseOptions{ReadOnlyQuery: health.MySQLReadOnly, Timeout: slow, SlowAfter: slow})
	require.Equal(t, health.Pass, once(t, readOnly).Status)
	_, err := db.ExecContext(t.Context(), "SET GLOBAL read_only = 1")
	require.NoError(t, err)
	state := once(t, readOnly)
	require.Equal(t, health.Fail, state.Status)
	require.Contains(t, state.Output, "read-only")

	wrong := openDB(t, "mysql", "root:S3cr3t@tcp("+server.Addr()+")/mysql")
	state = once(t, health.Database("database", wrong, nil))
	require.Equal(t, health.Fail, state.Status)
	require.NotContains(t, state.Output, "S3cr3t")
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	db := openDB(t, "pgx", server.DSN("postgres"))
	databaseLifecycle(t, db, server)

	server.Exec(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
	server.Exec(t, "postgres", "SELECT pg_reload_conf()")
	readOnly := health.Database("database", db, &health.DatabaseOptions{ReadOnlyQuery: health.PostgresReadOnly})
	require.Eventually(t, func() bool { return once(t, readOnly).Status == health.Fail }, 30*time.Second, 50*time.Millisecond)
}

// An exhausted pool is not a dead database.
func TestExhaustedPool(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("it waits for seconds; run it without -short")
	}
	t.Parallel()
	db := openDB(t, "sqlite", "file:"+t.TempDir()+"/pos.db")
	db.SetMaxOpenConns(2)
	// Half of the timeout is for a connection: enough on a busy machine, too.
	const timeout = 3 * time.Second
	c := health.Database("database", db, &health.DatabaseOptions{Timeout: timeout, SlowAfter: slow, ExhaustedFor: time.Hour})
	r, err := health.New([]health.Check{c}, nil)
	require.NoError(t, err)
	require.Equal(t, health.Pass, runOnce(t, r).Status)

	first, err := db.Conn(t.Context())
	require.NoError(t, err)
	require.Equal(t, health.Pass, runOnce(t, r).Status, "half of the pool is in use")
	second, err := db.Conn(t.Context())
	require.NoError(t, err)
	state := runOnce(t, r)
	require.Equal(t, health.Warn, state.Status, state.Output)
	require.Equal(t, "connection pool exhausted: all 2 connections are in use", state.Output)

	// A leak does not stay a warning for ever.
	leaking, err := health.New([]health.Check{health.Database("database", db, &health.DatabaseOptions{
		Timeout: timeout, ExhaustedFor: time.Nanosecond,
	})}, nil)
	require.NoError(t, err)
	require.Equal(t, health.Warn, runOnce(t, leaking).Status)
	require.Equal(t, health.Fail, runOnce(t, leaking).Status)

	// A spare connection knows better, in both directions.
	spare := openDB(t, "sqlite", "file:"+t.TempDir()+"/pos.db")
	with := func(spare *sql.DB) health.CheckState {
		return once(t, health.Database("database", db, &health.DatabaseOptions{Timeout: timeout, Spare: spare}))
	}
	state = with(spare)
	require.Equal(t, health.Warn, state.Status)
	require.Contains(t, state.Output, "the database itself answers")
	spare.Close()
	require.Equal(t, health.Fail, with(spare).Status)

	second.Close()
	first.Close()
	require.Equal(t, health.Pass, runOnce(t, r).Status)
}

func TestPoolInUseWarns(t *testing.T) {
	t.Parallel()
	db := openDB(t, "sqlite", ":memory:")
	db.SetMaxOpenConns(5)
	for range 4 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
	}
	state := once(t, health.Database("database", db, nil))
	require.Equal(t, health.Warn, state.Status)
	require.Contains(t, state.Output, "4 of 5 connections in use")
}

// A pool of one connection is full during each query of the service, which is no reason to warn.
func TestPoolOfOneDoesNotWarn(t *testing.T) {
	t.Parallel()
	db := openDB(t, "sqlite", "file:"+t.TempDir()+"/pos.db")
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	r, err := health.New([]health.Check{health.Database("database", db, &health.DatabaseOptions{Timeout: 40 * time.Second, SlowAfter: slow})}, nil)
	require.NoError(t, err)
	done := make(chan health.CheckState)
	go func() { done <- runOnce(t, r) }()
	require.Eventually(t, func() bool { return db.Stats().WaitCount > 0 }, 10*time.Second, time.Millisecond, "the check waits for the connection")
	require.NoError(t, conn.Close())
	state := <-done
	require.Equal(t, health.Pass, state.Status, state.Output)
}

// SELECT 1 does not read the file of an SQLite database, so it says nothing about it.
func TestSQLiteFileIsRead(t *testing.T) {
	t.Parallel()
	sql.Register("wrapper", wrapper{openDB(t, "sqlite", ":memory:").Driver()})
	for _, name := range []string{"sqlite", "wrapper"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); sqliteFileIsRead(t, name) })
	}
}

// wrapper hides the type of the driver, as those that trace queries do.
type wrapper struct{ driver.Driver }

func sqliteFileIsRead(t *testing.T, name string) {
	path := t.TempDir() + "/pos.db"
	db := openDB(t, name, "file:"+path)
	db.SetMaxOpenConns(1)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE sales (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	r, err := health.New([]health.Check{health.Database("database", db, &health.DatabaseOptions{Timeout: 5 * time.Second, SlowAfter: slow})}, nil)
	require.NoError(t, err)
	require.Equal(t, health.Pass, runOnce(t, r).Status)

	other := openDB(t, "sqlite", "file:"+path)
	other.SetMaxOpenConns(1)
	_, err = other.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	require.NoError(t, err)
	state := runOnce(t, r)
	require.Equal(t, health.Fail, state.Status, "locked: %s", state.Output)
	_, err = other.ExecContext(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.Equal(t, health.Pass, runOnce(t, r).Status)

	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt(bytes.Repeat([]byte("damage! "), 512), 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	state = runOnce(t, r)
	require.Equal(t, health.Fail, state.Status, "damaged: %s", state.Output)
}

func TestSlowDatabaseWarns(t *testing.T) {
	t.Parallel()
	db := openDB(t, "sqlite", ":memory:")
	state := once(t, health.Database("database", db, &health.DatabaseOptions{SlowAfter: time.Nanosecond}))
	require.Equal(t, health.Warn, state.Status)
	state = once(t, health.Database("database", db, &health.DatabaseOptions{Query: "SELECT * FROM no_such_table"}))
	require.Equal(t, health.Fail, state.Status)
	require.Contains(t, state.Output, "no answer")
}

// restarting is a driver whose connections are all cut by restart, and which
// notices only when one is used, as several do.
type restarting struct{ era atomic.Int64 }

type era struct {
	driver *restarting
	born   int64
}

func (d *restarting) Connect(context.Context) (driver.Conn, error) { return &era{d, d.era.Load()}, nil }
func (d *restarting) Driver() driver.Driver                        { return nil }

func (c *era) alive() error {
	if c.born != c.driver.era.Load() {
		return driver.ErrBadConn
	}
	return nil
}

func (c *era) Ping(context.Context) error { return c.alive() }
func (c *era) Query([]driver.Value) (driver.Rows, error) {
	return new(oneRow), c.alive()
}
func (c *era) Prepare(string) (driver.Stmt, error)        { return c, c.alive() }
func (c *era) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (c *era) Begin() (driver.Tx, error)                  { return nil, driver.ErrSkip }
func (c *era) Close() error                               { return nil }
func (c *era) NumInput() int                              { return 0 }

type oneRow struct{ read bool }

func (r *oneRow) Columns() []string { return []string{"1"} }
func (r *oneRow) Close() error      { return nil }
func (r *oneRow) Next(dest []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read, dest[0] = true, int64(1)
	return nil
}

// After a restart of the database its pool is full of dead connections, which
// says nothing about the database.
func TestDeadConnectionsInThePool(t *testing.T) {
	t.Parallel()
	d := &restarting{}
	db := sql.OpenDB(d)
	defer db.Close()
	db.SetMaxIdleConns(10)
	var conns []*sql.Conn
	for range 10 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	require.Equal(t, 10, db.Stats().Idle)
	d.era.Add(1)
	state := once(t, health.Database("database", db, nil))
	require.Equal(t, health.Pass, state.Status, state.Output)
}
