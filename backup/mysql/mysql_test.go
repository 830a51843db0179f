//go:build engines

package backup

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// till is a schema with one of everything that a backup loses by mistake, and with data
// that looks like the SQL around it.
const till = `
CREATE DATABASE till; USE till; SET NAMES utf8mb4;
CREATE TABLE customers (id int PRIMARY KEY AUTO_INCREMENT, name varchar(100), note text, pic blob, up varchar(100) AS (upper(name)) VIRTUAL,
	size int AS (length(note)) PERSISTENT) COMMENT='it''s; a "com` + "`" + `ment" -- ;';
INSERT INTO customers (name, note, pic) VALUES ('a),(b', 'x\n-- Dump completed on', '\0\1'), ("it's; \\", NULL, NULL), ('é😀', '/* not */ */ ;;', x'00FF');
INSERT INTO customers (name, note) SELECT CONCAT('customer ', seq), REPEAT('\\\'"),(;', seq % 9) FROM seq_1_to_500;
CREATE TABLE ` + "`sales ``of''\"; today`" + ` (id bigint PRIMARY KEY AUTO_INCREMENT, customer int, total int NOT NULL, FOREIGN KEY (customer) REFERENCES customers (id));
INSERT INTO ` + "`sales ``of''\"; today`" + ` (customer, total) SELECT 1 + seq % 500, seq FROM seq_1_to_3000;
CREATE TABLE empty_one (id int, hid int INVISIBLE);
CREATE TABLE parts (id int PRIMARY KEY, f double, d decimal(20,5), b bit(9), j json, t timestamp NULL) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parts SELECT seq, seq / 7, seq / 3, seq % 512, '{"a": "(\\\\\\""}', '2026-03-29 01:30:00' FROM seq_1_to_50;
CREATE SEQUENCE receipts START WITH 10;
CREATE VIEW rich AS SELECT customer, sum(total) AS total FROM ` + "`sales ``of''\"; today`" + ` GROUP BY 1;
CREATE VIEW a_view AS SELECT * FROM rich;
DELIMITER $$
CREATE TRIGGER stamp BEFORE UPDATE ON customers FOR EACH ROW BEGIN SET NEW.note = 'st;amped'; END$$
CREATE FUNCTION tax(a int) RETURNS int DETERMINISTIC BEGIN /* ; */ RETURN a + 1; -- it's
END$$
CREATE PROCEDURE odd() BEGIN SELECT 'DELIMITER ;'; END$$
SET sql_mode = 'NO_BACKSLASH_ESCAPES'$$
CREATE PROCEDURE odder() BEGIN SELECT '\'; SELECT 1; END$$
SET sql_mode = DEFAULT$$
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM empty_one WHERE id < 0; END$$
DELIMITER ;
`

func mysqlConnect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func mysqlSource(t testing.TB, dsn string, opts *MySQLOptions) *MySQL {
	t.Helper()
	m, err := NewMySQL(mysqlConnect(t, dsn), dsn, opts)
	require.NoError(t, err)
	return m
}

func mysqlDumped(t testing.TB, m *MySQL) ([]byte, Contents) {
	t.Helper()
	var dump bytes.Buffer
	counts, err := m.Dump(t.Context(), &dump)
	require.NoError(t, err)
	return dump.Bytes(), counts
}

// mysqlHolds counts a database by the server's own statements.
func mysqlHolds(t testing.TB, m *MySQL, database string) Contents {
	t.Helper()
	inv, err := inventMySQL(t.Context(), m.db, database, m.opts.QueryTimeout)
	require.NoError(t, err)
	c, err := inv.contents(t.Context(), m.db, database)
	require.NoError(t, err)
	return c
}

// checksums are the server's own, of each table's rows.
func checksums(t testing.TB, server *testserver.MariaDBServer, database string, tables []Table) string {
	t.Helper()
	var names []string
	for _, table := range tables {
		names = append(names, quoteMySQL(table.Name))
	}
	out := server.Exec(t, "USE "+quoteMySQL(database)+"; CHECKSUM TABLE "+strings.Join(names, ", "))
	return strings.ReplaceAll(out, database+".", "")
}

// as returns the address of a database for another account.
func as(server *testserver.MariaDBServer, user, password, database string) string {
	return user + ":" + password + "@tcp(" + server.Addr() + ")/" + url.PathEscape(database)
}

func TestMySQL(t *testing.T) {
	server := testserver.MariaDB(t, "--max-allowed-packet=4M")
	server.Exec(t, till)
	m := mysqlSource(t, server.DSN("till"), nil)
	// Other clients than the server's own keep the comments.
	require.NoError(t, m.exec(t.Context(), "CREATE PROCEDURE remarks() BEGIN -- it's ;;\n/* \"here ;; */ SELECT '/*'; # `and\nSELECT 2; -- 1;\n/*! SELECT 3; */ END"))
	warnings, err := m.Preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)

	t.Run("dump and restore", func(t *testing.T) {
		dump, counts := mysqlDumped(t, m)
		rows := make(map[string]int64)
		for _, table := range counts.Tables {
			rows[table.Name] = table.Rows
		}
		assert.Equal(t, map[string]int64{"customers": 503, "sales `of''\"; today": 3000, "empty_one": 0, "parts": 50}, rows)
		assert.EqualValues(t, []int64{2, 1, 4, 1}, []int64{counts.Views, counts.Triggers, counts.Routines, counts.Events})
		assert.Empty(t, counts.Warnings)
		assert.Contains(t, counts.ServerVersion, "MariaDB")
		assert.Contains(t, counts.ClientVersion, "dump")
		assert.Equal(t, "single-transaction", counts.Consistency)

		const name = "-re`store 100%/?é"
		restored, got, err := m.Restore(t.Context(), bytes.NewReader(dump), name)
		require.NoError(t, err)
		assert.Equal(t, name, restored)
		require.NoError(t, different(counts, got))
		assert.Equal(t, checksums(t, server, "till", counts.Tables), checksums(t, server, name, counts.Tables))
		assert.Contains(t, strings.Join(got.Warnings, ""), "1 events run in the restored database")

		_, _, err = m.Restore(t.Context(), bytes.NewReader(dump), name)
		assert.ErrorContains(t, err, "never goes into an existing one")
		require.NoError(t, different(counts, mysqlHolds(t, m, name)), "a refused restore touches nothing")
		copied := mysqlSource(t, as(server, server.User(), server.Password(), name), nil)
		_, again := mysqlDumped(t, copied)
		require.NoError(t, different(counts, again), "a database whose name looks like an option")
		require.NoError(t, m.drop(t.Context(), name))

		for what, damaged := range map[string][]byte{
			"nothing": nil, "a head": dump[:100], "half": dump[:len(dump)/2],
			"without its last line": dump[:bytes.LastIndex(dump, []byte("-- Dump"))],
			"a whole statement":     dump[:bytes.Index(dump, []byte("UNLOCK TABLES;"))+14],
			"another database":      append([]byte("CREATE DATABASE hijacked; USE hijacked;\n"), dump...),
		} {
			_, _, err := m.Restore(t.Context(), bytes.NewReader(damaged), "damaged")
			assert.ErrorContains(t, err, "damaged or cut", what)
		}
		assert.Equal(t, "0\n", server.Exec(t, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('damaged', 'hijacked')"), "nothing is left of a failed restore")
		_, _, err = m.Restore(t.Context(), io.MultiReader(bytes.NewReader(dump), failingReader{errors.New("the disk is gone")}), "damaged")
		assert.ErrorContains(t, err, "the disk is gone")
	})

	t.Run("a row that breaks", func(t *testing.T) {
		sqlText := "CREATE TABLE cards (number bigint PRIMARY KEY);\nINSERT INTO cards VALUES (4111111111111111),(4111111111111111);\n-- Dump completed\n"
		_, _, err := m.Restore(t.Context(), strings.NewReader(sqlText), "")
		require.ErrorContains(t, err, "ERROR 1062 (23000) at line 2: Duplicate entry")
		assert.NotContains(t, err.Error(), "4111", "no row in an error")
	})

	t.Run("a program that leaves something out", func(t *testing.T) {
		for option, lacks := range map[string]string{
			"--ignore-table=till.parts": "table parts", "--ignore-table=till.rich": "view rich", "--skip-triggers": "trigger stamp",
			"--skip-routines": "function tax", "--skip-events": "event nightly",
		} {
			client := filepath.Join(t.TempDir(), "dump")
			script := "#!/bin/sh\nfor a; do shift; [ \"$a\" != -- ] || set -- \"$@\" " + option + "; set -- \"$@\" \"$a\"; done\nexec " +
				testserver.Lookup(t, "mariadb-dump", "mariadb-client") + " \"$@\"\n"
			require.NoError(t, os.WriteFile(client, []byte(script), 0o700))
			_, err := mysqlSource(t, server.DSN("till"), &MySQLOptions{Dump: client}).Dump(t.Context(), io.Discard)
			assert.ErrorContains(t, err, "has left out ", option)
			assert.ErrorContains(t, err, lacks, option)
		}
		client := filepath.Join(t.TempDir(), "restore")
		script := "#!/bin/sh\n[ \"$2\" != --help ] || exec %[1]s \"$@\"\n%[1]s \"$@\" && exec %[1]s \"$1\" --execute='DROP TRIGGER short.stamp'\n"
		require.NoError(t, os.WriteFile(client, fmt.Appendf(nil, script, testserver.Lookup(t, "mariadb", "mariadb-client")), 0o700))
		dump, _ := mysqlDumped(t, m)
		_, _, err := mysqlSource(t, server.DSN("till"), &MySQLOptions{Restore: client}).Restore(t.Context(), bytes.NewReader(dump), "short")
		require.ErrorContains(t, err, "it has 0 triggers instead of 1")
		assert.Empty(t, server.Exec(t, "SHOW DATABASES LIKE 'short'"))
	})

	t.Run("passwords", func(t *testing.T) { mysqlPasswords(t, server) })
	t.Run("grants", func(t *testing.T) { mysqlPrivileges(t, server) })
	t.Run("hides its password and stops", func(t *testing.T) { mysqlHides(t, server) })
	t.Run("killed, cut off, full disk", func(t *testing.T) { mysqlBreaks(t, server) })
	t.Run("definitions change", func(t *testing.T) { mysqlDefinitions(t, server) })
	t.Run("what a transaction does not protect", func(t *testing.T) { mysqlWarns(t, server) })
	t.Run("counts under writers", func(t *testing.T) { mysqlWriters(t, server) })
	t.Run("job", func(t *testing.T) { mysqlJob(t, server) })

	t.Run("another database or account", func(t *testing.T) {
		wrong, err := NewMySQL(m.db, server.DSN("mysql"), nil)
		require.NoError(t, err)
		_, err = wrong.Dump(t.Context(), io.Discard)
		assert.ErrorContains(t, err, `the database "till" and the address names "mysql"`)
		wrong, err = NewMySQL(m.db, as(server, "other", "", "till"), nil)
		require.NoError(t, err)
		_, err = wrong.Preflight(t.Context())
		assert.ErrorContains(t, err, `connected as "root" and the address names the user "other"`)
	})
	t.Run("no server", func(t *testing.T) {
		server.Kill()
		_, err := m.Dump(t.Context(), io.Discard)
		assert.ErrorContains(t, err, "backup: ")
		assert.NotContains(t, err.Error(), server.Password())
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func mysqlPasswords(t *testing.T, server *testserver.MariaDBServer) {
	for i, password := range []string{
		"", "plain", `a:b\c`, `\`, `\\`, `ends in \`, " blank ", "#x", `a"b#c`, `"`, `""`, `"quoted"`, "'", `it's; "`, "`$HOME $(id)`", "%s%20", "*",
		"é日😀", "tab\tin", "new\nline", "carriage\rreturn", "?&=@/#+", `\n\t\s`, "!include /etc/passwd", "[client]", strings.Repeat("long", 60),
	} {
		user := fmt.Sprintf("user%d", i)
		server.Exec(t, fmt.Sprintf("SET NAMES utf8mb4; CREATE USER %s IDENTIFIED BY '%s'; GRANT ALL ON till.* TO %s; GRANT SELECT ON mysql.proc TO %s;",
			user, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password), user, user))
		db := mysqlConnect(t, as(server, user, password, "till"))
		address := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: server.Addr(), Path: "/till"}
		m, err := NewMySQL(db, address.String(), nil)
		require.NoError(t, err, "%q", password)
		_, err = m.Dump(t.Context(), io.Discard)
		require.NoError(t, err, "%q", password)
	}
	m, err := NewMySQL(mysqlConnect(t, server.DSN("till")), as(server, "root", "not-the-password", "till"), nil) // only the program has the wrong one
	require.NoError(t, err)
	folder, err := NewFolder(filepath.Join(t.TempDir(), "pos"))
	require.NoError(t, err)
	job, err := New("pos", m, folder, &Options{Logger: silent})
	require.NoError(t, err)
	_, err = job.Backup(t.Context())
	require.ErrorContains(t, err, "Access denied")
	require.ErrorContains(t, err, "the user or the password is wrong")
	assert.NotContains(t, err.Error(), "not-the-password")
	files, err := filepath.Glob(filepath.Join(folder.Path(), "pos_*"))
	require.NoError(t, err)
	assert.Empty(t, files)
}

// Each missing grant is refused before anything is dumped, with the statement that
// grants it; that statement is what makes the dump whole.
func mysqlPrivileges(t *testing.T, server *testserver.MariaDBServer) {
	_, want := mysqlDumped(t, mysqlSource(t, server.DSN("till"), nil))
	all := []string{"SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"}
	server.Exec(t, "CREATE USER clerk IDENTIFIED BY 'pw'; GRANT USAGE ON *.* TO clerk; CREATE ROLE dumper; GRANT ALL ON till.* TO dumper;")
	m := mysqlSource(t, as(server, "clerk", "pw", "till"), nil)
	m.db.SetMaxIdleConns(0) // privileges on a database count from the next connection on
	for _, missing := range all {
		server.Exec(t, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM clerk")
		for _, privilege := range all {
			if privilege != missing {
				server.Exec(t, "GRANT "+privilege+" ON till.* TO clerk")
			}
		}
		server.Exec(t, "GRANT SELECT ON till.customers TO clerk; GRANT SELECT ON mysql.proc TO clerk;")
		if missing == "EXECUTE" {
			server.Exec(t, "REVOKE SELECT ON mysql.proc FROM clerk")
		}
		var out bytes.Buffer
		_, err := m.Dump(t.Context(), &out)
		require.Error(t, err, missing)
		assert.Zero(t, out.Len())
		_, preflightErr := m.Preflight(t.Context())
		require.EqualError(t, preflightErr, err.Error())
		_, statement, found := strings.Cut(err.Error(), "GRANT ")
		require.True(t, found, err.Error())
		statement, _, _ = strings.Cut("GRANT "+statement, ";")
		assert.Contains(t, statement, missing)
		server.Exec(t, statement)
		if missing == "EXECUTE" { // sees the routines now, and not what is in them
			_, err = m.Dump(t.Context(), io.Discard)
			require.ErrorContains(t, err, "the account may not read function tax, procedure odd, procedure odder, procedure remarks: GRANT SELECT ON `mysql`.`proc`")
			_, statement, _ = strings.Cut(err.Error(), "remarks: ")
			server.Exec(t, statement)
		}
		_, err = m.Preflight(t.Context())
		require.NoError(t, err, missing)
		_, got := mysqlDumped(t, m)
		require.NoError(t, different(want, got), missing)
		locking := &MySQL{db: m.db, target: m.target, opts: m.opts}
		locking.opts.LockTables = true
		_, err = locking.Preflight(t.Context())
		require.ErrorContains(t, err, "lacks LOCK TABLES")
	}
	server.Exec(t, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM clerk; GRANT dumper TO clerk; GRANT INSERT ON till.* TO clerk")
	_, err := m.Preflight(t.Context())
	require.ErrorContains(t, err, "lacks SELECT, SHOW VIEW, TRIGGER, EVENT", "a role that is not active grants nothing")
	server.Exec(t, "SET DEFAULT ROLE dumper FOR clerk; GRANT SELECT ON mysql.proc TO dumper")
	_, got := mysqlDumped(t, m)
	require.NoError(t, different(want, got), "by a role")

	// Restoring what belongs to others.
	dump, _ := mysqlDumped(t, m)
	server.Exec(t, "GRANT ALL ON `till\\_%`.* TO clerk")
	_, _, err = m.Restore(t.Context(), bytes.NewReader(dump), "")
	require.ErrorContains(t, err, "restore as an administrator")
	assert.Equal(t, "", server.Exec(t, "SHOW DATABASES LIKE 'till\\_%'"))
	_, _, err = m.Restore(t.Context(), bytes.NewReader(dump), "elsewhere")
	require.ErrorContains(t, err, `create the database "elsewhere"`)

	foreign := bytes.ReplaceAll(dump, []byte("`root`@"), []byte("`gone`@"))
	root := mysqlSource(t, server.DSN("till"), nil)
	name, counts, err := root.Restore(t.Context(), bytes.NewReader(foreign), "till_foreign")
	require.NoError(t, err)
	assert.Contains(t, strings.Join(counts.Warnings, "\n"), "belong to `gone`@`")
	require.NoError(t, root.drop(t.Context(), name))
}

// While the program runs nobody else can see the password, and afterwards nothing of
// it is left. The program ends with its context.
func mysqlHides(t *testing.T, server *testserver.MariaDBServer) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	server.Exec(t, "CREATE DATABASE large; USE large; CREATE TABLE wide (id int PRIMARY KEY, line text); INSERT INTO wide SELECT seq, REPEAT('x', 4000) FROM seq_1_to_5000;"+
		"CREATE USER hidden IDENTIFIED BY 's3cr3t-of-the-user'; GRANT ALL ON large.* TO hidden;")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("MYSQL_PWD", "s3cr3t-of-the-environment")
	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("HOME"), ".my.cnf"), []byte("[client]\npassword=wrong\n[mysqldump]\nskip-comments\nno-data\n"), 0o600))
	m := mysqlSource(t, as(server, "hidden", "s3cr3t-of-the-user", "large"), nil)
	_, counts := mysqlDumped(t, m)
	assert.Equal(t, []Table{{"wide", 5000}}, counts.Tables, "the user's own options are not read")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched, canceled := 0, false
	_, err := m.Dump(ctx, writerFunc(func(b []byte) (int, error) {
		if canceled {
			return len(b), nil // what was still in the pipe
		}
		watched += hides(t, "mariadb-dump", "s3cr3t")
		files, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*"))
		assert.NoError(t, err)
		assert.Len(t, files, 1)
		for _, file := range files {
			info, err := os.Stat(file)
			if assert.NoError(t, err) {
				assert.Equal(t, os.FileMode(0o600), info.Mode())
			}
		}
		cancel()
		canceled = true
		return len(b), nil
	}))
	assert.ErrorIs(t, err, context.Canceled)
	assert.GreaterOrEqual(t, watched, 2)
	assert.Empty(t, childrenOf(t, os.Getpid(), "mariadb-dump"))
	dump, _ := mysqlDumped(t, m)
	server.Exec(t, "GRANT ALL ON large_hidden.* TO hidden")
	watched = 0
	_, _, err = m.Restore(t.Context(), io.MultiReader(bytes.NewReader(dump[:len(dump)/2]), readerFunc(func([]byte) (int, error) {
		watched += hides(t, "mariadb", "s3cr3t") // which waits for the other half
		return 0, io.EOF
	}), bytes.NewReader(dump[len(dump)/2:])), "large_hidden")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, watched, 2)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func mysqlBreaks(t *testing.T, server *testserver.MariaDBServer) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	m := mysqlSource(t, server.DSN("large"), nil)
	_, err := m.Dump(t.Context(), writerFunc(func(b []byte) (int, error) {
		for _, pid := range childrenOf(t, os.Getpid(), "mariadb-dump") {
			var id int
			if _, err := fmt.Sscan(pid, &id); assert.NoError(t, err) {
				if process, err := os.FindProcess(id); assert.NoError(t, err) {
					process.Kill()
				}
			}
		}
		return len(b), nil
	}))
	assert.ErrorContains(t, err, "signal: killed")

	cut := false
	_, err = m.Dump(t.Context(), writerFunc(func(b []byte) (int, error) {
		if !cut && bytes.Contains(b, []byte("INSERT INTO")) {
			cut = true
			server.Exec(t, "KILL "+strings.TrimSpace(server.Exec(t, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = 'large' AND COMMAND = 'Query' AND INFO LIKE '%FROM `wide`%'")))
		}
		return len(b), nil
	}))
	require.True(t, cut)
	assert.ErrorContains(t, err, "the server ended the connection")

	full := errors.New("no space left on device")
	_, err = m.Dump(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }))
	assert.ErrorIs(t, err, full)

	server.CreateDatabase(t, "disk")
	server.Exec(t, "USE disk; CREATE TABLE t (id int PRIMARY KEY, x char(200)) ENGINE=InnoDB; INSERT INTO t SELECT seq, MD5(seq) FROM seq_1_to_20000;")
	checkFullDisk(t, mysqlSource(t, server.DSN("disk"), nil))
}

// during runs statements when a dump of large has begun to write rows; the dump cannot
// end before, for what is behind them does not fit into the pipe.
func during(t *testing.T, server *testserver.MariaDBServer, m *MySQL, statements string) (Contents, error) {
	t.Helper()
	done := false
	c, err := m.Dump(t.Context(), writerFunc(func(b []byte) (int, error) {
		if !done && bytes.Contains(b, []byte("INSERT INTO")) {
			done = true
			server.Exec(t, "USE large; "+statements)
		}
		return len(b), nil
	}))
	require.True(t, done)
	return c, err
}

func mysqlDefinitions(t *testing.T, server *testserver.MariaDBServer) {
	m := mysqlSource(t, server.DSN("large"), nil)
	server.Exec(t, "USE large; CREATE TABLE zlast (id int); INSERT INTO zlast VALUES (1), (2); CREATE TABLE early (id int); CREATE PROCEDURE pr() SELECT 1;")
	_, err := during(t, server, m, "ALTER TABLE zlast ADD COLUMN more int, FORCE")
	require.ErrorContains(t, err, "the definition of a table was changed while the dump was running")
	_, err = during(t, server, m, "TRUNCATE zlast")
	require.ErrorContains(t, err, "the definition of a table was changed while the dump was running")
	_, err = during(t, server, m, "DROP TABLE zlast")
	require.ErrorContains(t, err, "zlast")

	c, err := during(t, server, m, "ALTER TABLE early COMMENT 'changed'; CREATE TABLE fresh (id int); DROP PROCEDURE pr")
	require.NoError(t, err)
	require.Len(t, c.Warnings, 1)
	for _, said := range []string{"table early was changed", "table fresh was created", "procedure pr was dropped", "it does not hold procedure pr"} {
		assert.Contains(t, c.Warnings[0], said)
	}
	assert.Equal(t, []Table{{"early", 0}, {"wide", 5000}}, c.Tables)

	server.Exec(t, "USE large; CREATE VIEW v AS SELECT * FROM fresh; CREATE VIEW w AS SELECT 1; DROP TABLE fresh;")
	_, err = m.Preflight(t.Context())
	require.ErrorContains(t, err, "DROP VIEW, or repair, v (")
	assert.NotContains(t, err.Error(), " w (")
	_, err = m.Dump(t.Context(), io.Discard)
	require.ErrorContains(t, err, "a view does not work")
	server.Exec(t, "USE large; DROP VIEW v; CREATE TABLE zlast (id int); INSERT INTO zlast VALUES (1), (2)")

	// A run tries again, and its backup is of the tables as they are then.
	for name, happens := range map[string]string{
		"altered": "USE large; ALTER TABLE zlast ADD COLUMN more int, FORCE",
		"cut":     "",
		"dropped": "USE large; DROP TABLE zlast; CREATE TABLE zlast (id int); INSERT INTO zlast VALUES (1), (2)",
	} {
		times := 0
		j, _ := newTestJob(t, disturbedSource{m, func() {
			if times++; times == 1 {
				if name == "cut" {
					happens = "KILL " + strings.TrimSpace(server.Exec(t, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = 'large' AND COMMAND = 'Query' AND INFO LIKE '%FROM `wide`%'"))
				}
				server.Exec(t, happens)
			}
		}}, &Options{Drill: DrillOptions{Every: -1}})
		j.pause = 0
		report, err := j.Backup(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, 2, times, name)
		require.Contains(t, strings.Join(report.Manifest.Warnings, ";"), "begun anew", name)
		require.Equal(t, []Table{{"early", 0}, {"wide", 5000}, {"zlast", 2}}, report.Manifest.Tables)
	}
}

// disturbedSource has something happen when a dump begins to write rows.
type disturbedSource struct {
	Source
	happens func()
}

func (s disturbedSource) Dump(ctx context.Context, w io.Writer) (Contents, error) {
	done := false
	return s.Source.Dump(ctx, writerFunc(func(b []byte) (int, error) {
		if !done && (bytes.Contains(b, []byte("INSERT INTO")) || bytes.Contains(b, []byte("PGDMP"))) {
			done = true
			s.happens()
		}
		return w.Write(b)
	}))
}

func mysqlWarns(t *testing.T, server *testserver.MariaDBServer) {
	server.Exec(t, `CREATE DATABASE old; USE old;
		CREATE TABLE isam (id int) ENGINE=MyISAM; INSERT INTO isam VALUES (1), (2);
		CREATE TABLE hist (id int) WITH SYSTEM VERSIONING; INSERT INTO hist VALUES (1); UPDATE hist SET id = 2;
		CREATE TABLE big (id int, body longblob);
		CREATE TRIGGER old.bound BEFORE INSERT ON old.isam FOR EACH ROW SET NEW.id = 1;`)
	conn, err := mysqlConnect(t, server.DSN("old")).Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "INSERT INTO big VALUES (1, ?)", bytes.Repeat([]byte("x"), 3<<20))
	require.NoError(t, err)
	m := mysqlSource(t, server.DSN("old"), nil)
	warnings, err := m.Preflight(t.Context())
	require.NoError(t, err)
	require.Len(t, warnings, 2)
	assert.Contains(t, warnings[0], "isam (MyISAM) while the dump runs")
	assert.Contains(t, warnings[1], "past rows of the system-versioned hist")
	dump, counts := mysqlDumped(t, m)
	assert.Equal(t, []Table{{"big", 1}, {"hist", 1}, {"isam", 2}}, counts.Tables)
	require.Len(t, counts.Warnings, 2)
	assert.Contains(t, counts.Warnings[0], "max_allowed_packet", "in hexadecimal it is too large for the server")
	assert.Contains(t, counts.Warnings[1], "triggers bound were created with the name")

	_, _, err = m.Restore(t.Context(), bytes.NewReader(dump), "")
	require.ErrorContains(t, err, "max_allowed_packet")
	server.Exec(t, "SET GLOBAL max_allowed_packet = 67108864")
	_, _, err = m.Restore(t.Context(), bytes.NewReader(dump), "")
	require.ErrorContains(t, err, "the trigger was created with the name of its database")

	locked := mysqlSource(t, server.DSN("old"), &MySQLOptions{LockTables: true})
	warnings, err = locked.Preflight(t.Context())
	require.NoError(t, err)
	assert.Len(t, warnings, 1)
	_, counts = mysqlDumped(t, locked)
	assert.Equal(t, "lock-tables", counts.Consistency)
}

// The counts are those of the dump, to the row, and of one moment: each writer inserts
// into two tables in one transaction.
func mysqlWriters(t *testing.T, server *testserver.MariaDBServer) {
	m := mysqlSource(t, server.DSN("till"), nil)
	server.Exec(t, "USE till; CREATE TABLE a_left (id int PRIMARY KEY AUTO_INCREMENT); CREATE TABLE z_right (id int PRIMARY KEY AUTO_INCREMENT, line text);")
	writers := mysqlConnect(t, server.DSN("till"))
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	pair := func() error {
		tx, err := writers.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for _, statement := range []string{"INSERT INTO a_left VALUES ()", "UPDATE customers SET name = CONCAT('x', RAND()) WHERE id = 7", "INSERT INTO z_right (line) VALUES ('),(')"} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		written.Add(1)
		return tx.Commit()
	}
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			for ctx.Err() == nil {
				if err := pair(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer done.Wait()
	defer stop()
	for round := range 3 {
		before := written.Load()
		dump, counts := mysqlDumped(t, m)
		left, right := counts.Tables[0], counts.Tables[len(counts.Tables)-1]
		assert.Equal(t, "a_left", left.Name)
		assert.Equal(t, "z_right", right.Name)
		assert.Equal(t, left.Rows, right.Rows, "of one moment")
		assert.Greater(t, written.Load(), before, "somebody did write")
		_, got, err := m.Restore(t.Context(), bytes.NewReader(dump), fmt.Sprintf("till_copy%d", round))
		require.NoError(t, err)
		require.NoError(t, different(counts, got))
	}
}

// A whole run, and its artefact read back by the stock tools alone.
func TestMySQLDrills(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE t (id int PRIMARY KEY) ENGINE=InnoDB; INSERT INTO t VALUES (1), (2), (3); CREATE USER clerk IDENTIFIED BY 'pw'; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON shop.* TO clerk; GRANT SELECT ON mysql.proc TO clerk;")
	m := mysqlSource(t, server.DSN("shop"), nil)
	databases := func() []string {
		names, err := queryStrings(t.Context(), m.db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
		require.NoError(t, err)
		return names
	}
	checkDrills(t, m, func(statement string) { server.Exec(t, statement) }, databases)
	var current string // no connection of the pool is in another database
	for range 5 {
		require.NoError(t, m.db.QueryRow("SELECT DATABASE()").Scan(&current))
		require.Equal(t, "shop", current)
	}
	checkNoRightToDrill(t, mysqlSource(t, as(server, "clerk", "pw", "shop"), nil))

	// Events would run in the scratch database.
	server.Exec(t, "USE shop; CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t; SET GLOBAL event_scheduler = ON;")
	j, _ := newTestJob(t, m, nil)
	before := databases()
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.False(t, report.Drilled)
	require.Contains(t, strings.Join(report.Warnings, ";"), "1 events, which would run")
	server.Exec(t, "SET GLOBAL event_scheduler = OFF;")
	v, err := j.Drill(t.Context(), "")
	require.NoError(t, err)
	require.True(t, v.Drill.OK)
	require.Equal(t, before, databases())
}

func mysqlJob(t *testing.T, server *testserver.MariaDBServer) {
	unzstd := testserver.Lookup(t, "zstd", "zstd")
	client := testserver.Lookup(t, "mariadb", "mariadb-client")
	m := mysqlSource(t, server.DSN("till"), nil)
	folder, err := NewFolder(filepath.Join(t.TempDir(), "pos"))
	require.NoError(t, err)
	job, err := New("pos", m, folder, &Options{Logger: silent})
	require.NoError(t, err)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	assert.True(t, report.Verified)
	assert.Equal(t, "mariadb", report.Manifest.Engine)
	require.NoError(t, different(mysqlHolds(t, m, "till"), report.Manifest.Contents))

	restored, err := job.Restore(t.Context(), report.Manifest.ID, "by_us")
	require.NoError(t, err)
	assert.Equal(t, "by_us", restored.Target)

	text, err := exec.CommandContext(t.Context(), unzstd, "-q", "-dc", filepath.Join(folder.Path(), report.Manifest.File)).Output()
	require.NoError(t, err)
	server.CreateDatabase(t, "by_hand")
	_, port, _ := strings.Cut(server.Addr(), ":")
	cmd := exec.CommandContext(t.Context(), client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+port, "--user="+server.User(), "by_hand")
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+server.Password())
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, different(report.Manifest.Contents, mysqlHolds(t, m, "by_hand")))
	assert.Equal(t, checksums(t, server, "till", report.Manifest.Tables), checksums(t, server, "by_hand", report.Manifest.Tables))
}
