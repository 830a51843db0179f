// Package bunpage pages lists of bun by keyset, and the same lists by page number.
//
// The query of bun selects the rows. The page tags of the model list the columns that
// clients may sort by:
//
//	type Sale struct {
//		ID        int64      `bun:",pk" page:"sort,unique"`
//		CreatedAt time.Time  `bun:",notnull" page:"sort"`
//		ClosedAt  *time.Time `page:"sort"`
//	}
//
//	sales, err := bunpage.New[Sale](db, "sales", pagination.Standard, cursors, nil)
//	page, err := sales.Paginate(r, sales.Source(r.Context(), db.NewSelect().Model((*Sale)(nil)).Where("product = ?", product)))
//
// Each page is one statement around the query, in the form that makes the best use of the
// database's indexes.
package bunpage

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/schema"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// List is a keyset of a model. It is safe for concurrent use.
type List[T any] struct {
	*keyset.Keyset[T]
	table   *schema.Table
	sorts   []string // the columns that clients may sort by
	dialect keyset.Dialect
	initial keyset.Order
}

// New returns the list of a model. The words of the page tag are those of keyset.Model.
// Columns that are notnull or part of the primary key in bun are never NULL. A nullzero field
// that is neither may be NULL. New runs no query.
func New[T any](db *bun.DB, resource string, preset pagination.Preset, cursors *keyset.Cursors, opts *keyset.Options) (*List[T], error) {
	if t := reflect.TypeFor[T](); t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("bunpage: New needs a struct, and %v is none", t)
	}
	l := &List[T]{table: db.Table(reflect.TypeFor[T]())}
	switch name := db.Dialect().Name(); name {
	case dialect.PG:
		l.dialect = keyset.Postgres
	case dialect.MySQL:
		l.dialect = keyset.MySQL
	case dialect.SQLite:
		l.dialect = keyset.SQLite
	case dialect.MSSQL:
		l.dialect = keyset.SQLServer
	case dialect.Oracle:
		l.dialect = keyset.Oracle
	default:
		return nil, fmt.Errorf("bunpage: the dialect %v is not known; it knows PostgreSQL, MySQL, SQLite, SQL Server and Oracle", name)
	}
	var sorts []keyset.Column[T]
	for _, f := range l.table.Fields {
		c, sorted, err := keyset.SortColumn[T](f.Name, column(f), f.StructField)
		if err != nil {
			return nil, err
		}
		if sorted {
			null := c.Nullable || f.NullZero || f.IndirectType == reflect.TypeFor[bun.NullTime]()
			c.Nullable = null && !f.NotNull && !f.IsPK
			sorts, l.sorts = append(sorts, c), append(l.sorts, f.Name)
		}
	}
	var err error
	if l.Keyset, err = keyset.New(resource, preset, cursors, sorts, opts); err != nil {
		return nil, err
	}
	l.initial, err = l.Order("")
	return l, err
}

// column is a field in the statement of a page, where the query is a table with the name
// mainstay_q.
func column(f *schema.Field) string { return "mainstay_q." + string(f.SQLName) }

// Source returns the rows of a query, for the request or the export of a context. A query
// of a transaction is read in that transaction. The first page returns an error of the
// query, and an error for a query with a relation, an order, a limit or an offset.
//
// Source and the rows run the hooks of the model with ctx: BeforeSelect and
// BeforeAppendModel, then BeforeScanRow and AfterScanRow for each row. Load of the source
// runs AfterSelect for the rows of a page: a Load of your own must call it. The query hooks
// of the database, such as those of bundebug, do not run.
func (l *List[T]) Source(ctx context.Context, q *bun.SelectQuery) keyset.SQLSource[T] {
	db := q.DB()
	source := keyset.SQLSource[T]{DB: db.DB, Dialect: l.dialect, Order: l.initial, Base: keyset.Base{Literal: true}}
	var fields []*schema.Field
	q, fields, err := l.prepare(ctx, q)
	var text []byte
	if err == nil {
		text, err = q.AppendQuery(db.QueryGen(), nil)
	}
	if err != nil {
		text, fields = []byte("SELECT 1"), l.table.Fields
		source.Query = func(context.Context, string, ...any) (keyset.Rows, error) { return nil, err }
	} else if conn := partsOf(q).conn(); conn != nil {
		source.DB = conn
	}
	source.Base.Query = string(text)
	for _, f := range fields {
		source.Base.Columns = append(source.Base.Columns, column(f))
	}
	source.Scan = func(r keyset.Scanner) (T, error) { return scan[T](ctx, l.table, fields, r) }
	if hook, ok := hookOf[bun.AfterSelectHook](q); ok && err == nil {
		source.Load = func(ctx context.Context, rows []T) error { return hook.AfterSelect(ctx, q.Clone().Model(&rows)) }
	}
	return source
}

// prepare runs the hooks before a query, and returns the fields of its result.
func (l *List[T]) prepare(ctx context.Context, q *bun.SelectQuery) (*bun.SelectQuery, []*schema.Field, error) {
	if hook, ok := hookOf[bun.BeforeSelectHook](q); ok {
		q = q.Clone()
		if err := hook.BeforeSelect(ctx, q); err != nil {
			return q, nil, err
		}
	}
	if hook, ok := q.GetModel().(schema.BeforeAppendModelHook); ok {
		if err := hook.BeforeAppendModel(ctx, q); err != nil {
			return q, nil, err
		}
	}
	p := partsOf(q)
	if fault := p.fault(); fault != "" {
		return q, nil, errors.New("bunpage: " + fault)
	}
	fields, whole := p.fields(l.table)
	if whole {
		return q, fields, nil
	}
	// A page sorts by columns of the result, also by those that the rows leave out.
	var missing []string
	for _, name := range l.sorts {
		if !slices.ContainsFunc(fields, func(f *schema.Field) bool { return f.Name == name }) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return q, fields, nil
	}
	if p.distinct() {
		return q, nil, fmt.Errorf("bunpage: the query is DISTINCT without the column %s, which clients may sort by; add the column, or page another model", missing[0])
	}
	return q.Clone().Column(missing...), fields, nil
}

// hookOf returns a hook of the model of a query.
func hookOf[H any](q *bun.SelectQuery) (hook H, ok bool) {
	if model, isTable := q.GetModel().(bun.TableModel); isTable {
		hook, ok = model.Table().ZeroIface.(H)
	}
	return hook, ok
}

// scan reads a row through the fields of bun, with their scanners and the hooks of the row.
func scan[T any](ctx context.Context, table *schema.Table, fields []*schema.Field, r keyset.Scanner) (row T, err error) {
	if table.HasBeforeScanRowHook() {
		if err := any(&row).(schema.BeforeScanRowHook).BeforeScanRow(ctx); err != nil {
			return row, err
		}
	}
	values, dest := make([]any, len(fields)), make([]any, len(fields))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := r.Scan(dest...); err != nil {
		return row, err
	}
	v := reflect.ValueOf(&row).Elem()
	for i, f := range fields {
		if err := f.ScanValue(v, values[i]); err != nil {
			return row, fmt.Errorf("bunpage: column %s: %w", f.Name, err)
		}
	}
	if table.HasAfterScanRowHook() {
		return row, any(&row).(schema.AfterScanRowHook).AfterScanRow(ctx)
	}
	return row, nil
}
