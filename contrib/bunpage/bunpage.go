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
//	page, err := sales.Paginate(r, sales.Source(db.NewSelect().Model((*Sale)(nil)).Where("product = ?", product)))
//
// Each page is one statement around the query, in the form that makes the best use of the
// database's indexes.
package bunpage

import (
	"fmt"
	"reflect"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/schema"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// List is a keyset of a model. It is safe for concurrent use.
type List[T any] struct {
	*keyset.Keyset[T]
	db      *bun.DB
	fields  []*schema.Field
	columns []string
	dialect keyset.Dialect
	initial keyset.Order
}

// New returns the list of a model. The words of the page tag are those of keyset.Model.
// Columns that are NOT NULL or part of the primary key in bun are never NULL. New runs no
// query.
func New[T any](db *bun.DB, resource string, preset pagination.Preset, cursors *keyset.Cursors, opts *keyset.Options) (*List[T], error) {
	l := &List[T]{db: db}
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
	table := db.Table(reflect.TypeFor[T]())
	var sorts []keyset.Column[T]
	for _, f := range table.Fields {
		column := "mainstay_q." + string(f.SQLName)
		l.columns, l.fields = append(l.columns, column), append(l.fields, f)
		c, sorted, err := keyset.SortColumn[T](f.Name, column, f.StructField)
		if err != nil {
			return nil, err
		}
		if sorted {
			c.Nullable = c.Nullable && !f.NotNull && !f.IsPK
			sorts = append(sorts, c)
		}
	}
	var err error
	if l.Keyset, err = keyset.New(resource, preset, cursors, sorts, opts); err != nil {
		return nil, err
	}
	l.initial, err = l.Order("")
	return l, err
}

// Source returns the rows of a query. The query must have no relations, order or limit. To
// read in a transaction, set DB of the source to the transaction.
func (l *List[T]) Source(q *bun.SelectQuery) keyset.SQLSource[T] {
	return keyset.SQLSource[T]{
		DB: l.db.DB, Dialect: l.dialect, Order: l.initial,
		Base: keyset.Base{Columns: l.columns, Query: q.String(), Literal: true},
		Scan: l.scan,
	}
}

// scan reads a row through the fields of bun, with their scanners.
func (l *List[T]) scan(r keyset.Scanner) (row T, err error) {
	values, dest := make([]any, len(l.fields)), make([]any, len(l.fields))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := r.Scan(dest...); err != nil {
		return row, err
	}
	v := reflect.ValueOf(&row).Elem()
	for i, f := range l.fields {
		if err := f.ScanValue(v, values[i]); err != nil {
			return row, fmt.Errorf("bunpage: column %s: %w", f.Name, err)
		}
	}
	return row, nil
}
