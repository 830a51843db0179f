package health

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Queries for DatabaseOptions.ReadOnlyQuery.
const (
	// PostgresReadOnly is true on a standby, and if default_transaction_read_only is
	// set.
	PostgresReadOnly = "SHOW transaction_read_only"
	// MySQLReadOnly is true on a MySQL or MariaDB replica, and after a fail-over that
	// has not finished.
	MySQLReadOnly = "SELECT @@global.read_only"
)

// DatabaseOptions tune [Database]. The zero value and nil work.
type DatabaseOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// SlowAfter is the response time that warns. Default: 500 ms.
	SlowAfter time.Duration
	// PoolWarn is the share of the pool in use, in percent, that warns. It needs SetMaxOpenConns with 2 or more: a pool
	// of one connection is always empty or full. Default: 80.
	PoolWarn float64
	// Query runs after the ping and must return one row. Default: "SELECT 1". The default for SQLite counts the
	// tables, because "SELECT 1" succeeds on a damaged or locked file: it does not read it. If the type of the driver
	// does not tell, as with a driver that wraps another, the first run asks the database whether it is SQLite.
	Query string
	// ReadOnlyQuery returns one value that says whether the server rejects writes: 1,
	// t, true, on and yes mean that it does. See PostgresReadOnly and MySQLReadOnly.
	// Default: no such query.
	ReadOnlyQuery string
	// ExhaustedFor is how long the check may only warn about an exhausted pool before
	// it fails. A long leak of connections and a database that hangs cannot be
	// distinguished from outside. Default: 2 min.
	ExhaustedFor time.Duration
	// Spare is a second pool to the same database, ideally with one connection. The
	// check uses it when the first pool is exhausted, and so sees at once whether the
	// database is alive. Default: nil.
	Spare *sql.DB
}

// Database returns a critical, shared check of a database/sql pool: ping, a
// query, the response time and the use of the pool.
//
// An exhausted pool does not mean that the database is down. If all connections are in
// use and none becomes free within half of the Timeout, the check warns and names the
// cause. It fails after ExhaustedFor.
//
// It is Shared, so it does not count for /ready/ unless Ready is set. When the database
// is down, taking every replica out of the load balancer does not help.
func Database(name string, db *sql.DB, opts *DatabaseOptions) Check {
	var o DatabaseOptions
	if opts != nil {
		o = *opts
	}
	o.SlowAfter = cmp.Or(o.SlowAfter, 500*time.Millisecond)
	o.PoolWarn = cmp.Or(o.PoolWarn, 80)
	o.ExhaustedFor = cmp.Or(o.ExhaustedFor, 2*time.Minute)
	return Check{
		Name: name, Type: "datastore", Critical: true, Shared: true,
		Timeout: cmp.Or(o.Timeout, 2*time.Second),
		Checker: &databaseCheck{db: db, opts: o},
	}
}

type databaseCheck struct {
	db   *sql.DB
	opts DatabaseOptions

	mu      sync.Mutex
	query   string    // the query after the ping; "" until the kind of the database is known
	through time.Time // the last time a connection was available, or the first try
}

func (d *databaseCheck) Validate() error {
	switch {
	case d.db == nil:
		return errors.New("the *sql.DB is nil")
	case d.opts.SlowAfter < 0 || d.opts.ExhaustedFor < 0:
		return errors.New("SlowAfter and ExhaustedFor must not be negative")
	case !(d.opts.PoolWarn >= 0 && d.opts.PoolWarn <= 100):
		return fmt.Errorf("PoolWarn %v is not a percentage", d.opts.PoolWarn)
	}
	return nil
}

func (d *databaseCheck) Check(ctx context.Context) Result {
	before := d.db.Stats()
	res, err := d.look(ctx, before)
	// A connection that was closed while it was idle in the pool says nothing about the
	// database. database/sql drops it, so the idle connections run out after some
	// tries.
	for range before.Idle {
		if !errors.Is(err, driver.ErrBadConn) {
			break
		}
		res, err = d.look(ctx, before)
	}
	if err != nil {
		res.Status, res.Err = Fail, err
	}
	return res
}

// look checks the database over one connection.
func (d *databaseCheck) look(ctx context.Context, before sql.DBStats) (Result, error) {
	conn, err := acquire(ctx, d.db)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && full(before) && full(d.db.Stats()) {
			return d.exhausted(ctx), nil
		}
		return Result{Summary: "no connection"}, err
	}
	defer conn.Close()
	d.waitedOut(true)

	took, err := d.ask(ctx, conn)
	if err != nil {
		return Result{Summary: "no answer"}, err
	}
	res := Result{
		Status:  Pass,
		Summary: fmt.Sprintf("answered in %s", roughly(took)),
		Observed: []Measurement{{
			Name: "responseTime", Value: millis(took), Unit: "ms",
			Limits: Limits{Warn: millis(d.opts.SlowAfter)},
		}},
	}
	d.observePool(&res, before)
	if d.opts.ReadOnlyQuery != "" {
		var answer string
		if err := conn.QueryRowContext(ctx, d.opts.ReadOnlyQuery).Scan(&answer); err != nil {
			return Result{Summary: "cannot tell whether it is read-only"}, err
		}
		if truthy(answer) {
			res.Status, res.Summary = Fail, "read-only: it answers and refuses writes"
		}
	}
	return res, nil
}

// acquire takes a connection within half of the remaining time. The check can then
// still report an exhausted pool as the cause.
func acquire(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return db.Conn(ctx)
}

func full(s sql.DBStats) bool { return s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections }

func (d *databaseCheck) ask(ctx context.Context, conn *sql.Conn) (time.Duration, error) {
	start := time.Now()
	if err := conn.PingContext(ctx); err != nil {
		return 0, err
	}
	query, err := d.queryFor(ctx, conn)
	if err != nil {
		return 0, err
	}
	var ignored any
	if err := conn.QueryRowContext(ctx, query).Scan(&ignored); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// queryFor returns the query after the ping. An error is that of the connection.
func (d *databaseCheck) queryFor(ctx context.Context, conn *sql.Conn) (string, error) {
	if d.opts.Query != "" {
		return d.opts.Query, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.query != "" {
		return d.query, nil
	}
	kind := strings.ToLower(fmt.Sprintf("%T", d.db.Driver()))
	sqlite := strings.Contains(kind, "sqlite")
	if !sqlite && !slices.ContainsFunc([]string{"mysql", "pq.driver", "stdlib.driver"}, func(name string) bool { return strings.Contains(kind, name) }) {
		var version string
		err := conn.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version)
		if err != nil && (ctx.Err() != nil || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)) {
			return "", err
		}
		sqlite = err == nil // no other database has this function
	}
	if d.query = "SELECT 1"; sqlite {
		d.query = "SELECT count(*) FROM sqlite_master"
	}
	return d.query, nil
}

func (d *databaseCheck) observePool(res *Result, s sql.DBStats) {
	if s.MaxOpenConnections == 0 {
		return
	}
	res.Observed = append(res.Observed, Measurement{Name: "connections", Value: float64(s.InUse), Unit: "connections"})
	if s.MaxOpenConnections == 1 {
		return
	}
	share := 100 * float64(s.InUse) / float64(s.MaxOpenConnections)
	res.Observed = append(res.Observed, Measurement{
		Name: "poolUtilization", Value: share, Unit: "percent",
		Limits: Limits{Warn: d.opts.PoolWarn, Clear: 2},
	})
	if share >= d.opts.PoolWarn {
		res.Summary += fmt.Sprintf(", %d of %d connections in use", s.InUse, s.MaxOpenConnections)
	}
}

// waitedOut records whether a connection was available, and returns for how long none
// has been available.
func (d *databaseCheck) waitedOut(through bool) time.Duration {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if through || d.through.IsZero() {
		d.through = now
	}
	return now.Sub(d.through)
}

func (d *databaseCheck) exhausted(ctx context.Context) Result {
	s := d.db.Stats()
	res := Result{
		Status:  Warn,
		Summary: fmt.Sprintf("connection pool exhausted: all %d connections are in use", s.MaxOpenConnections),
		Observed: []Measurement{
			{Name: "connections", Value: float64(s.InUse), Unit: "connections"},
			{Name: "waited", Value: float64(s.WaitCount), Unit: "requests"},
		},
	}
	out := d.waitedOut(false)
	if d.opts.Spare != nil {
		if err := d.askSpare(ctx); err != nil {
			return Failed("no answer, and the connection pool is exhausted", err)
		}
		res.Summary += "; the database itself answers"
		return res
	}
	if out >= d.opts.ExhaustedFor {
		res.Status = Fail
		res.Summary += " for " + roughly(out) + ": it hangs, or connections leak"
	}
	return res
}

func (d *databaseCheck) askSpare(ctx context.Context) error {
	conn, err := d.opts.Spare.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = d.ask(ctx, conn)
	return err
}

func truthy(answer string) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "1", "t", "true", "on", "yes":
		return true
	}
	return false
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
