package history_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// The documented table works on each database.
func TestDatabases(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (history.Dialect, string, string, string){
		"sqlite": func(t *testing.T) (history.Dialect, string, string, string) {
			return history.SQLite, "sqlite", filepath.Join(t.TempDir(), "h.db"), "name VARCHAR(255) PRIMARY KEY, document TEXT NOT NULL"
		},
		"postgres": func(t *testing.T) (history.Dialect, string, string, string) {
			return history.Postgres, "pgx", testserver.Postgres(t).DSN("postgres"), `name VARCHAR(255) COLLATE "C" PRIMARY KEY, document TEXT NOT NULL`
		},
		"mysql": func(t *testing.T) (history.Dialect, string, string, string) {
			server := testserver.MariaDB(t)
			server.CreateDatabase(t, "history")
			return history.MySQL, "mysql", server.DSN("history"), "name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, document MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL"
		},
	} {
		t.Run(name, func(t *testing.T) {
			dialect, driver, dsn, columns := open(t)
			db, err := sql.Open(driver, dsn)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), "CREATE TABLE health_history ("+columns+")")
			require.NoError(t, err)
			store, err := history.Database(db, dialect, "health_history")
			require.NoError(t, err)
			ctx := t.Context()
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":1}`)))
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":"ä2"}`)))
			require.NoError(t, store.Save(ctx, "now/a", []byte(`{}`)))
			require.NoError(t, store.Save(ctx, "now/A", []byte(`{"x":3}`)))
			found, err := store.Load(ctx, "day/2026-11-28")
			require.NoError(t, err)
			require.Equal(t, map[string][]byte{"day/2026-11-28/a%2Fb": []byte(`{"x":"ä2"}`)}, found)
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", nil))
			found, err = store.Load(ctx, "day/")
			require.NoError(t, err)
			require.Empty(t, found)
			found, err = store.Load(ctx, "")
			require.NoError(t, err)
			require.Equal(t, map[string][]byte{"now/a": []byte(`{}`), "now/A": []byte(`{"x":3}`)}, found, "no test document stays")
			_, err = history.Database(db, "oracle", "t")
			require.Error(t, err)
			_, err = history.Database(db, dialect, "t; DROP TABLE x")
			require.Error(t, err)
		})
	}
}

// A table whose collation orders or compares names differently loses no day. It works, or the
// first use refuses it and says how to change it.
func TestCollations(t *testing.T) {
	maria, pg := testserver.MariaDB(t), testserver.Postgres(t)
	maria.CreateDatabase(t, "history")
	for _, c := range []struct {
		name, driver, dsn, columns string
		dialect                    history.Dialect
		works                      bool
	}{
		{"general_ci", "mysql", maria.DSN("history"), "name VARCHAR(255) COLLATE utf8mb4_general_ci PRIMARY KEY, document MEDIUMTEXT NOT NULL", history.MySQL, false},
		{"unicode_ci", "mysql", maria.DSN("history"), "name VARCHAR(255) COLLATE utf8mb4_unicode_ci PRIMARY KEY, document MEDIUMTEXT NOT NULL", history.MySQL, false},
		{"uca1400", "mysql", maria.DSN("history"), "name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci PRIMARY KEY, document MEDIUMTEXT NOT NULL", history.MySQL, false},
		{"uca1400_as_cs", "mysql", maria.DSN("history"), "name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE uca1400_as_cs PRIMARY KEY, document MEDIUMTEXT NOT NULL", history.MySQL, true},
		{"text", "mysql", maria.DSN("history"), "name VARCHAR(255) COLLATE utf8mb4_bin PRIMARY KEY, document TEXT NOT NULL", history.MySQL, false},
		{"short", "mysql", maria.DSN("history"), "name VARCHAR(50) COLLATE utf8mb4_bin PRIMARY KEY, document MEDIUMTEXT NOT NULL", history.MySQL, false},
		{"icu", "pgx", pg.DSN("postgres"), `name VARCHAR(255) COLLATE "en-x-icu" PRIMARY KEY, document TEXT NOT NULL`, history.Postgres, true},
		{"icu_ci", "pgx", pg.DSN("postgres"), `name VARCHAR(255) COLLATE history_ci PRIMARY KEY, document TEXT NOT NULL`, history.Postgres, false},
		{"nocase", "sqlite", filepath.Join(t.TempDir(), "h.db"), "name VARCHAR(255) COLLATE NOCASE PRIMARY KEY, document TEXT NOT NULL", history.SQLite, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, err := sql.Open(c.driver, c.dsn)
			require.NoError(t, err)
			defer db.Close()
			if c.name == "icu_ci" {
				_, err = db.ExecContext(t.Context(), "CREATE COLLATION history_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
				require.NoError(t, err)
			}
			_, err = db.ExecContext(t.Context(), "CREATE TABLE history_"+c.name+" ("+c.columns+")")
			require.NoError(t, err)
			store, err := history.Database(db, c.dialect, "history_"+c.name)
			require.NoError(t, err)
			key := "day/2026-11-28/pod-a"
			if c.works {
				require.NoError(t, store.Save(t.Context(), key, []byte("{}")))
				found, err := store.Load(t.Context(), "day/")
				require.NoError(t, err)
				require.Contains(t, found, key)
				return
			}
			_, err = store.Load(t.Context(), "day/")
			require.ErrorContains(t, err, "not as documented")
			require.Error(t, store.Save(t.Context(), key, []byte("{}")))
			_, repair, ok := strings.Cut(err.Error(), "Run: ")
			if !ok {
				return
			}
			_, err = db.ExecContext(t.Context(), repair)
			require.NoError(t, err, repair)
			require.NoError(t, store.Save(t.Context(), key, []byte("{}")))
		})
	}
}
