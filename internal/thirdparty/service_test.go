package thirdparty_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/ristrettocache"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// A service that uses all five packages, from its start to its end.
func Example_service() {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "shop.db"))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
		INSERT INTO products (name) VALUES ('apple'), ('bread'), ('cheese')`); err != nil {
		panic(err)
	}

	// In a service this is notify.NewEmailFromURL, and the logger is the service's own.
	mail := notify.Func(func(_ context.Context, m notify.Message) error { fmt.Println(m.Subject); return nil })
	quiet := slog.New(slog.DiscardHandler)

	nightly, watch, list := nightlyBackups(dir, db, mail, quiet)
	checks, err := health.New([]health.Check{
		health.Database("database", db, nil),
		health.Backups("backups", list, nil),
	}, &health.Options{Authorize: health.BearerToken("a long random token"), Logger: quiet})
	if err != nil {
		panic(err)
	}
	alerts, err := alert.New(checks, mail, &alert.Options{Store: alert.File(filepath.Join(dir, "alerts.json")), Logger: quiet})
	if err != nil {
		panic(err)
	}
	checks.AddNotices(alerts.Notices) // the status page shows incidents and silences,
	checks.SetAlerts(alerts.Alerts)   // and so does the JSON

	mux := http.NewServeMux()
	checks.Mount(mux)
	mux.Handle("/products/", limited(products(db)))
	server := httptest.NewServer(mux)

	// Everything in the background has one context and is waited for.
	background, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{nightly, watch, checks.Run, alerts.Run} {
		running.Go(func() {
			if err := run(background); err != nil {
				fmt.Println(err)
			}
		})
	}

	fmt.Println(get(server.URL + "/products/?page_size=2"))
	fmt.Println(get(server.URL + "/products/2"))

	// On SIGTERM: first the load balancer, then the requests, then the background.
	checks.Drain()
	fmt.Println(get(server.URL + "/ready/")) // wait about 5 s here
	server.Close()                           // http.Server.Shutdown in a service
	end()
	running.Wait()

	// Output:
	// 200 {"count":3,"total_pages":2,"current_page":1,"page_size":2,"next":"/products/?page=2&page_size=2","previous":null,"results":["apple","bread"]}
	// 200 bread
	// 503 {"status":"fail"}
}

// nightlyBackups returns what runs in the background, and the list for the health check.
func nightlyBackups(dir string, db *sql.DB, mail notify.Notifier, logger *slog.Logger) (
	nightly, watch func(context.Context) error, list func(context.Context) ([]health.Backup, error),
) {
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	if err != nil {
		panic(err)
	}
	job, err := backup.New("shop", sqlite.New(db), folder, &backup.Options{Logger: logger})
	if err != nil {
		panic(err)
	}
	notices, err := backupnotify.New("shop", mail, &backupnotify.Options{
		State:  filepath.Join(dir, "backups-told.json"), // not among the backups
		Status: job.Status,
	})
	if err != nil {
		panic(err)
	}
	at, err := schedule.NewDaily(2, 0, time.UTC)
	if err != nil {
		panic(err)
	}
	scheduler, err := schedule.New(at, func(ctx context.Context) error {
		report, err := job.Backup(ctx)
		if told := notices.Ran(ctx, report, err); told != nil {
			logger.Error("nobody was told of the backup", "error", told)
		}
		return err
	}, &schedule.Options{Logger: logger}) // LastGood, too: see the example of Scheduler
	if err != nil {
		panic(err)
	}
	watch = func(ctx context.Context) error { return notices.Watch(ctx, job) }
	list = func(ctx context.Context) ([]health.Backup, error) {
		entries, err := job.List(ctx)
		var good []health.Backup
		for _, e := range entries {
			if e.State == backup.Good {
				good = append(good, health.Backup{Time: e.Time(), Size: e.Manifest.Size, Verified: e.Verified, Restored: e.Restored()})
			}
		}
		return good, err
	}
	return scheduler.Run, watch, list
}

// limited allows each address 100 requests in any hour.
func limited(next http.Handler) http.Handler {
	limiter, err := ratelimit.NewMemory(ratelimit.API(), nil)
	if err != nil {
		panic(err)
	}
	address, err := ratelimit.ByIP(nil) // behind a proxy: TrustedProxies
	if err != nil {
		panic(err)
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address}}, nil)
	if err != nil {
		panic(err)
	}
	return limit.Wrap(next)
}

// products serves a list by pages, and single products out of a cache.
func products(db *sql.DB) http.Handler {
	store, err := ristrettocache.New(nil)
	if err != nil {
		panic(err)
	}
	names, err := cache.New[string](store, "products", 5*time.Minute, nil)
	if err != nil {
		panic(err)
	}
	order, err := keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "p.id", Unique: true})
	if err != nil {
		panic(err)
	}
	pages, err := pagination.NewPageNumber(pagination.Large, &pagination.PageNumberOptions{Links: &pagination.Links{Relative: true}})
	if err != nil {
		panic(err)
	}
	all := keyset.SQLSource[string]{
		DB: db, Dialect: keyset.SQLite, Order: order,
		Base: keyset.Base{Columns: []string{"p.name"}, From: "products p"},
		Scan: func(rows keyset.Scanner) (name string, err error) { return name, rows.Scan(&name) },
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{$}", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, pages, all)
		if err != nil {
			pagination.WriteError(w, err)
			return
		}
		_ = page.Write(w)
	})
	mux.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		name, err := names.GetOrLoad(r.Context(), id, func(ctx context.Context) (name string, err error) {
			err = db.QueryRowContext(ctx, "SELECT name FROM products WHERE id = ?", id).Scan(&name)
			if errors.Is(err, sql.ErrNoRows) {
				return "", cache.ErrNotFound // remembered for a while, so that it costs no query
			}
			return name, err
		})
		switch {
		case errors.Is(err, cache.ErrNotFound):
			http.NotFound(w, r)
		case err != nil:
			http.Error(w, "internal error", http.StatusInternalServerError)
		default:
			fmt.Fprint(w, name)
		}
	})
	return mux
}

func get(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body)))
}
