// Package entpage pages the selectors of ent by keyset.
//
// The page tags of a struct declare the columns that clients may sort by. ent writes a
// struct tag with field.Time("created_at").StructTag(`json:"created_at" page:"sort"`). A
// struct of the service serves as well:
//
//	model, err := keyset.NewModel[Sale]("json", "")
//	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
//	page, err := sales.Paginate(r, entpage.Source(driver, model,
//		entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).Where(entsql.EQ("product", product))))
//
// Each page is one statement in the form that the indexes of the database answer best,
// around the statement of the selector.
package entpage

import (
	"context"
	"database/sql"
	"fmt"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Source returns the rows of a selector. Its order is dropped, and it must have no limit.
// The columns of the model are columns of its result. NULLs leave the fields that
// are no pointers at their zero value, as in ent. driver is the driver of the client, or a
// transaction of it. Set Order of the source for a list by page number.
func Source[T any](driver dialect.Driver, model *keyset.Model[T], s *entsql.Selector) keyset.SQLSource[T] {
	query, args := s.Clone().ClearOrder().Query()
	source := keyset.SQLSource[T]{
		Scan: model.Lenient().Scan,
		Base: keyset.Base{Columns: model.Columns, Query: query, Args: args},
		Query: func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
			if err := s.Err(); err != nil {
				return nil, err
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
	if d, ok := driver.(*entsql.Driver); ok && s.Err() == nil {
		if db, ok := d.ExecQuerier.(*sql.DB); ok { // without ent between, an export can kill its query on MariaDB
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
