//go:build unix

package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/internal/thirdparty/backup/killing"
)

const killPath = "MAINSTAY_SQLITE_KILL_PATH"

// TestKilled kills a process at random moments that takes backups, tests them by a restore
// and deletes old ones.
func TestKilled(t *testing.T) {
	at := func(path string) driver.Source {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		source := sqlite.New(db)
		source.Scratch = filepath.Dir(path)
		return source
	}
	if killing.Victim(t, func() driver.Source { return at(os.Getenv(killPath)) }) {
		return
	}
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	_, path := open(t, "CREATE TABLE sales (id INTEGER PRIMARY KEY, line TEXT)",
		"INSERT INTO sales WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < 3000) SELECT i, hex(randomblob(40)) FROM s")
	killing.Backups(t, at(path), killing.Times(testserver.Sample(5, 25)), killPath+"="+path)
}
