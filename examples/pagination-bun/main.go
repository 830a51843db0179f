// Command pagination-bun shows pagination of bun queries: by page number at /sales, by keyset
// at /feed.
//
//	go run ./examples/pagination-bun &
//	curl 'localhost:8080/sales?page=2&product=tea'
//	curl 'localhost:8080/feed?ordering=closed_at'
package main

import (
	"context"
	"database/sql"
	"log"
	"net/http"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/contrib/bunpage"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64  `json:"id" bun:",pk" page:"sort,unique"`
	Product   string `json:"product" bun:",notnull"`
	CreatedAt int64  `json:"created_at" bun:",notnull" page:"sort"`
	ClosedAt  *int64 `json:"closed_at" page:"sort"` // nil while the sale is open
}

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

func routes(db *bun.DB) (http.Handler, error) {
	numbers, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		return nil, err
	}
	// A service with several replicas reads its keys from its settings.
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		return nil, err
	}
	feed, err := bunpage.New[Sale](db, "sales", pagination.Standard, cursors, &keyset.Options{Ordering: "-created_at"})
	if err != nil {
		return nil, err
	}
	list := func(r *http.Request) keyset.SQLSource[Sale] {
		rows := db.NewSelect().Model((*Sale)(nil))
		if product := r.URL.Query().Get("product"); product != "" {
			rows = rows.Where("product = ?", product)
		}
		return feed.Source(r.Context(), rows)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sales", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, numbers, list(r))
		answer(w, page, err)
	})
	mux.HandleFunc("GET /feed", func(w http.ResponseWriter, r *http.Request) {
		page, err := feed.Paginate(r, list(r))
		answer(w, page, err)
	})
	return mux, nil
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

// open makes a database in memory with sixty sales.
func open(ctx context.Context) (*bun.DB, error) {
	pool, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1) // each connection would have its own memory
	db := bun.NewDB(pool, sqlitedialect.New())
	if _, err := db.NewCreateTable().Model((*Sale)(nil)).Exec(ctx); err != nil {
		return nil, err
	}
	products := [...]string{"tea", "espresso", "flat white"}
	list := make([]Sale, 60)
	for i := range list {
		n := int64(i + 1)
		list[i] = Sale{ID: n, Product: products[n%3], CreatedAt: 1_790_000_000 + n/4*60}
		if closed := 1_790_000_000 + n%7*60; n%3 > 0 {
			list[i].ClosedAt = &closed
		}
	}
	_, err = db.NewInsert().Model(&list).Exec(ctx)
	return db, err
}
