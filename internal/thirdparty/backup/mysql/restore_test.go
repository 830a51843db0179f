package mysql_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

const moved = `
ALTER DATABASE CHARACTER SET utf8mb3;
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (1,'a'),(2,'b');
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.name = UPPER(NEW.name);
CREATE PROCEDURE pr() SELECT 1;
CREATE VIEW v AS SELECT * FROM t;
ALTER DATABASE CHARACTER SET utf8mb4;`

// TestAccountWithoutRights: an account that has no right on the original restores beside it
// and tests the backup; one whose restore fails leaves the original as it was.
func TestAccountWithoutRights(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, "--log-bin=bin", "--server-id=1", "--log-bin-trust-function-creators=1")
	load(t, server, "shop", moved)
	server.Exec(t, `CREATE USER own@'127.0.0.1' IDENTIFIED BY 'pw'; GRANT ALL ON `+"`shop\\_scratch\\_%`"+`.* TO own@'127.0.0.1'; GRANT ALL ON copy.* TO own@'127.0.0.1'; GRANT ALL ON prepared.* TO own@'127.0.0.1';
		CREATE DATABASE prepared; CREATE USER nothing@'127.0.0.1' IDENTIFIED BY 'pw';`)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before := described(t, server, "shop", true)

	source, err := mysql.New(poolAs(t, server, "own", "pw"), "shop", nil)
	require.NoError(t, err)
	theirs := jobOver(t, job, source)
	silent(t, server, "shop", func() {
		got, err := theirs.Restore(t.Context(), report.Manifest.ID, "copy", nil)
		require.NoError(t, err)
		require.Len(t, got.Contents.Warnings, 1)
		assert.Contains(t, got.Contents.Warnings[0], "belong to it now: routine pr (of `root`@`127.0.0.1`)")
		v, err := theirs.TestRestore(t.Context(), report.Manifest.ID)
		require.NoError(t, err)
		assert.True(t, v.RestoreTest.OK)
		// An existing empty database serves an account that may create none.
		got, err = theirs.Restore(t.Context(), report.Manifest.ID, "prepared", nil)
		require.NoError(t, err)
		assert.Equal(t, "prepared", got.Target)
		_, err = theirs.Restore(t.Context(), report.Manifest.ID, "prepared", nil)
		require.ErrorContains(t, err, "a new database, or an empty one")
	})
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM prepared.t"))

	poor, err := mysql.New(poolAs(t, server, "nothing", "pw"), "shop", nil)
	require.NoError(t, err)
	_, err = jobOver(t, job, poor).Restore(t.Context(), report.Manifest.ID, "other", nil)
	require.ErrorContains(t, err, "Access denied")
	_, err = jobOver(t, job, poor).TestRestore(t.Context(), report.Manifest.ID)
	require.Error(t, err)
	require.NotErrorIs(t, err, backup.ErrVerification, "a right that is missing says nothing against the backup")

	server.Exec(t, "SET GLOBAL log_bin_trust_function_creators = 0")
	_, err = theirs.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.ErrorContains(t, err, "new database")
	server.Exec(t, "DROP DATABASE copy")
	_, err = theirs.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.ErrorContains(t, err, "restore as an administrator")
	assert.Empty(t, server.Exec(t, "SHOW DATABASES LIKE 'copy'"))
	equal(t, before, described(t, server, "shop", true))

	// Definers can be mapped.
	server.Exec(t, "CREATE USER app@'%'; GRANT ALL ON *.* TO app@'%'; SET GLOBAL log_bin_trust_function_creators = 1")
	mapped := sourceOf(t, server, "shop", &mysql.Options{Definers: map[string]string{"root@127.0.0.1": "app@%"}})
	_, err = jobOver(t, job, mapped).Restore(t.Context(), report.Manifest.ID, "mapped", nil)
	require.NoError(t, err)
	assert.Equal(t, "app@%\n", server.Exec(t, "SELECT DISTINCT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'mapped' UNION SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'mapped'"))
}

// TestOriginalIsGone: what a pool without a database could do yesterday it can do today.
func TestOriginalIsGone(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", moved)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before := described(t, server, "shop", true)
	server.Exec(t, "DROP DATABASE shop")
	_, err = job.Restore(t.Context(), report.Manifest.ID, "shop", nil)
	require.NoError(t, err)
	equal(t, before, described(t, server, "shop", true))
	bound, err := mysql.New(boundTo(t, server, "lost"), "lost", nil)
	require.NoError(t, err)
	_, err = bound.Preflight(t.Context())
	require.ErrorContains(t, err, "open it without one")
}

// TestTables restores single tables, beside and over the original.
func TestTables(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", `CREATE SEQUENCE s; CREATE TABLE a (id INT DEFAULT NEXTVAL(s) PRIMARY KEY, v FLOAT); INSERT INTO a (v) VALUES (1.5), (123456.78125);
		CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b VALUES (1), (2), (3); CREATE TABLE log (n INT);
		CREATE TABLE child (id INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES b (id)); INSERT INTO child VALUES (1, 1);
		CREATE TRIGGER ta AFTER DELETE ON a FOR EACH ROW INSERT INTO log VALUES (OLD.id); CREATE VIEW v AS SELECT * FROM a JOIN b USING (id);`)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	id := report.Manifest.ID
	got, err := job.Restore(t.Context(), id, "part", &backup.RestoreOptions{Tables: []string{"a", "child"}})
	require.NoError(t, err)
	assert.EqualValues(t, 3, got.Contents.Rows())
	assert.Equal(t, "a\nchild\ns\n", server.Exec(t, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'part' ORDER BY 1"))
	_, err = job.Restore(t.Context(), id, "part2", &backup.RestoreOptions{Tables: []string{"nosuch"}})
	require.ErrorContains(t, err, `no table "nosuch"`)

	server.Exec(t, "DELETE FROM shop.a; INSERT INTO shop.child VALUES (7, 3); TRUNCATE shop.log")
	_, err = job.RestoreOver(t.Context(), id, "shop", &backup.RestoreOptions{Tables: []string{"a"}})
	require.NoError(t, err)
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM shop.a"))
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM shop.child"), "other tables stay as they are")
	server.Exec(t, "DELETE FROM shop.a WHERE id = 1; INSERT INTO shop.a (v) VALUES (9)")
	assert.Equal(t, "1\n", server.Exec(t, "SELECT COUNT(*) FROM shop.log"), "the trigger is there")
	assert.NotContains(t, server.Exec(t, "SHOW CREATE TABLE shop.a"), "scratch")
	_, err = job.RestoreOver(t.Context(), id, "shop", &backup.RestoreOptions{Tables: []string{"b"}})
	require.ErrorContains(t, err, "child refers to the table b by a foreign key")
	_, err = job.Check(t.Context(), time.Hour)
	require.NotErrorIs(t, err, backup.ErrHalfway)
	assert.Empty(t, server.Exec(t, "SHOW DATABASES WHERE `Database` RLIKE 'scratch|replaced'"))
}

// TestDamagedDumps: a dump that is truncated at any place, or fails while it is read, leaves
// nothing behind.
func TestDamagedDumps(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", moved)
	source := sourceOf(t, server, "shop", nil)
	dump, contents := dumpOf(t, source)
	restore := func(r io.Reader) error {
		_, _, err := source.Restore(t.Context(), r, driver.RestoreOptions{Target: "copy"})
		require.Empty(t, server.Exec(t, "SHOW DATABASES LIKE 'copy'"))
		return err
	}
	for _, n := range []int{0, 1, 100, len(dump) / 3, len(dump) / 2, len(dump) - 200, len(dump) - 60} {
		require.ErrorContains(t, restore(bytes.NewReader(dump[:n])), "truncated", n)
	}
	gone := errors.New("the storage is gone")
	require.ErrorIs(t, restore(io.MultiReader(bytes.NewReader(dump[:len(dump)/2]), failing{gone})), gone)
	// A value that became another one on the way is noticed.
	require.Contains(t, string(dump), "(1,'a')")
	require.ErrorIs(t, restore(strings.NewReader(strings.Replace(string(dump), "(1,'a')", "(1,'b')", 1))), driver.ErrDiffers)
	require.ErrorContains(t, restore(strings.NewReader(strings.Replace(string(dump), "(2,'b')", "(1,'b')", 1))), "two of its rows are equal")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := source.Restore(ctx, bytes.NewReader(dump), driver.RestoreOptions{Target: "copy"})
	require.ErrorIs(t, err, context.Canceled)
	// The same rows have the same digest.
	again, same := dumpOf(t, source)
	assert.Equal(t, contents.Tables, same.Tables)
	assert.Equal(t, dump, again)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestFailsSoftly: a view that does not work is left out and named, and makes the backup
// suspect; a table that another session has locked ends the run with the name of the session.
func TestFailsSoftly(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", moved+`CREATE TABLE gone (id INT); CREATE VIEW broken AS SELECT * FROM gone; CREATE VIEW on_it AS SELECT * FROM broken; DROP TABLE gone;`)
	source := sourceOf(t, server, "shop", &mysql.Options{LockWait: time.Second})
	job := jobOf(t, source, nil)
	report, err := job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.ErrorContains(t, err, "broken")
	require.Len(t, report.Manifest.Skipped, 2)
	assert.Equal(t, "view broken", report.Manifest.Skipped[0].Object)
	assert.Contains(t, report.Manifest.Skipped[0].Reason, "references invalid table")
	_, err = job.Restore(t.Context(), report.Manifest.ID, "copy", nil)
	require.NoError(t, err)
	assert.Equal(t, "v\n", server.Exec(t, "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'copy'"))
	warnings, err := source.Preflight(t.Context())
	require.NoError(t, err)
	assert.Contains(t, strings.Join(warnings, "\n"), "the view broken does not work")

	server.Exec(t, "DROP VIEW shop.on_it, shop.broken; CREATE USER locker@'127.0.0.1' IDENTIFIED BY 'pw'; GRANT ALL ON shop.* TO locker@'127.0.0.1'")
	held, err := poolAs(t, server, "locker", "pw").Conn(t.Context())
	require.NoError(t, err)
	defer held.Close()
	_, err = held.ExecContext(t.Context(), "USE shop")
	require.NoError(t, err)
	_, err = held.ExecContext(t.Context(), "LOCK TABLES t WRITE")
	require.NoError(t, err)
	begin := time.Now()
	var out bytes.Buffer
	_, err = source.Dump(t.Context(), &out)
	require.ErrorContains(t, err, "the table t stayed locked for 1s")
	require.ErrorContains(t, err, "(locker from 127.0.0.1")
	assert.Less(t, time.Since(begin), 15*time.Second)
}

// TestMessagesNameObjects: what a restore fails at is named.
func TestMessagesNameObjects(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", moved)
	source := sourceOf(t, server, "shop", nil)
	dump, _ := dumpOf(t, source)
	for change, want := range map[[2]string]string{
		{"ENGINE=InnoDB", "ENGINE=NoSuch"}:                          "Unknown storage engine 'NoSuch'",
		{"varchar(20)", "nosuchtype(20"}:                            "restore the table t: ",
		{"CREATE TABLE `t`", "CREATE TABLE `x`"}:                    "shop",
		{"SELECT 1", "SELEKT 1"}:                                    "restore the routine pr: ",
		{"from `t`", "from `n`"}:                                    "restore the view v: ",
		{"COLLATE=utf8mb3_general_ci", "COLLATE=nosuch_x_ci123456"}: "Unknown collation: 'nosuch_x_ci123456'",
	} {
		text := strings.Replace(string(dump), change[0], change[1], 1)
		if len(change[0]) != len(change[1]) {
			continue
		}
		_, _, err := source.Restore(t.Context(), strings.NewReader(text), driver.RestoreOptions{Target: "copy"})
		require.Error(t, err, change)
		if want != "shop" {
			assert.Contains(t, err.Error(), want)
		}
	}
}

// TestOverwriteIsUndone: an exchange that fails puts everything back.
func TestOverwriteIsUndone(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, "--log-bin=bin", "--server-id=1", "--log-bin-trust-function-creators=1")
	load(t, server, "shop", moved+"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO SELECT 1;")
	source := sourceOf(t, server, "shop", nil)
	job := jobOf(t, source, nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	server.Exec(t, "INSERT INTO shop.t VALUES (3, 'c'); CREATE USER app@'%'; GRANT EXECUTE ON PROCEDURE shop.pr TO app@'%'; GRANT SELECT ON shop.t TO app@'%'")
	before := described(t, server, "shop", true)
	grants := server.Exec(t, "SHOW GRANTS FOR app@'%'")
	refused := errors.New("no marker, no change")
	var out bytes.Buffer
	_, err = source.Dump(t.Context(), &out)
	require.NoError(t, err)
	_, err = source.Overwrite(t.Context(), &out, driver.RestoreOptions{Want: report.Manifest.Contents, Touch: func(context.Context) error { return refused }})
	require.ErrorIs(t, err, refused)
	equal(t, before, described(t, server, "shop", true))

	// A foreign key of another database that refers to the tables stands in the way.
	server.Exec(t, "CREATE DATABASE other; USE other; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES shop.t (id)); INSERT INTO c VALUES (1, 3)")
	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.ErrorContains(t, err, "other.c refers to")
	equal(t, before, described(t, server, "shop", true))
	_, err = job.Check(t.Context(), time.Hour)
	require.NotErrorIs(t, err, backup.ErrHalfway)
	server.Exec(t, "DROP DATABASE other")

	_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
	require.NoError(t, err)
	assert.Equal(t, "2\n", server.Exec(t, "SELECT COUNT(*) FROM shop.t"))
	assert.Equal(t, grants, server.Exec(t, "SHOW GRANTS FOR app@'%'"), "rights on tables and routines are what they were")
	assert.Empty(t, server.Exec(t, "SHOW DATABASES WHERE `Database` RLIKE 'scratch|replaced'"))
}

// TestAccounts: the accounts with rights on the database come as statements that another
// server takes.
func TestAccounts(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	const plugin = "--plugin-load-add=auth_ed25519"
	server := testserver.MariaDB(t, plugin)
	load(t, server, "shop", moved)
	server.Exec(t, `CREATE DATABASE other; CREATE ROLE clerk; GRANT SELECT, INSERT ON shop.* TO clerk; CREATE USER anna@'%' IDENTIFIED BY 'secret'; GRANT clerk TO anna@'%'; SET DEFAULT ROLE clerk FOR anna@'%';
		CREATE USER 'o''dd'@'10.%' IDENTIFIED BY 'x'; GRANT SELECT (id), UPDATE (name) ON shop.t TO 'o''dd'@'10.%'; GRANT EXECUTE ON PROCEDURE shop.pr TO anna@'%';
		CREATE USER stranger@'%'; GRANT ALL ON other.* TO stranger@'%';
		CREATE USER ''@'nowhere.example' IDENTIFIED BY 'x'; GRANT SELECT ON shop.* TO ''@'nowhere.example'; CREATE USER 'li''ke@x'@'192.168.0.0/255.255.0.0' IDENTIFIED VIA ed25519 USING PASSWORD('a') OR mysql_native_password USING PASSWORD('b') REQUIRE SSL WITH MAX_USER_CONNECTIONS 5 PASSWORD EXPIRE INTERVAL 90 DAY ACCOUNT LOCK;
		GRANT SELECT, GRANT OPTION ON `+"`s_op`.* TO 'li''ke@x'@'192.168.0.0/255.255.0.0'; GRANT INSERT ON `sh%`.* TO 'li''ke@x'@'192.168.0.0/255.255.0.0'"+`;
		CREATE ROLE boss WITH ADMIN clerk; GRANT DELETE ON shop.t TO boss; GRANT boss TO anna@'%' WITH ADMIN OPTION; GRANT SHOW VIEW ON shop.* TO PUBLIC; GRANT PROCESS ON *.* TO anna@'%';`)
	var out bytes.Buffer
	_, err := sourceOf(t, server, "shop", nil).Accounts(t.Context(), &out)
	require.NoError(t, err)
	text := out.String()
	assert.NotContains(t, text, "stranger")
	second := testserver.MariaDB(t, plugin)
	load(t, second, "shop", moved)
	second.Exec(t, text)
	for _, account := range []string{"anna@'%'", "'o''dd'@'10.%'", "clerk", "boss", "PUBLIC", "''@'nowhere.example'", "'li''ke@x'@'192.168.0.0/255.255.0.0'"} {
		assert.Equal(t, server.Exec(t, "SHOW GRANTS FOR "+account), second.Exec(t, "SHOW GRANTS FOR "+account))
	}
}
