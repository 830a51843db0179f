// Command pagination-sqlx shows pagination of sqlx queries: by page number at /sales, by keyset
// at /feed.
//
//	go run ./examples/pagination-sqlx &
//	curl 'localhost:8080/sales?page=2&product=tea'
//	curl 'localhost:8080/feed?ordering=closed_at'
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64  `json:"id" db:"id" page:"sort,unique"`
	Product   string `json:"product" db:"product"`
	CreatedAt int64  `json:"created_at" db:"created_at" page:"sort"`
	ClosedAt  *int64 `json:"closed_at" db:"closed_at" page:"sort"` // nil while the sale is open
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

func routes(db *sqlx.DB) (http.Handler, error) {
	numbers, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		return nil, err
	}
	// A service with several replicas reads its keys from its settings.
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		return nil, err
	}
	model, err := keyset.NewModel[Sale]("db", "")
	if err != nil {
		return nil, err
	}
	feed, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, &keyset.Options{Ordering: "-created_at"})
	if err != nil {
		return nil, err
	}
	newest, err := feed.Order("") // of the list by page number
	if err != nil {
		return nil, err
	}
	list := func(r *http.Request) keyset.SQLSource[Sale] {
		rows := keyset.Base{Columns: model.Columns, From: "sales"}
		if product := r.URL.Query().Get("product"); product != "" {
			rows.Where, rows.Args = "product = ?", []any{product}
		}
		return keyset.SQLSource[Sale]{DB: db, Dialect: keyset.SQLite, Base: rows, Scan: model.Scan, Order: newest}
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
func open(ctx context.Context) (*sqlx.DB, error) {
	db, err := sqlx.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // each connection would have its own memory
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, sixty)
	return db, err
}

const schema = `
	CREATE TABLE sales (
		id         INTEGER PRIMARY KEY,
		product    TEXT    NOT NULL,
		created_at INTEGER NOT NULL,
		closed_at  INTEGER -- NULL while the sale is open
	);
	CREATE INDEX sales_created ON sales (created_at, id);
	CREATE INDEX sales_closed ON sales (closed_at, id);`

const sixty = `
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
	INSERT INTO sales
	SELECT i, CASE i % 3 WHEN 0 THEN 'tea' WHEN 1 THEN 'espresso' ELSE 'flat white' END,
		1790000000 + i / 4 * 60, CASE WHEN i % 3 > 0 THEN 1790000000 + i % 7 * 60 END
	FROM n`
