// Command pagination-pgx shows pagination of pgx queries, without database/sql: by page number
// at /sales, by keyset at /feed. It creates a table sales in the database of DATABASE_URL,
// which must not have one yet.
//
//	DATABASE_URL=postgres://localhost/shop go run ./examples/pagination-pgx &
//	curl 'localhost:8080/sales?page=2&product=tea'
//	curl 'localhost:8080/feed?ordering=closed_at'
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mainstay-go/mainstay/contrib/pgxpage"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64      `json:"id" db:"id" page:"sort,unique"`
	Product   string     `json:"product" db:"product"`
	CreatedAt time.Time  `json:"created_at" db:"created_at" page:"sort"`
	ClosedAt  *time.Time `json:"closed_at" db:"closed_at" page:"sort"` // nil while the sale is open
}

func main() {
	db, err := open(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	h, err := routes(db)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", h))
}

func routes(db *pgxpool.Pool) (http.Handler, error) {
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
		rows := keyset.Base{From: "sales"}
		if product := r.URL.Query().Get("product"); product != "" {
			rows.Where, rows.Args = "product = $1", []any{product}
		}
		source := pgxpage.Source(db, model, rows)
		source.Order = newest
		return source
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

// open creates a table with sixty sales.
func open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, schema)
	return pool, err
}

const schema = `
	CREATE TABLE sales (
		id         bigint      PRIMARY KEY,
		product    text        NOT NULL,
		created_at timestamptz NOT NULL,
		closed_at  timestamptz -- NULL while the sale is open
	);
	CREATE INDEX sales_created ON sales (created_at, id);
	CREATE INDEX sales_closed ON sales (closed_at, id);
	INSERT INTO sales
	SELECT i, CASE i % 3 WHEN 0 THEN 'tea' WHEN 1 THEN 'espresso' ELSE 'flat white' END,
		to_timestamp(1790000000 + i / 4 * 60), CASE WHEN i % 3 > 0 THEN to_timestamp(1790000000 + i % 7 * 60) END
	FROM generate_series(1, 60) AS s(i)`
