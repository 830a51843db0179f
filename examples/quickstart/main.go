// Command quickstart is a small service with five packages in one file. It serves a list of
// products with a cache, pages, a rate limit, health checks and backups.
//
//	go run ./examples/quickstart
//	curl localhost:8080/products?page=2
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/mainstay-go/mainstay"
	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/ratelimit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "quickstart-data", "127.0.0.1:8080"); err != nil {
		slog.Error("stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, data, addr string) error {
	db, err := openDatabase(ctx, data)
	if err != nil {
		return err
	}
	defer db.Close()
	checks, nightly, handler, err := newService(db, data)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	slog.Info("serving", "address", "http://"+addr+"/products")
	// The parts stop in the reverse order: first /ready/ returns 503 and the server drains.
	return mainstay.Run(ctx, []mainstay.Part{
		{Name: "checks", Run: checks.Run},   // fresh results for /health/
		{Name: "backups", Run: nightly.Run}, // one backup a day
		mainstay.HTTP("api", server, &mainstay.HTTPOptions{Drain: checks.Drain}),
	}, nil)
}

// newService connects the five packages.
func newService(db *sql.DB, data string) (*health.Registry, *schedule.Scheduler, http.Handler, error) {
	// backup: dumps the database each night, and reads every dump back.
	folder, err := backup.NewFolder(data + "/backups")
	if err != nil {
		return nil, nil, nil, err
	}
	job, err := backup.New("shop", sqlite.New(db), folder, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	at, err := schedule.NewDaily(2, 0, time.Local)
	if err != nil {
		return nil, nil, nil, err
	}
	nightly, err := schedule.New(at, func(ctx context.Context) error {
		_, err := job.Backup(ctx)
		return err
	}, &schedule.Options{LastGood: job.LastGood}) // repeats a night that the process missed
	if err != nil {
		return nil, nil, nil, err
	}

	// health: /health/, /ready/ and /alive/.
	checks, err := health.New([]health.Check{health.Database("database", db, nil)}, nil)
	if err != nil {
		return nil, nil, nil, err
	}

	// cache: pages stay in memory for a minute. With Redis, pass its store instead of nil.
	pages, err := cache.New[[]Product](nil, "products", time.Minute, nil)
	if err != nil {
		return nil, nil, nil, err
	}

	// ratelimit: 100 requests an hour for each address.
	limiter, err := ratelimit.NewMemory(ratelimit.API(), nil)
	if err != nil {
		return nil, nil, nil, err
	}
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		return nil, nil, nil, err
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address}}, nil)
	if err != nil {
		return nil, nil, nil, err
	}

	// pagination: ?page= and ?page_size=, with links to the next and the previous page.
	pager, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		return nil, nil, nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET /products", limit.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, pager, products{db, pages})
		if err != nil {
			pagination.WriteError(w, err)
			return
		}
		if err := page.Write(w); err != nil {
			slog.Warn("a page was not written", "error", err)
		}
	})))
	mux.Handle("/", checks.Handler())
	return checks, nightly, mux, nil
}

// Product is a row of the list.
type Product struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Price int64  `json:"price"`
}

// products is the source of the pages.
type products struct {
	db    *sql.DB
	pages *cache.Typed[[]Product]
}

func (p products) Count(ctx context.Context) (n int64, err error) {
	err = p.db.QueryRowContext(ctx, "SELECT count(*) FROM products").Scan(&n)
	return n, err
}

// List reads a page through the cache.
func (p products) List(ctx context.Context, limit int, offset int64) ([]Product, error) {
	return p.pages.GetOrLoad(ctx, fmt.Sprintf("%d/%d", limit, offset), func(ctx context.Context) ([]Product, error) {
		rows, err := p.db.QueryContext(ctx, "SELECT id, name, price FROM products ORDER BY id LIMIT ? OFFSET ?", limit, offset)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		list := []Product{}
		for rows.Next() {
			var one Product
			if err := rows.Scan(&one.ID, &one.Name, &one.Price); err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, rows.Err()
	})
}

// openDatabase opens a database with a hundred products.
func openDatabase(ctx context.Context, data string) (*sql.DB, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+data+"/shop.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
		INSERT OR IGNORE INTO products WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
			SELECT i, 'Product ' || i, i * 10 FROM n`)
	return db, err
}
