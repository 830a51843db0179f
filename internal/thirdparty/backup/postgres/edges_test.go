package postgres_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// pgbouncer starts one in front of a server, and returns the address of a database.
func pgbouncer(t *testing.T, server *testserver.PostgresServer, mode, database string) string {
	t.Helper()
	program := testserver.Lookup(t, "pgbouncer", "pgbouncer")
	dir, port := t.TempDir(), testserver.FreePort(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	host, serverPort, _ := net.SplitHostPort(server.Addr())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users"), fmt.Appendf(nil, "%q %q\n", server.User(), server.Password()), 0o644))
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%d\nunix_socket_dir=\nauth_type=plain\nauth_file=%s/users\npool_mode=%s\nignore_startup_parameters=extra_float_digits\n", host, serverPort, port, dir, mode)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ini"), []byte(config), 0o644))
	args := []string{filepath.Join(dir, "ini")}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres"}, args...) // it refuses to run as root
	}
	cmd := exec.Command(program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	dsn := strings.Replace(server.DSN(database), server.Addr(), fmt.Sprintf("127.0.0.1:%d", port), 1)
	db := connect(t, dsn)
	for range 300 {
		if db.PingContext(t.Context()) == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.NoError(t, db.PingContext(t.Context()))
	require.NoError(t, db.Close())
	return dsn
}

// TestEdges shares one server among tests of what stands around a database.
func TestEdges(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")

	t.Run("a pooler of transactions is refused", func(t *testing.T) {
		p := source(t, pgbouncer(t, server, "transaction", "shop"), nil)
		_, err := p.Preflight(t.Context())
		require.ErrorContains(t, err, "pool_mode = session")
		_, err = p.Lock(t.Context(), "pos")
		require.ErrorContains(t, err, "pool_mode = session")
		_, err = p.Dump(t.Context(), io.Discard)
		require.ErrorContains(t, err, "pool_mode = session")
	})
	t.Run("a pooler of sessions works", func(t *testing.T) {
		p := source(t, pgbouncer(t, server, "session", "shop"), nil)
		unlock, err := p.Lock(t.Context(), "pos")
		require.NoError(t, err)
		archive, want := dumped(t, p)
		require.NoError(t, unlock())
		restored(t, p, archive, driver.RestoreOptions{Target: "pooled", Want: want})
		_, err = p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
		require.NoError(t, err)
		assert.Equal(t, "3\n", server.Exec(t, "shop", "SELECT count(*) FROM t"))
	})
	// A materialized view that its owner may not fill any more costs only itself.
	t.Run("an unreadable materialized view", func(t *testing.T) {
		server.CreateDatabase(t, "views")
		server.Exec(t, "views", `CREATE ROLE viewer; CREATE TABLE t AS SELECT 1 AS i; GRANT CREATE ON SCHEMA public TO viewer; CREATE MATERIALIZED VIEW "a;m" AS SELECT * FROM t; ALTER MATERIALIZED VIEW "a;m" OWNER TO viewer;
			CREATE MATERIALIZED VIEW b AS SELECT * FROM t`)
		p := source(t, server.DSN("views"), nil)
		archive, want := dumped(t, p)
		got := restored(t, p, archive, driver.RestoreOptions{Target: "views_copy", Want: want})
		require.Len(t, got.Warnings, 1)
		assert.Contains(t, got.Warnings[0], `not filled: the materialized views public."a;m".`)
		assert.Equal(t, "1\n", server.Exec(t, "views_copy", "SELECT * FROM b"))
	})
	// A role that is not a superuser restores the rest, and lists what only a superuser can.
	t.Run("a plain role", func(t *testing.T) {
		server.Exec(t, "", "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'pw'; CREATE ROLE stranger")
		server.CreateDatabase(t, "rich")
		server.Exec(t, "rich", `CREATE TABLE t (i int); INSERT INTO t VALUES (1); CREATE TABLE strange (i int); ALTER TABLE strange OWNER TO stranger; CREATE EXTENSION hstore; REVOKE ALL ON FUNCTION slice(hstore, text[]) FROM PUBLIC;
			CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER guard ON ddl_command_end EXECUTE FUNCTION guard(); COMMENT ON EVENT TRIGGER guard IS 'x';
			CREATE PUBLICATION everything FOR ALL TABLES; COMMENT ON PUBLICATION everything IS 'x'; CREATE PUBLICATION some_of FOR TABLE t; REVOKE EXECUTE ON FUNCTION pg_sleep(double precision) FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO plain;
			SET client_min_messages = error; CREATE SUBSCRIPTION sub CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)`)
		archive, want := dumped(t, source(t, server.DSN("rich"), nil))
		p := source(t, as(t, server.DSN("gone"), "plain"), nil)
		got := restored(t, p, archive, driver.RestoreOptions{Target: "rich_copy", Want: want})
		text := strings.Join(got.Warnings, "\n")
		for _, left := range []string{"event trigger guard", "publication everything", "subscription sub", "pg_sleep", "slice", "objects of pg_database_owner, postgres, stranger belong to plain"} {
			assert.Contains(t, text, left)
		}
		assert.Equal(t, "some_of\n", server.Exec(t, "rich_copy", "SELECT pubname FROM pg_publication"))

		// Into an empty database that another role made, with another order of text.
		server.Exec(t, "", "ALTER ROLE plain NOCREATEDB; CREATE DATABASE given OWNER plain TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'")
		got = restored(t, p, archive, driver.RestoreOptions{Target: "given", Want: want})
		assert.Contains(t, strings.Join(got.Warnings, "\n"), `the database given has lc_collate "C.UTF-8" and the original "C"`)
	})
	// All databases of the server as one job, restored on another server under their names.
	t.Run("a server", func(t *testing.T) {
		testserver.NeedsLong(t)
		own, other := testserver.Postgres(t), testserver.Postgres(t)
		own.CreateDatabase(t, "shop")
		own.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
		own.CreateDatabase(t, "a/b=c,d %")
		own.Exec(t, "a/b=c,d %", "CREATE TABLE t (v text); INSERT INTO t VALUES ('é')")
		job := func(s *testserver.PostgresServer, folder string) *backup.Job {
			all, err := postgres.NewServer(connect(t, s.DSN("")), s.DSN(""), nil)
			require.NoError(t, err)
			return jobIn(t, folder, all, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1}})
		}
		folder := filepath.Join(t.TempDir(), "backups")
		here, there := job(own, folder), job(other, folder)
		run, err := here.Backup(t.Context())
		require.NoError(t, err)
		assert.True(t, run.Restored)
		assert.Len(t, run.Manifest.Parts, 3)
		assert.EqualValues(t, 3, run.Manifest.RowsTotal)
		_, err = there.Restore(t.Context(), run.Manifest.ID, "*=*", nil)
		require.NoError(t, err)
		assert.Equal(t, script(t, own.DSN("shop")), script(t, other.DSN("shop")))
		assert.Equal(t, "é\n", other.Exec(t, "a/b=c,d %", "SELECT v FROM t"))
		// The second part cannot be restored: the first one goes, too.
		other.CreateDatabase(t, "shop_x")
		other.Exec(t, "shop_x", "CREATE TABLE t (i int)")
		_, err = there.Restore(t.Context(), run.Manifest.ID, "*=*_x", nil)
		require.ErrorContains(t, err, "shop_x")
		assert.NotContains(t, databases(t, other), "postgres_x")
	})
	// A label without its provider has no effect, and stops no restore. Rows that pg_dump
	// leaves out are named.
	t.Run("security labels, and rows of an extension", func(t *testing.T) {
		server.CreateDatabase(t, "labels")
		server.Exec(t, "labels", `CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'); SET allow_system_table_mods = on;
			INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label) VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'a dummy', 'secret'), ('t'::regclass, 'pg_class'::regclass, 2, 'a dummy', 'secret'), ('public'::regnamespace, 'pg_namespace'::regclass, 0, 'other', 'x');
			INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'other', 'x' FROM pg_database WHERE datname = 'labels';
			CREATE EXTENSION hstore; CREATE TABLE "of it" AS SELECT 1 AS i; ALTER EXTENSION hstore ADD TABLE "of it"`)
		p := source(t, server.DSN("labels"), nil)
		archive, want := dumped(t, p)
		assert.Contains(t, strings.Join(want.Warnings, "\n"), `the rows of the table public."of it" are not in the backup, because it belongs to the extension hstore`)
		got := restored(t, p, archive, driver.RestoreOptions{Target: "labels_copy", Want: want})
		require.Len(t, got.Warnings, 1)
		for _, left := range []string{`the security label of "a dummy" on TABLE t`, "the security label of other on SCHEMA public", "the security label of other on DATABASE labels"} {
			assert.Contains(t, got.Warnings[0], left)
		}
		_, err := p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
		require.NoError(t, err)
	})
	// A column that a parent got later comes first in the restored children.
	t.Run("columns in another order", func(t *testing.T) {
		testserver.NeedsLong(t)
		server.CreateDatabase(t, "family")
		server.Exec(t, "family", `CREATE TABLE parent (id int); CREATE TABLE child (v text, "x, (y" int, big text) INHERITS (parent); ALTER TABLE parent ADD COLUMN late int DEFAULT 5; INSERT INTO child SELECT i, E'tab\t' || i, -i, repeat('x', i * 40000), i * 2 FROM generate_series(1, 40) i`)
		p := source(t, server.DSN("family"), nil)
		archive, want := dumped(t, p)
		restored(t, p, archive, driver.RestoreOptions{Target: "family_copy", Want: want})
		_, err := p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
		require.NoError(t, err)
		rows := `SELECT id, late, v, "x, (y", md5(big) FROM child ORDER BY id`
		assert.Equal(t, server.Exec(t, "family", rows), server.Exec(t, "family_copy", rows))
	})
	// The hash of an enum depends on its number: rows land in another partition of the copy.
	t.Run("rows that change their partition", func(t *testing.T) {
		server.CreateDatabase(t, "hashed")
		server.Exec(t, "hashed", `CREATE TYPE filler AS ENUM ('x'); CREATE TYPE colour AS ENUM ('red', 'green', 'blue', 'black', 'white', 'grey'); CREATE TABLE h (c colour, n int) PARTITION BY HASH (c);
			CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 1); CREATE TABLE h2 PARTITION OF h FOR VALUES WITH (MODULUS 3, REMAINDER 2);
			INSERT INTO h SELECT c, i FROM unnest(enum_range(NULL::colour)) c, generate_series(1, 10) i`)
		p := source(t, server.DSN("hashed"), nil)
		archive, want := dumped(t, p)
		require.Len(t, want.Tables, 1)
		assert.Equal(t, "public.h", want.Tables[0].Name)
		assert.EqualValues(t, 60, want.Tables[0].Rows)
		restored(t, p, archive, driver.RestoreOptions{Target: "hashed_copy", Want: want})
		one, err := want.Only([]string{"public.h"})
		require.NoError(t, err)
		restored(t, p, archive, driver.RestoreOptions{Target: "hashed_one", Tables: []string{"public.h"}, Want: one})
		rows := "SELECT c, n FROM h ORDER BY 1, 2"
		for _, copied := range []string{"hashed_copy", "hashed_one"} {
			assert.Equal(t, server.Exec(t, "hashed", rows), server.Exec(t, copied, rows))
		}
	})
	t.Run("a service", func(t *testing.T) {
		host, port, _ := net.SplitHostPort(server.Addr())
		file := filepath.Join(t.TempDir(), "services")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "[pos]\nhost=%s\nport=%s\nuser=%s\npassword=%s\ndbname=shop\nsslmode=disable\n", host, port, server.User(), server.Password()), 0o600))
		p := source(t, "service=pos servicefile="+file, nil)
		archive, want := dumped(t, p)
		restored(t, p, archive, driver.RestoreOptions{Target: "served", Want: want})
	})
	t.Run("an encrypted connection is demanded of pg_dump, too", func(t *testing.T) {
		p := source(t, strings.Replace(server.DSN("shop"), "sslmode=disable", "sslmode=require", 1), nil)
		_, err := p.Dump(t.Context(), io.Discard)
		require.Error(t, err)
	})
}
