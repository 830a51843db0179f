// Package sqlite_test tests backup/sqlite through modernc.org/sqlite.
package sqlite_test

import (
	"bytes"
	"database/sql"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func open(t testing.TB, statements ...string) (*sql.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	return db, path
}

// script is what the sqlite3 program says of a database: the independent comparison.
func script(t testing.TB, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testserver.Lookup(t, "sqlite3", "sqlite3"), path, ".dump", "PRAGMA user_version", "PRAGMA encoding", "PRAGMA page_size", "PRAGMA application_id", "PRAGMA auto_vacuum").CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(string(out), "\n")
	slices.Sort(lines) // the order of the schema's rows is nobody's
	return strings.Join(lines, "\n")
}

var schemas = map[string][]string{
	"strict and without rowid": {
		"CREATE TABLE s (id INTEGER PRIMARY KEY, a ANY, b BLOB, r REAL) STRICT", "CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
		"INSERT INTO s VALUES (1, 1, x'00ff', 0.1), (2, 'text', NULL, 1e300), (3, NULL, x'', -0.0)", "INSERT INTO w VALUES ('é😀', 'a' || char(0) || 'b'), ('', NULL)",
	},
	"utf-16, pages, versions": {"PRAGMA encoding = 'UTF-16le'", "PRAGMA page_size = 8192", "CREATE TABLE t (x)", "INSERT INTO t VALUES ('ünïcode')", "PRAGMA user_version = 42", "PRAGMA application_id = 7"},
	"full text and r-tree": {
		"CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT)", "CREATE VIRTUAL TABLE fts USING fts5(body, content='docs', content_rowid='id')", "INSERT INTO docs VALUES (1, 'hello world'), (2, 'bye')",
		"INSERT INTO fts(fts) VALUES ('rebuild')", "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1)", "INSERT INTO boxes VALUES (1, 0.5, 2.5)",
	},
	"names that need quotes": {`CREATE TABLE "a ""b"" 'c'" ("select" INT, "d e" TEXT DEFAULT 'it''s')`, `INSERT INTO "a ""b"" 'c'" VALUES (1, 'x')`, `CREATE INDEX "i x" ON "a ""b"" 'c'" ("d e")`},
	"generated columns, checks, cycles": {
		"CREATE TABLE p (id INTEGER PRIMARY KEY, n INT CHECK (n > 0), d INT AS (n * 2) STORED, v INT AS (n + 1) VIRTUAL, c INT REFERENCES q DEFERRABLE INITIALLY DEFERRED)", "CREATE TABLE q (id INTEGER PRIMARY KEY, p INT REFERENCES p)",
		"INSERT INTO p (id, n) VALUES (1, 5)", "INSERT INTO q VALUES (1, 1)", "UPDATE p SET c = 1",
	},
	"definitions that do not work": {
		"PRAGMA auto_vacuum = INCREMENTAL", "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT COLLATE NOCASE, j TEXT DEFAULT (json('{}')), UNIQUE (n, j) ON CONFLICT REPLACE)", "INSERT INTO t (n) VALUES ('a'), ('B')",
		"CREATE VIEW broken AS SELECT nosuch FROM missing", "CREATE VIEW on_it AS SELECT * FROM broken", "CREATE INDEX i ON t (lower(n) DESC, j) WHERE n IS NOT NULL",
		"CREATE TRIGGER tr AFTER INSERT ON t BEGIN DELETE FROM missing WHERE id = NEW.id; END", "CREATE VIRTUAL TABLE less USING fts5(x, content='')", "INSERT INTO less (rowid, x) VALUES (5, 'no content')", "CREATE TABLE empty (a, b, c)",
	},
	"views and triggers": {
		"CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT DEFAULT CURRENT_TIMESTAMP)", "CREATE TABLE log (what TEXT)", "CREATE VIEW v AS SELECT id FROM t", "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('new ' || NEW.id); END",
		"CREATE TRIGGER tv INSTEAD OF INSERT ON v BEGIN INSERT INTO t(id) VALUES (NEW.id); END", "INSERT INTO t DEFAULT VALUES", "INSERT INTO v VALUES (77)",
	},
}

// Dump, restore beside and overwrite, compared by the sqlite3 program.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for name, statements := range schemas {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, wal := range []bool{false, true} {
				db, path := open(t, statements...)
				mode := "delete"
				if wal {
					mode = "wal"
					_, err := db.ExecContext(t.Context(), "PRAGMA journal_mode = WAL")
					require.NoError(t, err)
				}
				source := sqlite.New(db)
				var dump bytes.Buffer
				want, err := source.Dump(t.Context(), &dump)
				require.NoError(t, err)
				before := script(t, path)
				beside, got, err := source.Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Want: want})
				require.NoError(t, err)
				require.NoError(t, want.Compare(got))
				assert.Equal(t, before, script(t, beside))
				for _, table := range want.Tables {
					assert.NotEmpty(t, table.Digest, table.Name)
				}
				_, err = db.ExecContext(t.Context(), "CREATE TABLE later (x)")
				require.NoError(t, err)
				_, err = source.Overwrite(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Want: want})
				require.NoError(t, err)
				assert.Equal(t, before, script(t, path))
				var is string
				require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&is))
				assert.Equal(t, mode, is)
			}
		})
	}
}

// A copy with as many rows and another value in one of them is found out.
func TestDigestFindsAChangedValue(t *testing.T) {
	t.Parallel()
	db, _ := open(t, "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
	source := sqlite.New(db)
	want, err := source.Dump(t.Context(), &bytes.Buffer{})
	require.NoError(t, err)
	for _, change := range []string{"UPDATE t SET b = 'z' WHERE a = 2", "UPDATE t SET b = 'x', a = '1' WHERE a = 1", "UPDATE t SET a = 2.5"} {
		_, err := db.ExecContext(t.Context(), change)
		require.NoError(t, err)
		got, err := source.Dump(t.Context(), &bytes.Buffer{})
		require.NoError(t, err)
		require.ErrorIs(t, want.Compare(got), driver.ErrDiffers, change)
		want = got
	}
}

// A virtual table that cannot be read does not stop the backup.
func TestUnreadableVirtualTable(t *testing.T) {
	t.Parallel()
	db, path := open(t, "CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT)", "CREATE TABLE sales (v INT)", "INSERT INTO sales VALUES (1), (2)",
		"CREATE VIRTUAL TABLE fts USING fts5(body, content='docs', content_rowid='id')", "DROP TABLE docs")
	var dump bytes.Buffer
	source := sqlite.New(db)
	want, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	require.Len(t, want.Skipped, 1)
	assert.Contains(t, want.Skipped[0].Object, "fts")
	beside, got, err := source.Restore(t.Context(), bytes.NewReader(dump.Bytes()), driver.RestoreOptions{Want: want})
	require.NoError(t, err)
	require.NoError(t, want.Compare(got))
	assert.Equal(t, strings.Count(script(t, path), "INSERT INTO sales"), strings.Count(script(t, beside), "INSERT INTO sales"))
}
