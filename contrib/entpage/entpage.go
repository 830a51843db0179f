// Package entpage pages the selectors of ent by keyset.
//
// The page tags of a struct declare the columns that clients may sort by. ent writes a
// struct tag with field.Time("created_at").StructTag(`json:"created_at" page:"sort"`). You
// can also use a separate struct of the service:
//
//	model, err := keyset.NewModel[Sale]("json", "")
//	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
//	page, err := sales.Paginate(r, entpage.Source(driver, model,
//		entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).Where(entsql.EQ("product", product))))
//
// Each page is one statement around the selector, in the form that makes the best use of
// the database's indexes.
package entpage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Source returns the rows of a selector. The result must have the columns of the model. A
// NULL leaves a field that is no pointer at its zero value, as in ent. driver is the driver
// of the client. For a transaction tx of that driver, it is
// entsql.NewDriver(driver.Dialect(), tx.(*entsql.Tx).Conn). For a list by page number, set
// Order of the source. The first page returns an error of the selector, and an error for a
// selector with an order, a limit or an offset. Make a new selector for each Source, because
// ent changes it when it writes its text.
//
// A selector is below the generated client. The client's interceptors, privacy rules, soft
// deletes and eager loading therefore do not apply: write their conditions into Where of
// the selector, and load edges in Load of the source.
func Source[T any](driver dialect.Driver, model *keyset.Model[T], s *entsql.Selector) keyset.SQLSource[T] {
	s.SetTotal(0) // arguments of an earlier text; a Clone loses WITH, UNION and ESCAPE
	query, args := s.Query()
	fault := s.Err()
	if fault == nil {
		fault = check(s)
	}
	source := keyset.SQLSource[T]{
		Scan: model.Lenient().Scan,
		Base: keyset.Base{Columns: model.Columns, Query: query, Args: args},
		Query: func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
			if fault != nil {
				return nil, fault
			}
			var rows entsql.Rows
			if args == nil {
				args = []any{}
			}
			if err := driver.Query(ctx, query, args, &rows); err != nil {
				return nil, err
			}
			return rows, nil
		},
	}
	if d, ok := driver.(*entsql.Driver); ok && fault == nil {
		if db, ok := d.ExecQuerier.(*sql.DB); ok { // with a direct connection, an export can kill its query on MariaDB
			source.DB, source.Query = db, nil
		}
	}
	switch d := driver.Dialect(); d {
	case dialect.Postgres:
		source.Dialect = keyset.Postgres
	case dialect.MySQL:
		source.Dialect = keyset.MySQL
	case dialect.SQLite:
		source.Dialect = keyset.SQLite
	default:
		source.Query = func(context.Context, string, ...any) (keyset.Rows, error) {
			return nil, fmt.Errorf("entpage: the dialect %q is not known; it knows postgres, mysql and sqlite3", d)
		}
	}
	return source
}

// check refuses a selector whose page would have other rows.
func check(s *entsql.Selector) error {
	v := reflect.ValueOf(s).Elem()
	order, limit, offset := v.FieldByName("order"), v.FieldByName("limit"), v.FieldByName("offset")
	switch {
	case !order.IsValid() || !limit.IsValid() || !offset.IsValid():
		return errors.New("entpage: this version of ent has no order, limit and offset in its selectors; use the version that entpage requires")
	case order.Len() > 0:
		return errors.New("entpage: the selector has an order; remove it, and set the order in keyset.Options.Ordering or in the request")
	case !limit.IsNil() || !offset.IsNil():
		return errors.New("entpage: the selector has a limit or an offset; remove it, because the page has its own, or select from a sub-query")
	}
	return nil
}
