// Package squirrelpage pages the statements of squirrel by keyset.
//
// The tags of a struct declare the columns, see keyset.Model:
//
//	model, err := keyset.NewModel[Sale]("db", "")
//	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
//	page, err := sales.Paginate(r, squirrelpage.Source(db, keyset.Postgres, model,
//		squirrel.Select("*").From("sales").Where(squirrel.Eq{"product": product})))
//
// Each page is one statement in the form that the indexes of the database answer best,
// around the statement of the builder.
package squirrelpage

import (
	"context"

	"github.com/Masterminds/squirrel"
	"github.com/lann/builder"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Source returns the rows of a builder without its order, limit and offset, which are
// dropped. The columns of the model are columns of its result. Set Order of the source for
// a list by page number. A fault of the builder is the error of the first page.
func Source[T any](db keyset.Queryer, d keyset.Dialect, model *keyset.Model[T], q squirrel.SelectBuilder) keyset.SQLSource[T] {
	text, args, err := builder.Delete(q.RemoveLimit().RemoveOffset(), "OrderByParts").(squirrel.SelectBuilder).PlaceholderFormat(squirrel.Question).ToSql()
	source := keyset.SQLSource[T]{
		DB: db, Dialect: d, Scan: model.Scan,
		Base: keyset.Base{Columns: model.Columns, Query: text, Args: args},
	}
	if err != nil {
		source.Base = keyset.Base{Columns: model.Columns, From: "nothing"}
		source.Query = func(context.Context, string, ...any) (keyset.Rows, error) { return nil, err }
	}
	return source
}
