package testserver_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestMariaDBLifecycle(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "shop")
	exerciseDatabase(t, &server.Process, "mysql", server.DSN("shop"))
	if got := server.Exec(t, "SELECT count(*), 'x' FROM shop.t"); got != "1\tx\n" {
		t.Fatalf("Exec returned %q", got)
	}
}

func TestPostgresLifecycle(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t, "-c", "max_connections=7")
	server.CreateDatabase(t, "shop")
	exerciseDatabase(t, &server.Process, "pgx", server.DSN("shop"))
	if got := server.Exec(t, "shop", "SELECT count(*), 'x' FROM t"); got != "1\tx\n" {
		t.Fatalf("Exec returned %q", got)
	}
	if got := strings.TrimSpace(server.Exec(t, "", "SHOW max_connections")); got != "7" {
		t.Fatalf("the server's arguments were lost: max_connections is %s", got)
	}
}

// exerciseDatabase stops, kills and pauses a server between queries of a pool.
func exerciseDatabase(t *testing.T, server *testserver.Process, driver, dsn string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (id INT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	// The servers confirm a commit before their logs are on the disk.
	if _, err := db.Exec(map[string]string{"mysql": "FLUSH ENGINE LOGS", "pgx": "CHECKPOINT"}[driver]); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(){"stop": server.Stop, "kill": server.Kill} {
		end()
		if err := db.Ping(); err == nil {
			t.Fatalf("after %s the server answers", name)
		}
		server.Restart()
		var n int
		if err := db.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
			t.Fatalf("after %s and restart: %d rows, %v", name, n, err)
		}
	}
	server.Pause()
	answered := make(chan error, 1)
	go func() {
		var n int
		answered <- db.QueryRow("SELECT count(*) FROM t").Scan(&n)
	}()
	select {
	case err := <-answered:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	server.Continue()
	if err := <-answered; err != nil {
		t.Fatalf("after a pause: %v", err)
	}
}
