package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// Tx is a transaction. Its statements are written with question marks.
type Tx struct {
	tx     *sql.Tx
	engine settings.Engine
}

func (t *Tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, rebind(t.engine, query), args...)
}

func (t *Tx) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, rebind(t.engine, query), args...)
}

func (t *Tx) query(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := t.tx.QueryContext(ctx, rebind(t.engine, query), args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}

// changed runs an update and reports whether it matched a row.
func (t *Tx) changed(ctx context.Context, query string, args ...any) (bool, error) {
	result, err := t.exec(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// insertNew adds a row unless its key exists already, and reports whether it did.
func (t *Tx) insertNew(ctx context.Context, into string, args ...any) (bool, error) {
	if t.engine == settings.MySQL {
		return t.changed(ctx, "INSERT IGNORE INTO "+into, args...)
	}
	return t.changed(ctx, "INSERT INTO "+into+" ON CONFLICT DO NOTHING", args...)
}

// batch is several statements that go to the database in one round trip.
type batch struct {
	queries []string
	args    []any
}

func (b *batch) add(query string, args ...any) {
	b.queries = append(b.queries, query)
	b.args = append(b.args, args...)
}

// run sends the batch. The first failure ends the batch and its transaction.
func (t *Tx) run(ctx context.Context, b *batch) error {
	_, err := t.exec(ctx, strings.Join(b.queries, ";\n"), t.batchArgs(b)...)
	return err
}

// runInsert sends a batch and returns the key of the new row. The first statement inserts a row
// with the automatic key id, which is 0 on MySQL.
func (t *Tx) runInsert(ctx context.Context, b *batch, id int64) (int64, error) {
	if t.engine != settings.MySQL {
		return id, t.run(ctx, b)
	}
	b.add("SELECT LAST_INSERT_ID()")
	err := t.queryRow(ctx, strings.Join(b.queries, ";\n"), b.args...).Scan(&id)
	return id, err
}

// batchArgs selects PostgreSQL's simple protocol in pgx, which accepts several statements. The
// drivers of MySQL and SQLite accept them without a setting.
func (t *Tx) batchArgs(b *batch) []any {
	if t.engine == settings.Postgres {
		return append([]any{pgx.QueryExecModeSimpleProtocol}, b.args...)
	}
	return b.args
}

// nextID is an expression for the automatic key of the next row of a table. On MySQL it is 0,
// because MySQL chooses the key during the INSERT.
func (t *Tx) nextID(table string) string {
	switch t.engine {
	case settings.MySQL:
		return "0"
	case settings.Postgres:
		return "(SELECT nextval(pg_get_serial_sequence('" + table + "', 'id')))"
	default: // there is only one writer at a time
		return "(SELECT coalesce(max(id), 0) + 1 FROM " + table + ")"
	}
}

// newID is that key in the statements after the INSERT: a parameter, or MySQL's function.
func (t *Tx) newID(id int64) string {
	if t.engine == settings.MySQL {
		return "LAST_INSERT_ID()"
	}
	return strconv.FormatInt(id, 10)
}

// forUpdate locks the rows that a SELECT reads from the table with an alias. SQLite needs no
// lock, because it has one writer.
func (t *Tx) forUpdate(alias string) string {
	switch t.engine {
	case settings.MySQL:
		return " FOR UPDATE"
	case settings.Postgres:
		return " FOR UPDATE OF " + alias
	default:
		return ""
	}
}

// inKeyOrder begins a join whose statement locks the rows of the first table in the order of
// its key. MySQL locks rows while it reads them, so its plan must begin with that table.
// PostgreSQL locks them after it has sorted them.
func (t *Tx) inKeyOrder(table, alias string) string {
	if t.engine == settings.MySQL {
		alias += " FORCE INDEX (PRIMARY)"
	}
	return table + " " + alias + " " + t.join()
}

// join makes MySQL read, and lock, the rows of the left table first.
func (t *Tx) join() string {
	if t.engine == settings.MySQL {
		return "STRAIGHT_JOIN"
	}
	return "JOIN"
}

// adding makes an INSERT add its values to the row whose key exists already.
func (t *Tx) adding(insert, table, key string, columns ...string) string {
	var set []string
	for _, c := range columns {
		set = append(set, fmt.Sprintf("%s = %s.%s + %s", c, table, c, t.inserted(c)))
	}
	return insert + t.onConflict(key) + strings.Join(set, ", ")
}

// onConflict makes an INSERT update the row whose key exists already.
func (t *Tx) onConflict(key string) string {
	if t.engine == settings.MySQL {
		return " ON DUPLICATE KEY UPDATE "
	}
	return " ON CONFLICT (" + key + ") DO UPDATE SET "
}

// inserted is the value that the INSERT has for a column.
func (t *Tx) inserted(column string) string {
	if t.engine == settings.MySQL {
		return "VALUES(" + column + ")"
	}
	return "excluded." + column
}

// now is the database's clock in microseconds since 1970. Every instant of a record comes from
// it, because the clocks of replicas may differ.
func now(engine settings.Engine) string {
	switch engine {
	case settings.MySQL: // UNIX_TIMESTAMP(NOW()) would be wrong in the hour that summer time repeats
		return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
	case settings.Postgres:
		return "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)"
	default:
		return "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
	}
}

// txAttempts is the maximum number of attempts for a transaction with conflicts.
const txAttempts = 30

// inTx runs f in a transaction. It starts f again after a deadlock or a conflict (SQLSTATE
// 40001), so f must not keep data from an earlier attempt. If the database has no free
// connection, inTx waits for one.
func (s *Store) inTx(ctx context.Context, f func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.tryTx(ctx, s.write, nil, f)
		if err == nil || attempt == txAttempts || !transient(err) {
			return err
		}
		if !pause(ctx, attempt) {
			return err
		}
	}
}

// inOnce runs f in a transaction like inTx. If f refuses a request with a key, it decides again in
// a second transaction: the first may have waited for the locks of the same request, and the
// snapshot from before the wait does not contain that request.
func (s *Store) inOnce(ctx context.Context, once Once, f func(*Tx) error) error {
	err := s.inTx(ctx, f)
	if once.Key != "" && errors.As(err, new(Conflict)) {
		return s.inTx(ctx, f)
	}
	return err
}

// inSnapshot runs f, which only reads, in a transaction in which all statements see one state of
// the database.
func (s *Store) inSnapshot(ctx context.Context, f func(*Tx) error) error {
	opts := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	if s.engine == settings.SQLite {
		opts = nil // every transaction is like that
	}
	return s.tryTx(ctx, s.read, opts, f)
}

// pause waits a little longer after each attempt, and reports whether time is left.
func pause(ctx context.Context, attempt int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(time.Duration(min(attempt, 10)) * 10 * time.Millisecond)):
		return true
	}
}

func (s *Store) tryTx(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, f func(*Tx) error) error {
	var tx *sql.Tx
	err := s.connected(ctx, pool, func() (err error) {
		tx, err = pool.BeginTx(ctx, opts)
		return err
	})
	if err != nil {
		return err
	}
	defer tx.Rollback() // has no effect after a commit
	if err := f(&Tx{tx, s.engine}); err != nil {
		return err
	}
	return tx.Commit()
}

// query runs a statement on the pool for reading and passes each row to scan.
func (s *Store) query(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	var rows *sql.Rows
	err := s.connected(ctx, s.read, func() (err error) {
		rows, err = s.read.QueryContext(ctx, rebind(s.engine, query), args...) //nolint:rowserrcheck,sqlclosecheck // each checks and closes it
		return err
	})
	if err != nil {
		return err
	}
	return each(rows, scan)
}

func each(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// queryRow reads one row into dest, or returns ErrNotFound.
func (s *Store) queryRow(ctx context.Context, dest []any, query string, args ...any) error {
	err := s.connected(ctx, s.read, func() error {
		return s.read.QueryRowContext(ctx, rebind(s.engine, query), args...).Scan(dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// rebind numbers the placeholders for PostgreSQL and for the batches of SQLite. The statements
// of this package use a question mark only as a placeholder.
func rebind(engine settings.Engine, query string) string {
	prefix := "?"
	switch engine {
	case settings.MySQL:
		return query
	case settings.Postgres:
		prefix = "$"
	}
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString(prefix + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// marks returns n question marks for an IN list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// micros returns an instant in the form of the database: microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
