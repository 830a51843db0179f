// Command pagination-pgx pages a list of pgx, without database/sql: by number at /sales, by
// keyset at /feed. It makes a table sales in the database that DATABASE_URL names, where
// there must be none.
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64      `json:"id"`
	Product   string     `json:"product"`
	CreatedAt time.Time  `json:"created_at"`
	ClosedAt  *time.Time `json:"closed_at"` // nil while the sale is open
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
	// A service with more than one replica reads its keys from its settings.
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		return nil, err
	}
	feed, err := keyset.New("sales", pagination.Standard, cursors, []keyset.Column[Sale]{
		{Name: "created_at", Expr: "created_at", Value: func(s Sale) any { return s.CreatedAt }},
		{Name: "closed_at", Expr: "closed_at", Nullable: true, Value: func(s Sale) any { return s.ClosedAt }},
		{Name: "id", Expr: "id", Unique: true, Value: func(s Sale) any { return s.ID }},
	}, &keyset.Options{Ordering: "-created_at"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sales", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, numbers, pagination.Lister[Sale](byNumber(db, r)))
		answer(w, page, err)
	})
	mux.HandleFunc("GET /feed", func(w http.ResponseWriter, r *http.Request) {
		page, err := feed.Paginate(r, byPosition(db, r))
		answer(w, page, err)
	})
	return mux, nil
}

// sales is the list that a request asks for, whatever its page.
func sales(r *http.Request) keyset.Base {
	list := keyset.Base{Columns: []string{"id", "product", "created_at", "closed_at"}, From: "sales"}
	if product := r.URL.Query().Get("product"); product != "" {
		list.Where, list.Args = "product = $1", []any{product}
	}
	return list
}

func byNumber(pool *pgxpool.Pool, r *http.Request) pagination.Source[Sale] {
	product := r.URL.Query().Get("product")
	return pagination.Source[Sale]{
		ListFunc: func(ctx context.Context, limit int, offset int64) ([]Sale, error) {
			rows, err := pool.Query(ctx, `SELECT * FROM sales WHERE $1 IN ('', product)
				ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3`, product, limit, offset)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowToStructByName[Sale])
		},
		CountFunc: func(ctx context.Context) (n int64, err error) {
			err = pool.QueryRow(ctx, "SELECT COUNT(*) FROM sales WHERE $1 IN ('', product)", product).Scan(&n)
			return n, err
		},
	}
}

func byPosition(pool *pgxpool.Pool, r *http.Request) keyset.SeekerFunc[Sale] {
	return func(ctx context.Context, q keyset.Seek) ([]Sale, error) {
		query, args, err := q.SQL(keyset.Postgres, sales(r))
		if err != nil {
			return nil, err
		}
		rows, err := pool.Query(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByName[Sale])
	}
}

// page is a page of either kind.
type page interface {
	Write(http.ResponseWriter) error
}

// answer writes a page, or what is wrong with the request.
func answer(w http.ResponseWriter, p page, err error) {
	if err == nil {
		err = p.Write(w)
	}
	if err != nil {
		log.Print(err)
		pagination.WriteError(w, err)
	}
}

// open makes a table with sixty sales.
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
