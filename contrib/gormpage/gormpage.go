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
// To tag a field of gorm.Model, declare it again beside gorm.Model.
//
// Each page is one statement around the chain, in the form that makes the best use of the
// database's indexes.
package gormpage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// List is a keyset of a model. It is safe for concurrent use.
type List[T any] struct {
	*keyset.Keyset[T]
	sorts   []string // the columns that clients may sort by
	dialect keyset.Dialect
	initial keyset.Order
}

// New returns the list of a model. The words of the page tag are those of keyset.Model.
// Columns that are NOT NULL or part of the primary key in gorm are never NULL. db provides
// the naming strategy and the dialect. New runs no query.
func New[T any](db *gorm.DB, resource string, preset pagination.Preset, cursors *keyset.Cursors, opts *keyset.Options) (*List[T], error) {
	if t := reflect.TypeFor[T](); t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("gormpage: New needs a struct, and %v is none", t)
	}
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
		c, sorted, err := keyset.SortColumn[T](f.DBName, column(db, f.DBName), f.StructField)
		if err != nil {
			return nil, err
		}
		if sorted {
			c.Nullable = c.Nullable && !f.NotNull && !f.PrimaryKey
			sorts, l.sorts = append(sorts, c), append(l.sorts, f.DBName)
		}
	}
	if l.Keyset, err = keyset.New(resource, preset, cursors, sorts, opts); err != nil {
		return nil, err
	}
	l.initial, err = l.Order("")
	return l, err
}

// column is a column in the statement of a page, where the chain is a table with the name
// mainstay_q.
func column(db *gorm.DB, name string) string { return "mainstay_q." + db.Statement.Quote(name) }

// Source returns the rows of a chain such as db.Where(…).Joins(…). Each page uses its own
// context. A chain in a transaction is read in that transaction. The first page returns an
// error of the chain, and an error for a chain with Order, Limit or Offset.
//
// The rows are those of Find: Joins fills an association, Select and Omit leave out fields,
// and scopes and soft deletes apply. Load of the source runs Preload and AfterFind for the
// rows of a page, with one statement for each preloaded relation: a Load of your own must
// call it. A callback that is registered behind gorm:query receives no rows.
func (l *List[T]) Source(chain *gorm.DB) keyset.SQLSource[T] {
	done, err := l.build(chain)
	statement := done.Statement
	columns, joined := results(statement)
	fields := make([]*schema.Field, len(columns))
	source := keyset.SQLSource[T]{
		Dialect: l.dialect, Order: l.initial,
		Base: keyset.Base{Query: statement.SQL.String(), Args: statement.Vars},
		DB:   newQueries(chain, done, err),
		Scan: func(r keyset.Scanner) (T, error) { return scan[T](chain, fields, r) },
	}
	for i, name := range columns {
		source.Base.Columns = append(source.Base.Columns, column(chain, name))
		if !joined {
			fields[i] = statement.Schema.LookUpField(name)
		}
	}
	if joined {
		source.Scan = func(r keyset.Scanner) (T, error) { return scanJoined[T](chain, statement, columns, r) }
	}
	if statement.Schema != nil && (len(statement.Preloads) > 0 || statement.Schema.AfterFind) {
		source.Load = func(ctx context.Context, rows []T) error {
			tx := rowsOf(chain.WithContext(ctx), statement, &rows)
			tx.Statement.Preloads, tx.RowsAffected = statement.Preloads, int64(len(rows))
			callbacks.Preload(tx)
			callbacks.AfterQuery(tx)
			return tx.Error
		}
	}
	return source
}

// build writes the statement of a chain without running it.
func (l *List[T]) build(chain *gorm.DB) (*gorm.DB, error) {
	find := func(change func(*gorm.Statement)) *gorm.DB {
		dry := chain.Session(&gorm.Session{DryRun: true, Logger: chain.Logger}).Model(new(T))
		change(dry.Statement)
		return dry.Find(new([]T))
	}
	done := find(func(*gorm.Statement) {})
	if done.Error != nil {
		return done, done.Error
	}
	if order, ok := done.Statement.Clauses["ORDER BY"].Expression.(clause.OrderBy); ok && (len(order.Columns) > 0 || order.Expression != nil) {
		return done, errors.New("gormpage: the chain has Order; remove it, and set the order in keyset.Options.Ordering or in the request")
	}
	if limit, ok := done.Statement.Clauses["LIMIT"].Expression.(clause.Limit); ok && (limit.Limit != nil && *limit.Limit >= 0 || limit.Offset > 0) {
		return done, errors.New("gormpage: the chain has Limit or Offset; remove it, because the page has its own, or write it into a sub-query in Table")
	}
	// A page sorts by columns of the result, also by those that the rows leave out.
	columns, _ := results(done.Statement)
	var missing []string
	for _, name := range l.sorts {
		if !slices.Contains(columns, name) {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == 0:
		return done, nil
	case done.Statement.Distinct:
		return done, fmt.Errorf("gormpage: the chain has Distinct without the column %s, which clients may sort by; add the column, or page another model", missing[0])
	}
	wider := find(func(s *gorm.Statement) {
		if len(s.Selects) > 0 {
			s.Selects = slices.Concat(s.Selects, missing)
		}
		s.Omits = slices.DeleteFunc(slices.Clone(s.Omits), func(name string) bool {
			f := done.Statement.Schema.LookUpField(name)
			return f != nil && slices.Contains(missing, f.DBName)
		})
	})
	done.Statement.SQL, done.Statement.Vars = wider.Statement.SQL, wider.Statement.Vars
	return done, wider.Error
}

// results returns the columns of a statement's result, and whether some of them belong to a
// joined association. A text that is no list of fields may stand for all columns, such as
// "sales.*". The database reports one that is missing.
func results(s *gorm.Statement) (columns []string, joined bool) {
	fields := readable(s.Schema)
	add := func(name string) {
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	all := func() {
		for _, f := range fields {
			add(f.DBName)
		}
	}
	list, _ := s.Clauses["SELECT"].Expression.(clause.Select)
	if len(list.Columns) == 0 {
		all()
	}
	for _, c := range list.Columns {
		switch {
		case c.Raw:
			names, ok := textNames(c.Name)
			if !ok || slices.ContainsFunc(names, func(name string) bool {
				return !slices.ContainsFunc(fields, func(f *schema.Field) bool { return f.DBName == name })
			}) {
				all()
				continue
			}
			for _, name := range names {
				add(name)
			}
		case c.Alias != "":
			joined = true
			add(c.Alias)
		case slices.ContainsFunc(fields, func(f *schema.Field) bool { return f.DBName == c.Name }):
			add(c.Name)
		}
	}
	return columns, joined
}

// resultName is a column of a text: a name with its qualifiers, or with AS.
var resultName = regexp.MustCompile("(?i)^\\s*(?:[\\w.\"`\\[\\]]+\\s+AS\\s+)?(?:[\\w\"`\\[\\]]+\\.)*[\"`\\[]?(\\w+)[\"`\\]]?\\s*$")

// textNames returns the names of the columns of a text such as "id, secret AS extra", or
// false for a text with anything else.
func textNames(text string) (names []string, ok bool) {
	for column := range strings.SplitSeq(text, ",") {
		found := resultName.FindStringSubmatch(column)
		if found == nil {
			return nil, false
		}
		names = append(names, found[1])
	}
	return names, true
}

// rowsOf returns a session whose statement is about rows that have been read.
func rowsOf(chain *gorm.DB, statement *gorm.Statement, rows any) *gorm.DB {
	tx := chain.Session(&gorm.Session{NewDB: true, SkipHooks: statement.SkipHooks}).Model(rows)
	s := tx.Statement
	s.Dest, s.ReflectValue, s.Schema, s.Table = rows, reflect.ValueOf(rows).Elem(), statement.Schema, statement.Table
	s.Joins, s.Unscoped = statement.Joins, statement.Unscoped
	return tx
}

// queries runs the statements of a source with the logger of gorm.
type queries struct {
	chain, done *gorm.DB
	fault       error
}

// QueryContext implements keyset.Queryer.
func (q queries) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if q.fault != nil {
		return nil, q.fault
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
	if p.fault != nil {
		return nil, p.fault
	}
	return p.db.Conn(ctx)
}

func newQueries(chain, done *gorm.DB, fault error) keyset.Queryer {
	q := queries{chain, done, fault}
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

// scanJoined reads a row with its joined associations, as Find does.
func scanJoined[T any](db *gorm.DB, statement *gorm.Statement, columns []string, r keyset.Scanner) (row T, err error) {
	tx := rowsOf(db, statement, &row)
	gorm.Scan(&oneRow{Scanner: r, columns: columns}, tx, 0)
	return row, tx.Error
}

// oneRow is a result of one row.
type oneRow struct {
	keyset.Scanner
	columns []string
	read    bool
}

func (r *oneRow) Columns() ([]string, error) { return slices.Clone(r.columns), nil }

func (r *oneRow) ColumnTypes() ([]*sql.ColumnType, error) { return nil, nil }

func (r *oneRow) Next() bool {
	next := !r.read
	r.read = true
	return next
}

func (r *oneRow) Err() error   { return nil }
func (r *oneRow) Close() error { return nil }
