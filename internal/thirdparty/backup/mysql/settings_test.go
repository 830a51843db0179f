//go:build unix

package mysql_test

import (
	"bytes"
	"cmp"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// poolWith returns a pool whose connections have settings of their own.
func poolWith(t testing.TB, server *testserver.MariaDBServer, settings string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", server.User()+":"+server.Password()+"@tcp("+server.Addr()+")/?maxAllowedPacket=0"+settings)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// TestSettings dumps through pools and servers whose settings cut results, or cannot write a
// name.
func TestSettings(t *testing.T) {
	server := testserver.MariaDB(t)
	server.Exec(t, "SET NAMES utf8mb4; CREATE DATABASE shop; USE shop; CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a SELECT seq FROM seq_1_to_1000;"+
		" CREATE TABLE `продажи` (id INT PRIMARY KEY); INSERT INTO `продажи` SELECT seq FROM seq_1_to_1000; CREATE VIEW v AS SELECT * FROM a")
	for name, test := range map[string]struct{ pool, server string }{
		"limit of the pool":     {pool: "&sql_select_limit=1"},
		"limit of the server":   {server: "SET GLOBAL sql_select_limit = 1"},
		"character set":         {pool: "&charset=latin1"},
		"NULL means the newest": {pool: "&sql_auto_is_null=1"},
		"chained transactions":  {pool: "&completion_type=1"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.server != "" {
				server.Exec(t, test.server)
				t.Cleanup(func() { server.Exec(t, "SET GLOBAL sql_select_limit = DEFAULT") })
			}
			source, err := mysql.New(poolWith(t, server, test.pool), "shop", nil)
			require.NoError(t, err)
			job := jobOf(t, source, nil)
			run, err := job.Backup(t.Context())
			require.NoError(t, err)
			assert.Len(t, run.Manifest.Tables, 2)
			assert.EqualValues(t, 2000, run.Rows)
			assert.EqualValues(t, 1, run.Manifest.Views)
			assert.Empty(t, run.Suspect)
			back, err := job.Restore(t.Context(), run.ID, "", nil)
			require.NoError(t, err)
			defer server.Exec(t, "DROP DATABASE `"+back.Target+"`")
			assert.Equal(t, "2000\n", server.Exec(t, fmt.Sprintf("SELECT (SELECT COUNT(*) FROM `%[1]s`.a) + (SELECT COUNT(*) FROM `%[1]s`.`продажи`)", back.Target)))
		})
	}
}

// TestCreatedBeforeTheSnapshot creates a table after the preflight of a dump and before its
// snapshot or its locks.
func TestCreatedBeforeTheSnapshot(t *testing.T) {
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1)")
	for _, lock := range []bool{false, true} {
		server.Exec(t, "DROP TABLE IF EXISTS shop.invoices")
		db, steps := stepping(t, server.User()+":"+server.Password()+"@tcp("+server.Addr()+")/?maxAllowedPacket=0")
		steps.watch(func(statement string) error {
			if strings.HasPrefix(statement, "START TRANSACTION WITH CONSISTENT") || strings.HasPrefix(statement, "LOCK TABLES") {
				server.Exec(t, "CREATE TABLE shop.invoices (id INT PRIMARY KEY) SELECT seq AS id FROM shop.seq_1_to_10")
			}
			return nil
		})
		source, err := mysql.New(db, "shop", &mysql.Options{LockTables: lock})
		require.NoError(t, err)
		got, err := source.Dump(t.Context(), io.Discard)
		if lock { // another attempt holds it
			require.ErrorContains(t, err, "was created while the tables were being locked")
			continue
		}
		require.NoError(t, err)
		require.Len(t, got.Tables, 2)
		assert.Equal(t, "invoices", got.Tables[1].Name)
		assert.EqualValues(t, 10, got.Tables[1].Rows)
		assert.Empty(t, got.Warnings)
	}
}

// TestTimestampDefaults restores on a server that adds defaults to the definition of a
// TIMESTAMP.
func TestTimestampDefaults(t *testing.T) {
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE a (id INT PRIMARY KEY, sold TIMESTAMP NOT NULL); INSERT INTO a VALUES (1, '2026-01-01 12:00:00')")
	text, _ := dumpOf(t, sourceOf(t, server, "shop", nil))
	other := testserver.MariaDB(t, "--explicit-defaults-for-timestamp=OFF")
	_, got, err := sourceOf(t, other, "shop", nil).Restore(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Target: "shop"})
	require.NoError(t, err)
	assert.Empty(t, got.Warnings)
	assert.Equal(t, server.Exec(t, "SHOW CREATE TABLE shop.a"), other.Exec(t, "SHOW CREATE TABLE shop.a"))
	load(t, other, "by_hand", string(text))
	assert.Equal(t, server.Exec(t, "SHOW CREATE TABLE shop.a"), other.Exec(t, "SHOW CREATE TABLE by_hand.a"))
}

// TestChangedBeforeItWasDumped changes a table after the snapshot of a dump. The dump fails, and
// another attempt is good, or the change has to wait until the table is in the dump.
func TestChangedBeforeItWasDumped(t *testing.T) {
	server := testserver.MariaDB(t)
	for _, test := range []struct {
		before, change string
		waits          bool
	}{
		// The new table is older than the snapshot, and its rows are not.
		{before: "SAVEPOINT", change: "INSERT INTO sales_new SELECT * FROM sales"},
		{before: "SAVEPOINT", change: "RENAME TABLE sales TO sales_2026"},
		{before: "SELECT 1 FROM `sales`", change: "RENAME TABLE sales TO sales_2026"},
		{before: "SAVEPOINT", change: "ALTER TABLE sales DROP COLUMN v"},
		{before: "SHOW CREATE TABLE `sales`", change: "ALTER TABLE sales ADD COLUMN c INT DEFAULT 7", waits: true},
		{before: "SELECT c.TABLE_SCHEMA", change: "ALTER TABLE sales ADD COLUMN c INT DEFAULT 7", waits: true},
	} {
		server.Exec(t, "DROP DATABASE IF EXISTS shop; DROP DATABASE IF EXISTS copy; CREATE DATABASE shop; USE shop; CREATE TABLE sales (id INT PRIMARY KEY, v INT); INSERT INTO sales SELECT seq, seq FROM seq_1_to_100; CREATE TABLE sales_new (id INT PRIMARY KEY, v BIGINT)")
		db, steps := stepping(t, server.DSN("shop"))
		changed := false
		steps.watch(func(statement string) error {
			if changed || !strings.HasPrefix(statement, test.before) {
				return nil
			}
			changed = true
			by := boundTo(t, server, "shop")
			_, err := by.ExecContext(t.Context(), "SET STATEMENT lock_wait_timeout=0 FOR "+test.change)
			if test.waits {
				assert.ErrorContains(t, err, "1205")
				return nil
			}
			assert.NoError(t, err)
			if strings.Contains(test.change, "sales_new") {
				_, err = by.ExecContext(t.Context(), "RENAME TABLE sales TO sales_old, sales_new TO sales")
				assert.NoError(t, err)
			}
			return nil
		})
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		if !test.waits {
			_, err := source.Dump(t.Context(), io.Discard)
			require.ErrorIs(t, err, driver.ErrTransient, test.change)
		}
		text, want := dumpOf(t, source)
		require.True(t, changed)
		_, got, err := source.Restore(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Target: "copy", Want: want})
		require.NoError(t, err, test.change)
		require.NoError(t, want.Compare(got))
		assert.EqualValues(t, 100, slices.MaxFunc(got.Tables, func(a, b driver.Table) int { return cmp.Compare(a.Rows, b.Rows) }).Rows)
	}
}

// TestStagingTables dumps while an import drops its table and creates the next one like it.
func TestStagingTables(t *testing.T) {
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE sales (id INT PRIMARY KEY); CREATE TABLE staging_1 (id INT PRIMARY KEY, v INT)")
	db, steps := stepping(t, server.DSN("shop"))
	steps.watch(func(statement string) error {
		if strings.HasPrefix(statement, "SELECT 1 FROM `sales`") {
			server.Exec(t, "USE shop; DROP TABLE staging_1; CREATE TABLE staging_2 (id INT PRIMARY KEY, v INT); INSERT INTO staging_2 VALUES (1, 2)")
		}
		return nil
	})
	source, err := mysql.New(db, "shop", nil)
	require.NoError(t, err)
	got, err := source.Dump(t.Context(), io.Discard)
	require.NoError(t, err)
	assert.Len(t, got.Tables, 1)
	assert.Contains(t, got.Warnings, "the table staging_1 was dropped while the dump ran; it does not hold it")
}

// TestOnlyGeneratedColumns backs up a table to whose rows no value can be written.
func TestOnlyGeneratedColumns(t *testing.T) {
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE a (v INT AS (1), w INT AS (v + 1) STORED); INSERT INTO a VALUES (), (); CREATE TABLE b (v INT AS (1))")
	source, err := mysql.New(boundTo(t, server, "shop"), "shop", nil)
	require.NoError(t, err)
	text, want := dumpOf(t, source)
	_, got, err := source.Restore(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Target: "copy", Want: want})
	require.NoError(t, err)
	require.NoError(t, want.Compare(got))
	load(t, server, "by_hand", string(text))
	for _, database := range []string{"copy", "by_hand"} {
		assert.Equal(t, "2\t3\t0\n", strings.ReplaceAll(server.Exec(t, "SELECT COUNT(*), (SELECT SUM(w) - 1 FROM "+database+".a), (SELECT COUNT(*) FROM "+database+".b) FROM "+database+".a"), " ", "\t"))
	}
}
