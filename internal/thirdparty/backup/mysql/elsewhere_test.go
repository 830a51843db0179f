package mysql_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestFederatedTable: a table whose rows lie on another server is restored without rows, and a
// warning names it. One that the server cannot open is left out and makes the backup suspect.
func TestFederatedTable(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t, "--plugin-load-add=ha_federatedx")
	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	load(t, server, "remote", "CREATE TABLE far (id INT PRIMARY KEY, v INT); INSERT INTO far VALUES (1, 1), (2, 2);")
	fed := "CREATE TABLE fed (id INT PRIMARY KEY, v INT) ENGINE=FEDERATED CONNECTION='mysql://" + server.User() + ":" + server.Password() + "@127.0.0.1:" + port + "/remote/far';"
	load(t, server, "alone", fed)
	load(t, server, "shop", fed+" CREATE TABLE own (id INT); INSERT INTO own VALUES (1); CREATE VIEW both_of AS SELECT own.id FROM own JOIN fed ON fed.id = own.id;")
	source := sourceOf(t, server, "shop", nil)
	job := jobOf(t, source, nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	assert.Contains(t, strings.Join(report.Manifest.Warnings, "\n"), "fed (FEDERATED)")
	assert.EqualValues(t, 1, report.Manifest.RowsTotal)
	_, err = job.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.NoError(t, err)
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM copy.fed"))
	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.NoError(t, err)
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM shop.fed"))
	server.Exec(t, "DROP TABLE remote.far; FLUSH TABLES")
	again, err := job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.ErrorContains(t, err, "fed")
	_, err = job.Restore(t.Context(), again.Manifest.ID, "third", nil)
	require.NoError(t, err)
	assert.Equal(t, "1\n", server.Exec(t, "SELECT COUNT(*) FROM third.own"))
	// The server fails its list of tables if the last one is such a table.
	alone, err := jobOf(t, sourceOf(t, server, "alone", nil), nil).Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.Len(t, alone.Manifest.Skipped, 1)
	assert.Equal(t, "table fed", alone.Manifest.Skipped[0].Object)
}

// TestConnectTable: a table whose rows may lie in a file of the server is not in a backup,
// which is therefore suspect. A restore over the original does not delete the file.
func TestConnectTable(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t)
	if !strings.Contains(server.Exec(t, "SHOW PLUGINS SONAME LIKE 'ha_connect%'"), "ha_connect") {
		testserver.Unavailable(t, "the engine CONNECT is missing: apt-get install mariadb-plugin-connect")
	}
	server.Exec(t, "INSTALL SONAME 'ha_connect'")
	load(t, server, "shop", "CREATE TABLE inward (id INT NOT NULL) ENGINE=CONNECT TABLE_TYPE=DOS; INSERT INTO inward VALUES (1); CREATE TABLE t (id INT); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT id FROM inward;")
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.ErrorContains(t, err, "table inward")
	_, err = job.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.NoError(t, err)
	assert.Equal(t, "t\n", server.Exec(t, "SHOW TABLES FROM copy"))
	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.ErrorContains(t, err, "table inward (CONNECT)")
	assert.Equal(t, "1\n", server.Exec(t, "SELECT id FROM shop.v"))
}

// TestOutsideTheDump: parts of tables that no dump carries. The folders of tables are left
// out with a warning. Characters that the server does not print make the backup suspect.
func TestOutsideTheDump(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t)
	dir := filepath.Dir(server.Socket())
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data2"), 0o777))
	in := " DATA DIRECTORY='" + filepath.Join(dir, "data2") + "'"
	load(t, server, "shop", "CREATE TABLE my (id INT PRIMARY KEY) ENGINE=MyISAM"+in+"; INSERT INTO my VALUES (1), (2); CREATE TABLE ar (id INT) ENGINE=Aria"+in+"; CREATE TABLE ino (id INT)"+in+"; INSERT INTO ino VALUES (3);"+
		"CREATE TABLE pt (id INT) ENGINE=MyISAM PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10)"+in+", PARTITION p1 VALUES LESS THAN MAXVALUE); INSERT INTO pt VALUES (1), (20);"+
		"SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE dates (d DATE, t DATETIME(2)); INSERT INTO dates VALUES ('2023-02-30', '2023-02-31 10:00:00.55'), ('2024-00-31', '0000-00-00');"+
		"CREATE TABLE asks (a VARCHAR(9) DEFAULT 'what?', b ENUM('yes', '?') DEFAULT '?'); INSERT INTO asks VALUES (DEFAULT, DEFAULT);")
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	warnings := strings.Join(report.Manifest.Warnings, "\n")
	for _, table := range []string{"my", "ar", "ino", "pt"} {
		assert.Contains(t, warnings, "the table "+table+" lies in a folder of its own")
	}
	assert.Contains(t, warnings, "the column b of the table asks have a question mark")
	_, err = job.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.NoError(t, err)
	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.NoError(t, err)
	for _, database := range []string{"copy", "shop"} {
		assert.Equal(t, "2\n3\n2\n2023-02-30\n2024-00-31\n", server.Exec(t, "USE "+database+"; SELECT COUNT(*) FROM my; SELECT * FROM ino; SELECT COUNT(*) FROM pt; SELECT d FROM dates ORDER BY 1"))
	}
	server.Exec(t, "DROP DATABASE copy")
	assert.Empty(t, leftovers(t, server))

	server.Exec(t, "SET NAMES utf8mb4; USE shop; CREATE TABLE smile (a VARCHAR(9) DEFAULT '😀', b ENUM('a', '😀')); INSERT INTO smile VALUES ('x', 2)")
	_, err = job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.ErrorContains(t, err, "default of the column a of the table smile")
	require.ErrorContains(t, err, "values of the column b of the table smile")
}

// TestNamesInLowerCase: a server that writes names in lower case takes the backup of one that
// does not, and its own under any case of the name.
func TestNamesInLowerCase(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server, lower := testserver.MariaDB(t), testserver.MariaDB(t, "--lower-case-table-names=1")
	const schema = "CREATE TABLE Users (Id INT PRIMARY KEY, Name VARCHAR(10)); INSERT INTO Users VALUES (1, 'A'); CREATE TABLE Orders (Id INT, U INT, FOREIGN KEY (U) REFERENCES Users (Id)); INSERT INTO Orders VALUES (1, 1); CREATE VIEW Names AS SELECT Name FROM Users; CREATE TRIGGER Stamp BEFORE INSERT ON Users FOR EACH ROW SET NEW.Name = 'x'; CREATE SEQUENCE Numbers; CREATE TABLE N (id INT DEFAULT NEXTVAL(Numbers)); CREATE PROCEDURE P() SELECT COUNT(*) FROM `Shop`.Users;"
	load(t, server, "Shop", schema)
	load(t, lower, "Shop", schema)
	job := jobOf(t, sourceOf(t, server, "Shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	there := jobOver(t, job, sourceOf(t, lower, "Shop", nil))
	_, err = there.Restore(t.Context(), report.Manifest.ID, "Copied", nil)
	require.NoError(t, err)
	assert.Equal(t, "1\n", lower.Exec(t, "SELECT COUNT(*) FROM Copied.Users"))
	own := jobOf(t, sourceOf(t, lower, "SHOP", nil), &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1}})
	report, err = own.Backup(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, report.Manifest.RowsTotal)
	before := described(t, lower, "shop", true, "Shop")
	lower.Exec(t, "DELETE FROM shop.orders")
	_, err = own.RestoreOver(t.Context(), report.Manifest.ID, "SHOP", nil)
	require.NoError(t, err)
	equal(t, before, described(t, lower, "shop", true, "Shop"))
	assert.Empty(t, leftovers(t, lower))
	assert.NotContains(t, lower.Exec(t, "SHOW CREATE PROCEDURE shop.P"), "`Shop`")
}

// TestMissingDefiner: a view whose owner is gone does not stop a backup, nor its restore.
func TestMissingDefiner(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", "CREATE TABLE t (id INT); INSERT INTO t VALUES (1); CREATE DEFINER=ghost@'%' VIEW v AS SELECT id FROM t; CREATE DEFINER=ghost@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1;")
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	t.Log(err)
	require.NotNil(t, report.Manifest)
	_, err = job.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.NoError(t, err)
	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.NoError(t, err)
	mapped := jobOver(t, job, sourceOf(t, server, "shop", &mysql.Options{Definers: map[string]string{"ghost@%": "root@127.0.0.1"}}))
	_, err = mapped.Restore(t.Context(), report.Manifest.ID, "mapped", nil)
	require.NoError(t, err)
	assert.Equal(t, "root@127.0.0.1\n", server.Exec(t, "SELECT DISTINCT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'mapped'"))
	t.Log(server.Exec(t, "SELECT TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA IN ('shop', 'copy', 'mapped')"))
}
