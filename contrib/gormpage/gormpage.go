// Package gormpage pages lists of gorm by keyset, and the same lists by page number.
//
// The chain of gorm selects the rows. The page tags of the model list the columns that
// clients may sort by:
//
//	type Sale struct {
//		ID        int64      `gorm:"primaryKey" page:"sort,unique"`
//		CreatedAt time.Time  `page:"sort"`
//		ClosedAt  *time.Time `page:"sort"`
//	}
//
//	sales, err := gormpage.New[Sale](db, "sales", pagination.Standard, cursors, nil)
//	page, err := sales.Paginate(r, sales.Source(db.Where("product = ?", product)))
//
// Each page is one statement around the chain, in the form that makes the best use of the
// database's indexes.
package gormpage

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/schema"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// List is a keyset of a model. It is safe for concurrent use.
type List[T any] struct {
	*keyset.Keyset[T]
	columns []string
	dialect keyset.Dialect
	initial keyset.Order
}

// New returns the list of a model. The words of the page tag are those of keyset.Model.
// Columns that are NOT NULL or part of the primary key in gorm are never NULL. db provides
// the naming strategy and the dialect. New runs no query.
func New[T any](db *gorm.DB, resource string, preset pagination.Preset, cursors *keyset.Cursors, opts *keyset.Options) (*List[T], error) {
	parsed, err := schema.Parse(new(T), &sync.Map{}, db.NamingStrategy)
	if err != nil {
		return nil, fmt.Errorf("gormpage: %w", err)
	}
	l := &List[T]{}
	switch name := db.Name(); name {
	case "postgres":
		l.dialect = keyset.Postgres
	case "mysql":
		l.dialect = keyset.MySQL
	case "sqlite":
		l.dialect = keyset.SQLite
	case "sqlserver":
		l.dialect = keyset.SQLServer
	default:
		return nil, fmt.Errorf("gormpage: the dialect %q is not known; it knows postgres, mysql, sqlite and sqlserver", name)
	}
	var sorts []keyset.Column[T]
	for _, f := range readable(parsed) {
		column := parsed.Table + "." + f.DBName
		l.columns = append(l.columns, column)
		c, sorted, err := keyset.SortColumn[T](f.DBName, column, f.StructField)
		if err != nil {
			return nil, err
		}
		if sorted {
			c.Nullable = c.Nullable && !f.NotNull && !f.PrimaryKey
			sorts = append(sorts, c)
		}
	}
	// The statement of the chain becomes a table with the name mainstay_q.
	for i := range l.columns {
		l.columns[i] = "mainstay_q" + l.columns[i][len(parsed.Table):]
	}
	for i := range sorts {
		sorts[i].Expr = "mainstay_q" + sorts[i].Expr[len(parsed.Table):]
	}
	if l.Keyset, err = keyset.New(resource, preset, cursors, sorts, opts); err != nil {
		return nil, err
	}
	l.initial, err = l.Order("")
	return l, err
}

// Source returns the rows of a chain such as db.Where(…).Joins(…). It ignores order, limit
// and offset of the chain. Preload works, with one statement for each relation of a page.
// Each page uses its own context. A chain in a transaction is read in that transaction. The
// first page returns an error of the chain.
func (l *List[T]) Source(chain *gorm.DB) keyset.SQLSource[T] {
	preloads := chain.Statement.Preloads
	dry := chain.Session(&gorm.Session{DryRun: true, Logger: chain.Logger}).Model(new(T))
	dry.Statement.Preloads = nil
	for _, name := range []string{"ORDER BY", "LIMIT"} {
		delete(dry.Statement.Clauses, name)
	}
	done := dry.Find(new([]T))
	statement := done.Statement
	fields := readable(statement.Schema)
	source := keyset.SQLSource[T]{
		Dialect: l.dialect, Order: l.initial,
		Base: keyset.Base{Columns: l.columns, Query: statement.SQL.String(), Args: statement.Vars},
		DB:   newQueries(chain, done),
		Scan: func(r keyset.Scanner) (T, error) { return scan[T](chain, fields, r) },
	}
	if len(preloads) > 0 {
		source.Load = func(ctx context.Context, rows []T) error {
			tx := chain.Session(&gorm.Session{NewDB: true, Context: ctx}).Model(&rows)
			tx.Statement.Dest, tx.Statement.ReflectValue = &rows, reflect.ValueOf(&rows).Elem()
			tx.Statement.Preloads = preloads
			if err := tx.Statement.Parse(&rows); err != nil {
				return err
			}
			callbacks.Preload(tx)
			return tx.Error
		}
	}
	return source
}

// queries runs the statements of a source with the logger of gorm.
type queries struct{ chain, done *gorm.DB }

// QueryContext implements keyset.Queryer.
func (q queries) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if q.done.Error != nil {
		return nil, q.done.Error
	}
	begin := time.Now()
	rows, err := q.done.Statement.ConnPool.QueryContext(ctx, query, args...)
	q.chain.Logger.Trace(ctx, begin, func() (string, int64) { return q.chain.Explain(query, args...), -1 }, err)
	return rows, err
}

// pooled runs the queries of a chain outside of a transaction.
type pooled struct {
	queries
	db *sql.DB
}

// Conn lets an export kill its query on MariaDB and MySQL.
func (p pooled) Conn(ctx context.Context) (*sql.Conn, error) {
	if p.done.Error != nil {
		return nil, p.done.Error
	}
	return p.db.Conn(ctx)
}

func newQueries(chain, done *gorm.DB) keyset.Queryer {
	q := queries{chain: chain, done: done}
	if _, tx := done.Statement.ConnPool.(gorm.TxCommitter); tx {
		return q
	}
	if db, err := chain.DB(); err == nil {
		return pooled{q, db}
	}
	return q
}

// readable returns the fields with a column, or none for a chain without a schema.
func readable(s *schema.Schema) (fields []*schema.Field) {
	if s == nil {
		return nil
	}
	for _, f := range s.Fields {
		if f.DBName != "" && f.Readable {
			fields = append(fields, f)
		}
	}
	return fields
}

// scan reads a row through the fields of gorm, with their serializers.
func scan[T any](db *gorm.DB, fields []*schema.Field, r keyset.Scanner) (row T, err error) {
	dest := make([]any, len(fields))
	for i, f := range fields {
		dest[i] = f.NewValuePool.Get()
	}
	if err := r.Scan(dest...); err != nil {
		return row, err
	}
	v := reflect.ValueOf(&row).Elem()
	for i, f := range fields {
		if err := f.Set(db.Statement.Context, v, dest[i]); err != nil {
			return row, err
		}
		f.NewValuePool.Put(dest[i])
	}
	return row, nil
}
