package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

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

// changed runs an update and reports whether it met a row.
func (t *Tx) changed(ctx context.Context, query string, args ...any) (bool, error) {
	result, err := t.exec(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// txAttempts bounds how often a transaction that lost a deadlock is tried again. InnoDB
// lets one win when twenty wait for the same key and its owner rolls back.
const txAttempts = 30

// inTx runs f in a transaction, again from the start when the database chose it as
// the victim of a deadlock. f must not keep anything from an earlier attempt.
func (s *Store) inTx(ctx context.Context, f func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.tryTx(ctx, f)
		if err == nil || attempt == txAttempts || !transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(rand.N(time.Duration(min(attempt, 10)) * 10 * time.Millisecond)):
		}
	}
}

func (s *Store) tryTx(ctx context.Context, f func(*Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	if err := f(&Tx{tx, s.engine}); err != nil {
		return err
	}
	return tx.Commit()
}

// query runs a statement on the pool for reading and hands each row to scan.
func (s *Store) query(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, rebind(s.engine, query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// queryRow reads one row into dest, ErrNotFound if there is none.
func (s *Store) queryRow(ctx context.Context, dest []any, query string, args ...any) error {
	err := s.read.QueryRowContext(ctx, rebind(s.engine, query), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// insert adds a row to a table whose key is made by the database, and returns the key.
func (t *Tx) insert(ctx context.Context, query string, args ...any) (id int64, err error) {
	if t.engine == settings.Postgres {
		err = t.queryRow(ctx, query+" RETURNING id", args...).Scan(&id)
		return id, err
	}
	result, err := t.exec(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// insertNew adds a row unless its key is taken already, and reports whether it did.
func (t *Tx) insertNew(ctx context.Context, into string, args ...any) (bool, error) {
	if t.engine == settings.MySQL {
		return t.changed(ctx, "INSERT IGNORE INTO "+into, args...)
	}
	return t.changed(ctx, "INSERT INTO "+into+" ON CONFLICT DO NOTHING", args...)
}

// rebind numbers the placeholders for PostgreSQL. No statement of this package has a
// question mark elsewhere.
func rebind(engine settings.Engine, query string) string {
	if engine != settings.Postgres {
		return query
	}
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// marks returns n question marks for an IN list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// micros is an instant as the database keeps it: microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
