package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

const guarded = `
	SET ROLE mig;
	CREATE TABLE sales (id INT PRIMARY KEY, v INT); INSERT INTO sales VALUES (1,10),(2,20);
	CREATE TABLE secrets (x TEXT, y TEXT); INSERT INTO secrets VALUES ('top', 'y');
	CREATE FUNCTION peek() RETURNS TEXT LANGUAGE sql SECURITY DEFINER AS 'SELECT x FROM public.secrets';
	CREATE PROCEDURE "Poke; ""me"""(a int, b text) LANGUAGE sql AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION peek() FROM PUBLIC; REVOKE ALL ON PROCEDURE "Poke; ""me""" FROM PUBLIC;
	GRANT SELECT, INSERT ON sales TO web; GRANT SELECT (x) ON secrets TO web WITH GRANT OPTION;
	CREATE SEQUENCE seq; GRANT USAGE ON SEQUENCE seq TO "odd name;";
	CREATE TYPE mood AS ENUM ('sad', 'ok'); REVOKE USAGE ON TYPE mood FROM PUBLIC; GRANT USAGE ON TYPE mood TO web;
	CREATE DOMAIN positive AS int CHECK (VALUE > 0); REVOKE ALL ON DOMAIN positive FROM PUBLIC;
	CREATE VIEW v AS SELECT id FROM sales; GRANT SELECT ON v TO web;
	CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM sales; GRANT SELECT ON m TO web;
	CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO web; CREATE TABLE app.t (d timestamptz); REVOKE INSERT ON app.t FROM mig;
	ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO web;
	ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
	ALTER TABLE sales ENABLE ROW LEVEL SECURITY; CREATE POLICY p1 ON sales FOR SELECT TO web USING (v < 100);
	CREATE POLICY p2 ON sales AS RESTRICTIVE TO web, "odd name;" USING (v <> 15);
	RESET ROLE;
	REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO web, intruder;
	SELECT lo_from_bytea(77001, 'large'); GRANT SELECT ON LARGE OBJECT 77001 TO web;
	REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
`

func guardedServer(t testing.TB) *testserver.PostgresServer {
	server := testserver.Postgres(t)
	server.Exec(t, "postgres", `CREATE ROLE intruder LOGIN PASSWORD 'pw'; CREATE ROLE mig LOGIN PASSWORD 'pw' CREATEDB; CREATE ROLE "odd name;"; CREATE ROLE web LOGIN PASSWORD 'pw'`)
	server.Exec(t, "postgres", "CREATE DATABASE two OWNER mig")
	server.Exec(t, "two", guarded)
	server.Exec(t, "postgres", `ALTER DATABASE two SET search_path = app, public; ALTER DATABASE two SET timezone = 'Asia/Tokyo'; ALTER DATABASE two CONNECTION LIMIT 50;
		ALTER ROLE web IN DATABASE two SET work_mem = '8MB'; COMMENT ON DATABASE two IS 'it''s; two'; REVOKE ALL ON DATABASE two FROM PUBLIC; GRANT CONNECT ON DATABASE two TO web, intruder`)
	return server
}

// Finding: an overwriting restore opened closed functions, locked the application out and
// lost the settings of the database.
func TestOverwriteKeepsOwnersPrivilegesAndSettings(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := guardedServer(t)
	p := source(t, server.DSN("two"), nil)
	archive, want := dumped(t, p)
	require.NotEmpty(t, want.Position.LSN)
	before, about := script(t, server.DSN("two")), aboutDatabase(t, server, "two")

	touched := 0
	got, err := p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want, Touch: func(context.Context) error { touched++; return nil }})
	require.NoError(t, err)
	assert.Empty(t, got.Warnings)
	assert.Equal(t, 1, touched)
	assert.Equal(t, before, script(t, server.DSN("two")))
	assert.Equal(t, about, aboutDatabase(t, server, "two"))

	intruder := connect(t, as(t, server.DSN("two"), "intruder"))
	_, err = intruder.ExecContext(t.Context(), "SELECT public.peek()")
	require.ErrorContains(t, err, "permission denied")
	var rows int
	require.NoError(t, connect(t, as(t, server.DSN("two"), "web")).QueryRowContext(t.Context(), "SELECT count(*) FROM public.sales").Scan(&rows))
	assert.Equal(t, 2, rows)

	// What was closed or opened since the backup stays as it is now; new objects of the
	// present go, dropped ones come back with the rights of the backup.
	server.Exec(t, "two", `REVOKE SELECT ON sales FROM web; REVOKE EXECUTE ON FUNCTION peek() FROM mig; GRANT SELECT ON secrets TO "odd name;"; ALTER TABLE app.t OWNER TO web;
		DROP VIEW v; CREATE TABLE later (i int); ALTER DEFAULT PRIVILEGES FOR ROLE mig IN SCHEMA app REVOKE SELECT ON TABLES FROM web`)
	server.Exec(t, "postgres", "REVOKE CONNECT ON DATABASE two FROM intruder; ALTER DATABASE two RESET timezone; ALTER DATABASE two CONNECTION LIMIT 40")
	rights := func() string {
		return server.Exec(t, "two", `SELECT relname, relowner::regrole, relacl FROM pg_class WHERE relname IN ('sales', 'secrets', 't') ORDER BY 1; SELECT proacl FROM pg_proc WHERE proname = 'peek'; SELECT defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, defaclacl FROM pg_default_acl`)
	}
	now := strings.Split(rights(), "\n")
	about = aboutDatabase(t, server, "two")
	_, err = p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
	require.NoError(t, err)
	after := strings.Split(rights(), "\n")
	assert.Equal(t, now[:len(now)-1], after[:len(after)-1])
	assert.Equal(t, about, aboutDatabase(t, server, "two"))
	assert.Contains(t, server.Exec(t, "two", "SELECT relacl FROM pg_class WHERE relname = 'v'"), "web=r/mig")
}

// A role that could not give everything back refuses, and the original stays.
func TestOverwriteRefusesToChangeRights(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := guardedServer(t)
	archive, want := dumped(t, source(t, server.DSN("two"), nil))
	before := script(t, server.DSN("two"))
	server.Exec(t, "postgres", "CREATE ROLE clerk LOGIN PASSWORD 'pw' CREATEDB; GRANT pg_read_all_data, pg_signal_backend TO clerk; GRANT CONNECT ON DATABASE two TO clerk")
	clerk := source(t, as(t, server.DSN("two"), "clerk"), nil)
	_, err := clerk.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want, Touch: func(context.Context) error {
		t.Error("the original was touched")
		return nil
	}})
	require.Error(t, err)
	server.Exec(t, "postgres", "REVOKE CONNECT ON DATABASE two FROM clerk")
	assert.Equal(t, before, script(t, server.DSN("two")))
	assert.NotContains(t, server.Exec(t, "postgres", "SELECT datname FROM pg_database"), "scratch")
}

// On a server without the roles the rest is there, PUBLIC stays revoked, and everything
// that was left out is named.
func TestRestoreWithoutTheRoles(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	archive, want := func() ([]byte, driver.Contents) {
		return dumped(t, source(t, guardedServer(t).DSN("two"), nil))
	}()
	other := testserver.Postgres(t)
	other.Exec(t, "postgres", "CREATE ROLE web LOGIN PASSWORD 'pw'; CREATE ROLE intruder LOGIN PASSWORD 'pw'")
	p := source(t, other.DSN("two"), nil) // which does not exist there
	got := restored(t, p, archive, driver.RestoreOptions{Target: "two", Want: want})
	text := strings.Join(got.Warnings, "\n")
	assert.Contains(t, text, `no role mig, odd name;`)
	assert.Contains(t, text, `CREATE ROLE "mig"; CREATE ROLE "odd name;";`)
	var rows int
	require.NoError(t, connect(t, as(t, other.DSN("two"), "web")).QueryRowContext(t.Context(), "SELECT count(*) FROM public.sales").Scan(&rows))
	assert.Equal(t, 2, rows)
	_, err := connect(t, as(t, other.DSN("two"), "intruder")).ExecContext(t.Context(), "SELECT public.peek()")
	require.ErrorContains(t, err, "permission denied")
	assert.Contains(t, other.Exec(t, "two", "SHOW timezone"), "Asia/Tokyo")
	assert.Contains(t, other.Exec(t, "two", "SELECT polroles::regrole[] FROM pg_policy WHERE polname = 'p2'"), "{web}")
	assert.NotContains(t, other.Exec(t, "two", "SELECT proacl FROM pg_proc WHERE proname = 'peek'"), "=X/postgres,") // nobody but the owner
}

// Encoding, locale and provider are those of the original, whatever the server's are.
func TestRestoreGivesEncodingAndLocale(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	for i, options := range []string{
		"ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
		"ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE'",
		"ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'",
	}[:testserver.Sample(2, 3)] {
		name := fmt.Sprintf("locale%d", i)
		server.Exec(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0 "+options)
		server.Exec(t, name, "DROP SCHEMA public; CREATE SCHEMA shopx; CREATE TABLE shopx.t (a text); INSERT INTO shopx.t VALUES ('z'), ('a')")
		p := source(t, server.DSN(name), nil)
		archive, want := dumped(t, p)
		about := aboutDatabase(t, server, name)
		restored(t, p, archive, driver.RestoreOptions{Target: name + "_beside", Want: want})
		assert.Equal(t, about, aboutDatabase(t, server, name+"_beside"))
		assert.Equal(t, script(t, server.DSN(name)), script(t, server.DSN(name+"_beside")))
		_, err := p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
		require.NoError(t, err)
		assert.Equal(t, about, aboutDatabase(t, server, name))
		assert.Equal(t, script(t, server.DSN(name)), script(t, server.DSN(name+"_beside")))
	}
}

// The command of yesterday works when the database is gone, and for a role that cannot
// create one, into one that is empty.
func TestRestoreWhenTheDatabaseIsGone(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	server.Exec(t, "postgres", "CREATE ROLE app LOGIN PASSWORD 'pw'")
	server.Exec(t, "postgres", "CREATE DATABASE shop OWNER app")
	server.Exec(t, "shop", "SET ROLE app; CREATE TABLE t (id serial PRIMARY KEY, a text); INSERT INTO t (a) SELECT repeat('é', i) FROM generate_series(1, 50) i")
	p := source(t, as(t, server.DSN("shop"), "app"), nil)
	archive, want := dumped(t, p)
	before := script(t, server.DSN("shop"))

	server.Exec(t, "postgres", "DROP DATABASE shop WITH (FORCE)")
	_, _, err := p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: "shop", Want: want})
	require.ErrorContains(t, err, "an empty database that exists")
	server.Exec(t, "postgres", "CREATE DATABASE shop OWNER app")
	restored(t, p, archive, driver.RestoreOptions{Target: "shop", Want: want})
	assert.Equal(t, before, script(t, server.DSN("shop")))

	_, _, err = p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: "shop", Want: want})
	require.ErrorContains(t, err, "exists and holds")
	assert.Equal(t, before, script(t, server.DSN("shop")))

	// A restore that fails midway leaves the empty database empty.
	server.Exec(t, "postgres", "CREATE DATABASE empty OWNER app")
	_, _, err = p.Restore(t.Context(), io.LimitReader(bytes.NewReader(archive), int64(len(archive)-300)), driver.RestoreOptions{Target: "empty", Want: want})
	require.Error(t, err)
	restored(t, p, archive, driver.RestoreOptions{Target: "empty", Want: want})
	server.Exec(t, "postgres", "CREATE DATABASE ascii OWNER app TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	_, _, err = p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: "ascii", Want: want})
	if want.Settings["encoding"] != "SQL_ASCII" {
		require.ErrorContains(t, err, "encoding")
	}
	admin := source(t, server.DSN("gone"), nil)
	restored(t, admin, archive, driver.RestoreOptions{Target: "shop_new", Want: want})
}

// The accounts make a bare server one on which nothing is left out.
func TestAccounts(t *testing.T) {
	t.Parallel()
	server := guardedServer(t)
	server.Exec(t, "postgres", `CREATE ROLE grp NOLOGIN; GRANT grp TO web WITH ADMIN OPTION; ALTER ROLE web SET search_path = app, "odd, path"; CREATE ROLE unrelated`)
	p := source(t, server.DSN("two"), nil)
	archive, want := dumped(t, p)
	var accounts bytes.Buffer
	holds, err := p.Accounts(t.Context(), &accounts)
	require.NoError(t, err)
	assert.EqualValues(t, 5, holds.Rows(), accounts.String())
	assert.NotContains(t, accounts.String(), "unrelated")
	assert.Contains(t, accounts.String(), "SCRAM-SHA-256$")

	other := testserver.Postgres(t)
	other.Exec(t, "postgres", accounts.String())
	got := restored(t, source(t, other.DSN("two"), nil), archive, driver.RestoreOptions{Target: "two", Want: want})
	assert.Empty(t, got.Warnings)
	assert.Equal(t, script(t, server.DSN("two")), script(t, other.DSN("two")))
	assert.Equal(t, aboutDatabase(t, server, "two"), aboutDatabase(t, other, "two"))
	require.NoError(t, connect(t, as(t, other.DSN("two"), "web")).PingContext(t.Context()), "with the same password")

	// A role that is no superuser gets them without passwords, and is told.
	server.Exec(t, "postgres", "CREATE ROLE clerk LOGIN PASSWORD 'pw'; GRANT pg_read_all_data TO clerk; GRANT CONNECT ON DATABASE two TO clerk")
	clerk := source(t, as(t, server.DSN("two"), "clerk"), nil)
	accounts.Reset()
	holds, err = source(t, as(t, server.DSN("two"), "intruder"), nil).Accounts(t.Context(), &accounts)
	require.NoError(t, err)
	assert.Len(t, holds.Warnings, 1)
	assert.NotContains(t, accounts.String(), "SCRAM")

	// Its preflight names what pg_dump would stop at.
	server.Exec(t, "two", "REVOKE SELECT ON LARGE OBJECT 77001 FROM web")
	server.Exec(t, "postgres", "ALTER ROLE clerk BYPASSRLS")
	_, err = clerk.Preflight(t.Context())
	require.ErrorContains(t, err, "large objects 77001")
}

// One table comes back alone, with what it needs, and without what it does not.
func TestRestoreOneTable(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", `CREATE TYPE kind AS ENUM ('a', 'b'); CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';
		CREATE TABLE regions (id int PRIMARY KEY); INSERT INTO regions VALUES (1);
		CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL CHECK (length(name) > 0), k kind, region int REFERENCES regions, n int, d int GENERATED ALWAYS AS (n * 2) STORED);
		CREATE INDEX ON customers (twice(n)); CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers); CREATE VIEW names AS SELECT name FROM customers;
		CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER tr BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION t();
		INSERT INTO customers (name, k, region, n) SELECT 'c' || i, 'b', 1, i FROM generate_series(1, 300) i; INSERT INTO orders SELECT i, i FROM generate_series(1, 300) i;
		REVOKE ALL ON customers FROM postgres; COMMENT ON TABLE customers IS 'who buys'`)
	server.Exec(t, "shop", "GRANT ALL ON customers TO postgres")
	p := source(t, server.DSN("shop"), nil)
	archive, whole := dumped(t, p)
	want, err := whole.Only([]string{"public.customers"})
	require.NoError(t, err)
	got := restored(t, p, archive, driver.RestoreOptions{Target: "one", Tables: []string{"public.customers"}, Want: want})
	require.Len(t, got.Tables, 1)
	assert.NotEmpty(t, got.Tables[0].Digest)
	rows := "SELECT sum(hashtext(c::text)), max(id) FROM customers c"
	assert.Equal(t, server.Exec(t, "shop", rows), server.Exec(t, "one", rows))
	server.Exec(t, "one", "INSERT INTO customers (name, n) VALUES ('new', 5)") // the sequence goes on, and no key refers to what is not there
	assert.Contains(t, server.Exec(t, "one", "SELECT max(id), count(*) FROM customers"), "301")
	assert.Equal(t, "customers", strings.TrimSpace(server.Exec(t, "one", "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace")))

	both, err := whole.Only([]string{"public.orders", "public.customers"})
	require.NoError(t, err)
	restored(t, p, archive, driver.RestoreOptions{Target: "both", Tables: []string{"public.orders", "public.customers"}, Want: both})
	assert.Contains(t, server.Exec(t, "both", "SELECT conname FROM pg_constraint WHERE contype = 'f'"), "orders_customer_fkey")
	_, _, err = p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: "none", Tables: []string{"public.nothing"}})
	require.ErrorContains(t, err, "no table public.nothing")
}

// The form of lib/pq's users.
func TestKeyValueAddress(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "key value")
	server.Exec(t, "key value", "CREATE TABLE t (i int)")
	u, err := url.Parse(server.DSN("x"))
	require.NoError(t, err)
	password, _ := u.User.Password()
	address := "host=" + u.Hostname() + " port = " + u.Port() + "  user=" + u.User.Username() + " password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + `' dbname='key value' sslmode=disable`
	p := source(t, address, nil)
	archive, want := dumped(t, p)
	restored(t, p, archive, driver.RestoreOptions{Target: "copy", Want: want})
	for _, bad := range []string{"", "host", "host='x password=hunter2", "hunter2", "user=hunter2 dbname"} {
		_, err := postgres.New(connect(t, server.DSN("x")), bad, nil)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}
