// Command pagination-sqlx pages a list of sqlx: by number at /sales, by keyset at /feed.
//
//	go run ./examples/pagination-sqlx &
//	curl 'localhost:8080/sales?page=2&product=tea'
//	curl 'localhost:8080/feed?ordering=closed_at'
package main

import (
	"context"
	"log"
	"net/http"
	"slices"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64  `json:"id" db:"id"`
	Product   string `json:"product" db:"product"`
	CreatedAt int64  `json:"created_at" db:"created_at"`
	ClosedAt  *int64 `json:"closed_at" db:"closed_at"` // nil while the sale is open
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
		list.Where, list.Args = "product = ?", []any{product}
	}
	return list
}

func byNumber(db *sqlx.DB, r *http.Request) pagination.Source[Sale] {
	list := sales(r)
	where, args := "", list.Args
	if list.Where != "" {
		where = " WHERE " + list.Where
	}
	return pagination.Source[Sale]{
		ListFunc: func(ctx context.Context, limit int, offset int64) (rows []Sale, err error) {
			err = db.SelectContext(ctx, &rows, "SELECT * FROM sales"+where+
				" ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?", append(slices.Clip(args), limit, offset)...)
			return rows, err
		},
		CountFunc: func(ctx context.Context) (n int64, err error) {
			err = db.GetContext(ctx, &n, "SELECT COUNT(*) FROM sales"+where, args...)
			return n, err
		},
	}
}

func byPosition(db *sqlx.DB, r *http.Request) keyset.SeekerFunc[Sale] {
	return func(ctx context.Context, q keyset.Seek) (list []Sale, err error) {
		query, args, err := q.SQL(keyset.SQLite, sales(r))
		if err != nil {
			return nil, err
		}
		err = db.SelectContext(ctx, &list, query, args...)
		return list, err
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

// open makes a database in memory with sixty sales.
func open(ctx context.Context) (*sqlx.DB, error) {
	db, err := sqlx.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
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
