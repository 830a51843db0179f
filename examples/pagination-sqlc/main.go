// Command pagination-sqlc shows pagination of sqlc queries. /sales pages by number with a query
// that sqlc generated. /feed pages by keyset with a statement built for each position.
//
//	go run ./examples/pagination-sqlc &
//	curl 'localhost:8080/sales?page=2&product=tea'
//	curl 'localhost:8080/feed?ordering=closed_at'
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"log"
	"net/http"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/examples/pagination-sqlc/shop"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate

func main() {
	db, err := open(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	h, err := routes(db)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", h))
}

func routes(db *sql.DB) (http.Handler, error) {
	numbers, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		return nil, err
	}
	// A service with several replicas reads its keys from its settings.
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		return nil, err
	}
	model, err := keyset.NewModel[shop.Sale]("db", "") // sqlc.yaml has the tags
	if err != nil {
		return nil, err
	}
	feed, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, &keyset.Options{Ordering: "-created_at"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sales", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, numbers, pagination.Lister[shop.Sale](byNumber(db, r)))
		answer(w, page, err)
	})
	mux.HandleFunc("GET /feed", func(w http.ResponseWriter, r *http.Request) {
		page, err := feed.Paginate(r, byPosition(db, model, r))
		answer(w, page, err)
	})
	return mux, nil
}

// byNumber has a fixed order, so sqlc can generate its queries.
func byNumber(db *sql.DB, r *http.Request) pagination.Source[shop.Sale] {
	queries, product := shop.New(db), r.URL.Query().Get("product")
	return pagination.Source[shop.Sale]{
		ListFunc: func(ctx context.Context, limit int, offset int64) ([]shop.Sale, error) {
			return queries.SalesByNumber(ctx, shop.SalesByNumberParams{Product: product, PageSize: int64(limit), Skipped: offset})
		},
		CountFunc: func(ctx context.Context) (int64, error) { return queries.CountSales(ctx, product) },
	}
}

// byPosition needs a different statement for each order, direction and NULL, which sqlc cannot
// generate. It uses the generated row type.
func byPosition(db *sql.DB, model *keyset.Model[shop.Sale], r *http.Request) keyset.SQLSource[shop.Sale] {
	list := keyset.Base{Columns: model.Columns, From: "sales"}
	if product := r.URL.Query().Get("product"); product != "" {
		list.Where, list.Args = "product = ?", []any{product}
	}
	return keyset.SQLSource[shop.Sale]{DB: db, Dialect: keyset.SQLite, Base: list, Scan: model.Scan}
}

// page is a page of either list.
type page interface {
	Write(http.ResponseWriter) error
}

// answer writes a page, or the error of the request.
func answer(w http.ResponseWriter, p page, err error) {
	if err == nil {
		err = p.Write(w)
	}
	if err != nil {
		log.Print(err)
		pagination.WriteError(w, err)
	}
}

//go:embed schema.sql
var schema string

// open makes a database in memory with sixty sales.
func open(ctx context.Context) (*sql.DB, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // each connection would have its own memory
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	queries := shop.New(db)
	for i := range int64(60) {
		sale := shop.CreateSaleParams{ID: i + 1, Product: []string{"tea", "espresso", "flat white"}[(i+1)%3], CreatedAt: 1790000000 + (i+1)/4*60}
		if closed := 1790000000 + (i+1)%7*60; (i+1)%3 > 0 {
			sale.ClosedAt = &closed
		}
		if err := queries.CreateSale(ctx, sale); err != nil {
			return nil, err
		}
	}
	return db, nil
}
