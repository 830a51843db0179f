package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// sales opens a SQLite database with n rows of about a hundred bytes.
func sales(ctx context.Context, dir string, n int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sales.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE sales (id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, note TEXT NOT NULL);
		INSERT INTO sales WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+strconv.Itoa(n)+`)
			SELECT i, i / 3, hex(randomblob(40)) FROM n;
		CREATE INDEX sales_created ON sales (created_at, id); ANALYZE`)
	return db, err
}

type sale struct {
	ID, Created int64
	Note        string
}

func pages(ctx context.Context, dir string, n int) (map[string]float64, error) {
	db, err := sales(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		return nil, err
	}
	list, err := keyset.New("sales", pagination.Preset{Size: 25, MaxSize: n}, cursors, []keyset.Column[sale]{
		{Name: "created_at", Expr: "created_at"}, {Name: "id", Expr: "id", Unique: true},
	}, &keyset.Options{Ordering: "created_at"})
	if err != nil {
		return nil, err
	}
	order, err := list.Order("")
	if err != nil {
		return nil, err
	}
	source := keyset.SQLSource[sale]{
		DB: db, Dialect: keyset.SQLite, Order: order, Base: keyset.Base{Columns: []string{"id", "created_at", "note"}, From: "sales"},
		Scan: func(row keyset.Scanner) (s sale, err error) { return s, row.Scan(&s.ID, &s.Created, &s.Note) },
	}
	read := func(query string) (*keyset.Page[sale], error) {
		return list.Paginate(httptest.NewRequestWithContext(ctx, http.MethodGet, "/sales?"+query, nil), source)
	}
	// One page that is as long as all before the last leads to the last.
	before, err := read("page_size=" + strconv.Itoa(n-25))
	if err != nil {
		return nil, err
	}
	next, err := url.Parse(string(before.Next))
	if err != nil {
		return nil, err
	}
	last := url.Values{"cursor": {next.Query().Get("cursor")}}.Encode()
	first, err := timed(func() error { _, err := read(""); return err })
	if err != nil {
		return nil, err
	}
	deep, err := timed(func() error { _, err := read(last); return err })
	if err != nil {
		return nil, err
	}
	offset, err := timed(func() error { _, err := source.List(ctx, 25, int64(n-25)); return err })
	return map[string]float64{"first page": first, "last page, keyset": deep, "last page, offset": offset}, err
}

// timed returns the microseconds of one call, the mean of at least 20.
func timed(f func() error) (float64, error) {
	start := time.Now()
	n := 0
	for ; n < 20 || time.Since(start) < 200*time.Millisecond; n++ {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / float64(n), nil
}

func backups(ctx context.Context, dir string, n int) (map[string]float64, error) {
	db, err := sales(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	if err != nil {
		return nil, err
	}
	job, err := backup.New("sales", sqlite.New(db), folder, &backup.Options{Logger: slog.New(slog.DiscardHandler), RestoreTest: backup.RestoreTestOptions{Every: -1}})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	report, err := job.Backup(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	start = time.Now()
	_, err = job.Restore(ctx, report.Manifest.ID, filepath.Join(dir, "restored.db"), nil)
	return map[string]float64{"backup": took.Seconds(), "restore": time.Since(start).Seconds()}, err
}

var calls = regexp.MustCompile(`(?m)^total_commands_processed:(\d+)`)

// instances counts the commands that Redis processes for each write while n stores receive invalidations. A store stands
// for a process.
func instances(ctx context.Context, dir string, n int) (map[string]float64, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	server := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("%w: install the Debian package redis-server", err)
	}
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	options := rediscache.ClientOptions("127.0.0.1:" + port)
	direct := redis.NewClient(options)
	defer func() { _ = direct.Close() }()
	for direct.Ping(ctx).Err() != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, n)
	var caches []*cache.Typed[int]
	for range n {
		client := redis.NewClient(options)
		defer func() { _ = client.Close() }()
		store, err := rediscache.New(client, &rediscache.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			stop()
			return nil, err
		}
		go func() { ended <- store.Run(running) }()
		values, err := cache.New[int](store, "scale", time.Hour, nil)
		if err != nil {
			stop()
			return nil, err
		}
		caches = append(caches, values)
	}
	if err := subscribed(ctx, direct, n); err != nil {
		stop()
		return nil, err
	}
	processed := func() (float64, error) {
		text, err := direct.Info(ctx, "stats").Result()
		if err != nil {
			return 0, err
		}
		found := calls.FindStringSubmatch(text)
		if found == nil {
			return 0, fmt.Errorf("the server reports no number of commands: %q", text)
		}
		return strconv.ParseFloat(found[1], 64)
	}
	before, err := processed()
	if err == nil {
		const writes = 2000
		for i := range writes {
			if err = caches[i%n].Set(ctx, strconv.Itoa(i), i); err != nil {
				break
			}
		}
		var after float64
		if err == nil {
			if after, err = processed(); err == nil {
				before = (after - before) / writes
			}
		}
	}
	stop()
	for range n {
		if ended := <-ended; err == nil {
			err = ended
		}
	}
	return map[string]float64{"commands a write": before}, err
}

// subscribed waits until n connections receive messages.
func subscribed(ctx context.Context, server *redis.Client, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		list, err := server.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
		if err != nil {
			return fmt.Errorf("waiting for %d subscribers: %w", n, err)
		}
		if strings.Count(list, "id=") >= n {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
