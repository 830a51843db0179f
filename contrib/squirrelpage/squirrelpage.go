// Package squirrelpage pages the statements of squirrel by keyset.
//
// The tags of a struct declare the columns, see keyset.Model:
//
//	model, err := keyset.NewModel[Sale]("db", "")
//	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
//	page, err := sales.Paginate(r, squirrelpage.Source(db, keyset.Postgres, model,
//		squirrel.Select("*").From("sales").Where(squirrel.Eq{"product": product})))
//
// Each page is one statement around the builder, in the form that makes the best use of the
// database's indexes.
package squirrelpage

import (
	"context"
	"errors"

	"github.com/Masterminds/squirrel"
	"github.com/lann/builder"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Source returns the rows of a builder. The result must have the columns of the model. For a
// list by page number, set Order of the source. The first page returns an error of the
// builder, and an error for a builder with an order, a limit or an offset.
func Source[T any](db keyset.Queryer, d keyset.Dialect, model *keyset.Model[T], q squirrel.SelectBuilder) keyset.SQLSource[T] {
	text, args, err := q.PlaceholderFormat(squirrel.Question).ToSql()
	for part, advice := range map[string]string{
		"OrderByParts": "an order; remove it, and set the order in keyset.Options.Ordering or in the request",
		"Limit":        "a limit; remove it, because the page has its own, or select from a sub-query",
		"Offset":       "an offset; remove it, because the page has its own, or select from a sub-query",
	} {
		if _, ok := builder.Get(q, part); ok && err == nil {
			err = errors.New("squirrelpage: the builder has " + advice)
		}
	}
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
