package keyset

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	mark "github.com/mainstay-go/mainstay/internal/batch"
)

// Queryer runs a query. *sql.DB, *sql.Tx and *sql.Conn implement it, and so do types that
// embed them.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Rows is the result of a query, such as *sql.Rows. Scan may be called again for a row.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Scanner is the current row of a result.
type Scanner interface {
	Scan(dest ...any) error
}

// SQLSource reads a list from a SQL database. It is a [Seeker]. For lists by page number it
// is also a pagination.Lister, Counter, CappedCounter and Estimator. It is a small value:
// create one for each request, with the filter of that request.
//
// A comparison with a position excludes undeclared NULLs and, in a collation, other texts
// that are equal to the position. When a seek reaches the end of the list, the source
// therefore runs a statement that looks for such rows in the list with its filter. It is
// repeated after 1, 2, 4, 8, … ends of an order, because later requests have other filters
// and rows.
type SQLSource[T any] struct {
	// DB runs the queries. A *sql.Tx reads count and rows from one snapshot.
	DB Queryer
	// Query runs the queries instead of DB, for libraries without database/sql. Default:
	// nil, DB is used.
	Query func(ctx context.Context, query string, args ...any) (Rows, error)
	// Dialect is the dialect of the database.
	Dialect Dialect
	// Base is the statement without order and limit.
	Base Base
	// Scan reads one row: the Columns of Base, in their order.
	Scan func(Scanner) (T, error)
	// Load completes the rows of a page or a batch, for example with pagination.Attach: the
	// children of all rows in one statement. Default: nil.
	Load func(ctx context.Context, rows []T) error
	// Order is the order of List. Seek has its own.
	Order Order
	// CountFrom replaces Base.From for counting, to leave out joins that do not decide
	// which rows exist. Where and its Args must work with it. Default: Base.From.
	CountFrom string
	// DeepKey is for lists on MariaDB, MySQL or SQLite that are paged far by number or
	// offset. It names an expression that is unique in the list and never NULL, such as
	// "s.id". The rows before a page are then skipped in the index of the order alone, and
	// only the rows of the page are looked up. The index must contain all columns in Where
	// and Order. PostgreSQL is slower that way and ignores DeepKey. Default: "", one plain
	// statement.
	DeepKey string
	// Index returns the index that MariaDB and MySQL use for an order, or "" for none. The
	// statement then has FORCE INDEX behind the first table of Base. Other dialects ignore
	// it. Default: nil, the source asks EXPLAIN once for each order of a filtered list. It
	// names the index that begins with columns that the filter holds equal and continues with
	// the keys of the order. Without the name these servers may look up the filter and read
	// every row up to the position.
	Index func(Order) string
}

// List reads rows from an offset.
func (s SQLSource[T]) List(ctx context.Context, limit int, offset int64) ([]T, error) {
	if s.Scan == nil {
		return nil, errNoScan
	}
	base := s.Base
	base.Keys = false
	st, err := newStatement(s.Dialect, &base)
	if err != nil {
		return nil, err
	}
	plan, err := Seek{Order: s.Order, Limit: limit}.plan(s.Dialect)
	if err != nil {
		return nil, err
	}
	outputs, err := s.outputs(ctx, s.Order.cache)
	if err == nil {
		err = s.Base.visible(s.Dialect, s.Order.keys, outputs)
	}
	if err == nil && s.DeepKey != "" {
		err = s.Base.windowless(s.Dialect)
	}
	if err != nil {
		return nil, err
	}
	w := &condWriter{statement: st, plan: plan}
	filtered := st.selectFrom(nil)
	deep := s.DeepKey != "" && offset > 0 && (s.Dialect == MySQL || s.Dialect == SQLite)
	if deep {
		// The keys alone, in a derived table: MariaDB allows no LIMIT directly behind IN.
		st.write(also(filtered), s.DeepKey, " IN (SELECT mainstay_k FROM (SELECT ", s.DeepKey, " AS mainstay_k")
		st.fromWhere()
	}
	w.orderBy(segment{}, w.expr)
	// The first page has its own statement: databases plan for it.
	var skip *fragment
	if offset > 0 {
		skip = &fragment{sql: "?", args: []any{offset}}
	}
	w.limit(skip)
	if deep {
		st.write(") mainstay_p)")
		w.orderBy(segment{}, w.expr)
	}
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := make([]T, 0, min(limit, 1024))
	for rows.Next() {
		row, err := s.Scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	return list, s.load(ctx, list)
}

func (s SQLSource[T]) load(ctx context.Context, rows []T) error {
	if s.Load == nil || len(rows) == 0 {
		return nil
	}
	return s.Load(ctx, rows)
}

// Seek reads rows behind a position, with their sort keys as the statement returned them.
func (s SQLSource[T]) Seek(ctx context.Context, q Seek) (Batch[T], error) {
	size := min(q.Limit, 1024)
	return s.seekInto(ctx, Batch[T]{Rows: make([]T, 0, size), Keys: make([]Value, 0, size*len(q.Order.keys))}, q)
}

// seekInto appends to a batch, so that a long walk reuses its memory.
func (s SQLSource[T]) seekInto(ctx context.Context, batch Batch[T], q Seek) (Batch[T], error) {
	if s.Scan == nil {
		return Batch[T]{}, errNoScan
	}
	if q.Order.cache == nil {
		return Batch[T]{}, errors.New("keyset: Seek needs an Order made by NewOrder")
	}
	if len(q.After) != 0 && len(q.After) != len(q.Order.keys) || len(q.Until) != 0 && len(q.Until) != len(q.Order.keys) {
		return Batch[T]{}, errors.New("keyset: a position needs one value for each key of its order")
	}
	full, err := s.retried(ctx, batch, q)
	if err == nil && q.also == nil && len(full.Rows) < q.Limit {
		err = s.declared(ctx, q, full.Keys)
	}
	if err != nil {
		return Batch[T]{}, err
	}
	return full, s.load(ctx, full.Rows)
}

// retried reads a batch. It asks the database again if its tables have changed since it was
// asked. The last try shares no types with other requests, whose tenants may have other
// types. It reads rows also if the types of a driver contradict those of its database.
func (s SQLSource[T]) retried(ctx context.Context, batch Batch[T], q Seek) (full Batch[T], err error) {
	const tries = 3
	for i := range tries {
		if i == tries-1 {
			q.Order.cache = new(listCache)
		}
		c, failed := s.compile(ctx, q)
		if failed != nil {
			return full, failed
		}
		if full, err = s.fetch(ctx, batch, c, q, i < tries-1); err == nil || ctx.Err() != nil {
			return full, err
		}
		q.Order.cache.forget()
		dropped := s.Index == nil && c.index != "" && strings.Contains(err.Error(), c.index)
		if !dropped && !errors.Is(err, errChanged) {
			return full, err
		}
	}
	return full, err
}

var errChanged = errors.New("keyset: a sort key has another type than before")

// fetch runs a statement and reads its rows. typed compares the types of the sort keys.
func (s SQLSource[T]) fetch(ctx context.Context, batch Batch[T], c *compiled, q Seek, typed bool) (Batch[T], error) {
	if mark.Marked(ctx) {
		own, release, err := s.killable(ctx)
		if err != nil {
			return batch, err
		}
		defer release()
		s = own
	}
	rows, err := s.query(ctx, c, c.arguments(s.Base.Args, q))
	if err != nil {
		return batch, err
	}
	if !typed {
		return s.collect(rows, batch, len(s.Base.Columns), c.forms, c.taps, nil)
	}
	if c.hidden && c.changed(rows) {
		return batch, errors.Join(errChanged, rows.Close())
	}
	return s.collect(rows, batch, len(s.Base.Columns), c.forms, c.taps, c)
}

// collect appends the rows of a result to a batch, with the keys behind their columns. It
// compares the types of the first row with those of typed, if that is not nil.
func (s SQLSource[T]) collect(rows Rows, batch Batch[T], columns int, forms []form, taps []int, typed *compiled) (Batch[T], error) {
	defer rows.Close()
	row := newKeyedRow(rows, columns, forms, taps)
	batch.sql, batch.dialect = true, s.Dialect
	for rows.Next() {
		row.scanned = false
		item, err := s.Scan(row)
		if err == nil && !row.scanned {
			err = row.scanKeys()
		}
		if typed != nil && (err != nil || !typed.seen(row)) && typed.changed(rows) {
			err = errChanged
		}
		typed = nil
		if err != nil {
			return Batch[T]{}, err
		}
		batch.Rows = append(batch.Rows, item)
		for i := range row.keys {
			batch.Keys = append(batch.Keys, row.keys[i].value)
		}
	}
	return batch, errors.Join(rows.Err(), rows.Close())
}

var errNoScan = errors.New("keyset: SQLSource needs Scan")

func (s SQLSource[T]) run(ctx context.Context, query string, args []any) (Rows, error) {
	if s.Query != nil {
		return s.Query(ctx, query, args...)
	}
	if s.DB == nil {
		return nil, errors.New("keyset: SQLSource needs DB or Query")
	}
	return s.DB.QueryContext(ctx, query, args...) //nolint:rowserrcheck // the caller checks it
}
