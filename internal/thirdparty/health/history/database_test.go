package history_test

import (
	"database/sql"
	"path/filepath"
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
			return history.SQLite, "sqlite", filepath.Join(t.TempDir(), "h.db"), "TEXT"
		},
		"postgres": func(t *testing.T) (history.Dialect, string, string, string) {
			return history.Postgres, "pgx", testserver.Postgres(t).DSN("postgres"), "TEXT"
		},
		"mysql": func(t *testing.T) (history.Dialect, string, string, string) {
			server := testserver.MariaDB(t)
			server.CreateDatabase(t, "history")
			return history.MySQL, "mysql", server.DSN("history"), "MEDIUMTEXT"
		},
	} {
		t.Run(name, func(t *testing.T) {
			dialect, driver, dsn, text := open(t)
			db, err := sql.Open(driver, dsn)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), "CREATE TABLE health_history (name VARCHAR(255) PRIMARY KEY, document "+text+" NOT NULL)")
			require.NoError(t, err)
			store, err := history.Database(db, dialect, "health_history")
			require.NoError(t, err)
			ctx := t.Context()
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":1}`)))
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":"ä2"}`)))
			require.NoError(t, store.Save(ctx, "now/a", []byte(`{}`)))
			found, err := store.Load(ctx, "day/2026-11-28")
			require.NoError(t, err)
			require.Equal(t, map[string][]byte{"day/2026-11-28/a%2Fb": []byte(`{"x":"ä2"}`)}, found)
			require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", nil))
			found, err = store.Load(ctx, "day/")
			require.NoError(t, err)
			require.Empty(t, found)
			found, err = store.Load(ctx, "")
			require.NoError(t, err)
			require.Len(t, found, 1)
			_, err = history.Database(db, "oracle", "t")
			require.Error(t, err)
			_, err = history.Database(db, dialect, "t; DROP TABLE x")
			require.Error(t, err)
		})
	}
}
