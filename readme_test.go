package mainstay_test

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/hostcheck"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// The functions below contain the README's examples. TestReadmeCompiles compares them.

type Product struct{ Name string }

type queries struct{}

func (queries) Product(context.Context, int64) (Product, error) { return Product{}, nil }
func (queries) Products(ctx context.Context, limit int, offset int64) ([]Product, error) {
	return nil, ctx.Err()
}
func (queries) CountProducts(context.Context) (int64, error) { return 0, nil }

func readmeCache(ctx context.Context, db queries) (Product, error) {
	products, err := cache.New[Product](nil, "products", 5*time.Minute, nil) // nil: this process; or a rediscache.Store
	if err != nil {
		return Product{}, err
	}
	// If many callers miss at once, one load runs. After Delete, no caller receives an older value.
	return products.GetOrLoad(ctx, "42", func(ctx context.Context) (Product, error) {
		return db.Product(ctx, 42)
	})
}

func readmeRatelimit(mux *http.ServeMux, secret []byte, login http.Handler) error {
	guard, err := loginguard.New(secret, nil) // 5 failures in any hour from one address, not 9
	if err != nil {
		return err
	}
	mux.Handle("POST /login/", guard.Wrap(login)) // login calls Succeed after the right password
	return nil
}

func readmeHealth(ctx context.Context, mux *http.ServeMux, db *sql.DB) error {
	checks, err := health.New([]health.Check{
		health.Database("database", db, nil),
		hostcheck.Disk("disk", "/var/lib/shop", nil),
		hostcheck.Memory("memory", nil),
	}, &health.Options{Authorize: health.BearerToken(os.Getenv("OPS_TOKEN"))})
	if err != nil {
		return err
	}
	checks.Mount(mux) // /health/, /ready/, /alive/ and /status/, a page
	return checks.Run(ctx)
}

func readmeBackup(ctx context.Context, db *sql.DB) error {
	folder, err := backup.NewFolder("/var/backups/shop")
	if err != nil {
		return err
	}
	job, err := backup.New("shop", sqlite.New(db), folder, nil) // 30 days, zstd
	if err != nil {
		return err
	}
	_, err = job.Backup(ctx) // dumps, checks, publishes and reads back, and only then deletes old backups
	return err
}

func readmePagination(mux *http.ServeMux, db queries) error {
	pages, err := pagination.NewPageNumber(pagination.Large, nil) // 50 rows, at most 200
	if err != nil {
		return err
	}
	mux.HandleFunc("GET /products/", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, pages, pagination.Source[Product]{ListFunc: db.Products, CountFunc: db.CountProducts})
		if err != nil {
			pagination.WriteError(w, err)
			return
		}
		page.Write(w)
	})
	return nil
}

var _ = []any{readmeCache, readmeRatelimit, readmeHealth, readmeBackup, readmePagination}

// TestReadmeCompiles finds each line of the README's examples in this file, which the
// compiler reads. An example has at most 12 lines.
func TestReadmeCompiles(t *testing.T) {
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	compiled := make(map[string]bool)
	for line := range strings.Lines(string(source)) {
		compiled[strings.TrimSpace(line)] = true
	}
	blocks := strings.Split(strings.ReplaceAll(string(readme), "\r\n", "\n"), "```go\n")[1:]
	if len(blocks) != 5 {
		t.Errorf("the README has %d examples", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if lines := strings.Count(code, "\n"); lines > 12 {
			t.Errorf("this example of the README has %d lines: %s", lines, code)
		}
		for line := range strings.Lines(code) {
			if line = strings.TrimSpace(line); !compiled[line] {
				t.Errorf("this line of the README is not compiled: %s", line)
			}
		}
	}
}
