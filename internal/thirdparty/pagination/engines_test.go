package pagination_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// engine is a database that statements are tried on.
type engine struct {
	name    string
	dialect keyset.Dialect
	open    func(testing.TB) *sql.DB
}

var engines = []engine{
	{"SQLite", keyset.SQLite, openSQLite},
	{"MariaDB", keyset.MySQL, openMariaDB},
	{"PostgreSQL", keyset.Postgres, openPostgres},
}

// TestEngines runs what depends on the database, on one server of each kind.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			createWalkTable(t, db, e.dialect)
			createSalesTable(t, db, e.dialect)
			t.Run("walks", func(t *testing.T) { testWalks(t, e, db) })
			t.Run("plans", func(t *testing.T) { testPlans(t, e, db) })
			t.Run("counts", func(t *testing.T) { testCounts(t, e, db) })
			t.Run("all", func(t *testing.T) { testAll(t, e, db) })
		})
	}
}

func openSQLite(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+"?_pragma=journal_mode(WAL)&_time_format=sqlite")
}

func openMariaDB(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, "mysql", newMariaDB(t)+"&interpolateParams=true")
}

func openPostgres(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, "pgx", newPostgres(t))
}

// Most tests share the servers, and each has its own database.
var (
	mariadb   = testserver.Share(testserver.MariaDB)
	postgres  = testserver.Share(testserver.Postgres)
	databases atomic.Int64
)

// newMariaDB returns the data source name of a new database.
func newMariaDB(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("pagination", databases.Add(1))
	mariadb.Get(t).CreateDatabase(t, name)
	return mariadb.Get(t).DSN(name)
}

func newPostgres(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("pagination", databases.Add(1))
	postgres.Get(t).CreateDatabase(t, name)
	return postgres.Get(t).DSN(name)
}

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	require.NoError(t, db.Ping())
	return db
}

// createWalkTable makes the table of the walks.
func createWalkTable(t testing.TB, db *sql.DB, dialect keyset.Dialect) {
	t.Helper()
	types := map[keyset.Dialect][2]string{
		keyset.SQLite:   {"REAL", "TIMESTAMP"},
		keyset.MySQL:    {"DOUBLE", "DATETIME(6)"},
		keyset.Postgres: {"DOUBLE PRECISION", "TIMESTAMP"},
	}[dialect]
	_, err := db.Exec(strings.NewReplacer("FLOATING", types[0], "MOMENT", types[1]).Replace(
		`CREATE TABLE walk (id BIGINT PRIMARY KEY, num BIGINT, name VARCHAR(20), share FLOATING,
			at_time MOMENT NULL, rank_no INTEGER NOT NULL, day_time MOMENT NOT NULL)`))
	require.NoError(t, err)
	fillWalkTable(t, db, dialect)
}

// salesRows is enough for a wrong plan to be chosen against.
const salesRows = 20_000

// createSalesTable makes a table with an index for each of the orders that the plans are
// proven for. A third of closed_at is NULL, at random places. Only the test tells the
// planner what is in the table.
func createSalesTable(t testing.TB, db *sql.DB, dialect keyset.Dialect) {
	t.Helper()
	series := map[keyset.Dialect]string{
		keyset.SQLite:   "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n) s",
		keyset.MySQL:    "(SELECT seq AS i FROM seq_1_to_20000) s",
		keyset.Postgres: "generate_series(1, 20000) AS s(i)",
	}[dialect]
	ownStatistics := map[keyset.Dialect]string{
		keyset.MySQL:    " STATS_PERSISTENT=1 STATS_AUTO_RECALC=0 STATS_SAMPLE_PAGES=10000",
		keyset.Postgres: " WITH (autovacuum_enabled = false)",
	}[dialect]
	statements := []string{
		`CREATE TABLE sales (id INTEGER PRIMARY KEY, status INTEGER NOT NULL, created_at BIGINT NOT NULL,
			closed_at BIGINT, note VARCHAR(40) NOT NULL)` + ownStatistics,
		`INSERT INTO sales SELECT i, i % 5, i * 7919 % 5003, CASE WHEN i * 31 % 97 < 32 THEN NULL ELSE i * 104729 % 9973 END, 'note'
			FROM ` + series,
		"CREATE INDEX sales_created ON sales (created_at, id)",
		"CREATE INDEX sales_status ON sales (status, created_at DESC, id)",
		"CREATE INDEX sales_closed ON sales (closed_at, id)",
		"CREATE INDEX sales_closed_mixed ON sales (closed_at, id DESC)",
		"CREATE INDEX sales_status_closed ON sales (status, closed_at, id)",
	}
	if dialect == keyset.Postgres {
		statements = append(statements, "CREATE INDEX sales_status_closed_first ON sales (status, closed_at NULLS FIRST, id)")
	}
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

// sale is a row of the sales table.
type sale struct {
	ID, Status, Created int64
	Closed              *int64
	Note                string
}

func salesSource(db keyset.Queryer, dialect keyset.Dialect) keyset.SQLSource[sale] {
	return keyset.SQLSource[sale]{
		DB: db, Dialect: dialect,
		Base: keyset.Base{Columns: []string{"id", "status", "created_at", "closed_at", "note"}, From: "sales"},
		Scan: func(rows keyset.Scanner) (sale, error) {
			var s sale
			err := rows.Scan(&s.ID, &s.Status, &s.Created, &s.Closed, &s.Note)
			return s, err
		},
	}
}

func salesKeyset(t testing.TB, closed keyset.Nulls) *keyset.Keyset[sale] {
	t.Helper()
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	k, err := keyset.New("sales", pagination.Standard, cursors, []keyset.Column[sale]{
		{Name: "id", Expr: "id", Unique: true},
		{Name: "status", Expr: "status"},
		{Name: "created_at", Expr: "created_at"},
		{Name: "closed_at", Expr: "closed_at", Nullable: true, Nulls: closed},
	}, &keyset.Options{Ordering: "-created_at"})
	require.NoError(t, err)
	return k
}

// The lists of the walks are not verified: the walks are the proof.
func TestMain(m *testing.M) {
	testserver.MostlyWaits(3)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	code := m.Run()
	mariadb.End()
	postgres.End()
	os.Exit(code)
}
