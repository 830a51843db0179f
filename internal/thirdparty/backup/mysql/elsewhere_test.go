package mysql_test

import (
	"net"
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
	t.Parallel()
	server := testserver.MariaDB(t, "--plugin-load-add=ha_federatedx")
	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	load(t, server, "remote", "CREATE TABLE far (id INT PRIMARY KEY, v INT); INSERT INTO far VALUES (1, 1), (2, 2);")
	load(t, server, "shop", "CREATE TABLE fed (id INT PRIMARY KEY, v INT) ENGINE=FEDERATED CONNECTION='mysql://"+server.User()+":"+server.Password()+"@127.0.0.1:"+port+"/remote/far'; CREATE TABLE own (id INT); INSERT INTO own VALUES (1); CREATE VIEW both_of AS SELECT own.id FROM own JOIN fed ON fed.id = own.id;")
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
}

// TestNamesInLowerCase: a server that writes names in lower case takes the backup of one that
// does not, and its own under any case of the name.
func TestNamesInLowerCase(t *testing.T) {
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
	own := jobOf(t, sourceOf(t, lower, "SHOP", nil), &backup.Options{Drill: backup.DrillOptions{Every: 1}})
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
