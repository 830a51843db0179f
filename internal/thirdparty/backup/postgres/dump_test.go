package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// shop is a schema with one of everything that a backup loses by mistake.
const shop = `
	CREATE SCHEMA "Till 1";
	CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, note text);
	CREATE TABLE "Till 1"."sales ""of"" today" (id bigserial PRIMARY KEY, customer int REFERENCES customers, total int NOT NULL);
	CREATE TABLE empty_one (id int);
	CREATE TABLE log (at date NOT NULL, line text) PARTITION BY RANGE (at);
	CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
	CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
	CREATE TABLE person (id int, name text);
	CREATE TABLE worker (wage int) INHERITS (person);
	CREATE UNLOGGED TABLE scratch (id int);
	CREATE VIEW rich AS SELECT customer, sum(total) FROM "Till 1"."sales ""of"" today" GROUP BY 1;
	CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM customers;
	CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'stamped'; RETURN NEW; END $$;
	CREATE TRIGGER stamp BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
	INSERT INTO customers (name, note) SELECT 'customer ' || i, E'a\nline\\. ' || i FROM generate_series(1, 500) i;
	INSERT INTO "Till 1"."sales ""of"" today" (customer, total) SELECT 1 + i % 500, i FROM generate_series(1, 3000) i;
	INSERT INTO log SELECT '2025-06-01'::date + i, 'line' FROM generate_series(0, 300) i;
	INSERT INTO person VALUES (1, 'p'); INSERT INTO worker VALUES (2, 'w', 3), (3, 'w', 4);
	INSERT INTO scratch VALUES (1), (2);
`

// TestDump shares one server among tests that each have a database of their own.
func TestDump(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	open := func(t *testing.T, database, schema string) *postgres.Source {
		t.Helper()
		server.CreateDatabase(t, database)
		server.Exec(t, database, schema)
		return source(t, server.DSN(database), nil)
	}
	for name, test := range map[string]func(*testing.T){
		"contents": func(t *testing.T) { dumpContents(t, server, open(t, "shop", shop)) },
		"writers":  func(t *testing.T) { dumpUnderWriters(t, server, open(t, "writers", shop)) },
		"definitions": func(t *testing.T) {
			dumpUnderDefinitions(t, server, open(t, "defs", "CREATE TABLE kept AS SELECT i FROM generate_series(1, 50000) i; CREATE TABLE z_last AS SELECT i FROM generate_series(1, 1000) i"))
		},
		"privileges": func(t *testing.T) { open(t, "clerks", shop); dumpPrivileges(t, server) },
		"passwords":  func(t *testing.T) { open(t, "passwords", shop); dumpPasswords(t, server) },
		"programs": func(t *testing.T) {
			dumpPrograms(t, server, open(t, "hidden", shop+`INSERT INTO log SELECT '2026-02-02', repeat('x', 1000) FROM generate_series(1, 5000)`))
		},
		"locks": func(t *testing.T) {
			dumpLocks(t, server, open(t, "locks", "CREATE TABLE t (i int); CREATE MATERIALIZED VIEW m AS SELECT * FROM t"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func dumpContents(t *testing.T, server *testserver.PostgresServer, p *postgres.Source) {
	warnings, err := p.Preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)
	archive, want := dumped(t, p)
	rows := map[string]int64{}
	for _, table := range want.Tables {
		rows[table.Name] = table.Rows
		assert.NotEmpty(t, table.Digest, table.Name)
	}
	assert.Equal(t, map[string]int64{
		"public.customers": 500, `"Till 1"."sales ""of"" today"`: 3000, "public.empty_one": 0, "public.log_2025": 214,
		"public.log_2026": 87, "public.person": 1, "public.worker": 2, "public.scratch": 2,
	}, rows)
	assert.EqualValues(t, []int64{2, 1, 1}, []int64{want.Views, want.Routines, want.Triggers})

	const name = `re"store 100%/?é`
	got := restored(t, p, archive, driver.RestoreOptions{Target: name, Want: want})
	assert.EqualValues(t, []int64{2, 1, 1}, []int64{got.Views, got.Routines, got.Triggers})
	before := script(t, server.DSN("shop"))
	_, _, err = p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: name, Want: want})
	require.ErrorContains(t, err, "exists and holds")
	server.Exec(t, "", `ALTER DATABASE "re""store 100%/?é" RENAME TO copied`)
	assert.Equal(t, before, script(t, server.DSN("copied")), "a refused restore changes nothing")
	target, _, err := p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
	require.NoError(t, err)
	assert.Regexp(t, `^shop_restore_\d{8}t\d{6}$`, target)
	for _, bad := range []string{"template1", strings.Repeat("é", 32)} {
		_, _, err := p.Restore(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Target: bad, Want: want})
		require.Error(t, err, bad)
	}

	for _, option := range []string{"--exclude-table=empty_one", "--exclude-table-data=empty_one", "--schema-only"} {
		client := filepath.Join(t.TempDir(), "dump")
		require.NoError(t, os.WriteFile(client, []byte("#!/bin/sh\n[ \"$1\" = --version ] || set -- \"$@\" "+option+"\nexec "+testserver.Lookup(t, "pg_dump", "postgresql-client")+" \"$@\"\n"), 0o700))
		_, err := source(t, server.DSN("shop"), &postgres.Options{Dump: client}).Dump(t.Context(), io.Discard)
		require.ErrorContains(t, err, "pg_dump has left out ", option)
		assert.ErrorContains(t, err, "public.empty_one", option)
	}
	for what, damage := range map[string][]byte{"nothing": nil, "a head": archive[:100], "half": archive[:len(archive)/2], "without its end": archive[:len(archive)-7]} {
		_, _, err := p.Restore(t.Context(), bytes.NewReader(damage), driver.RestoreOptions{Target: "damaged", Want: want})
		require.Error(t, err, what)
	}
	assert.NotContains(t, databases(t, server), "damaged", "nothing is left of a failed restore")
	wrong, err := postgres.New(connect(t, server.DSN("shop")), server.DSN("postgres"), nil)
	require.NoError(t, err)
	_, err = wrong.Dump(t.Context(), io.Discard)
	require.ErrorContains(t, err, `the database "shop" and the URL names "postgres"`)
}

// dumpUnderWriters: rows and digests are those of the dump while others insert, delete and
// truncate.
func dumpUnderWriters(t *testing.T, server *testserver.PostgresServer, p *postgres.Source) {
	writers := connect(t, server.DSN("writers"))
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for i, statement := range []string{
		`INSERT INTO customers (name) SELECT 'new' FROM generate_series(1, 7)`,
		`DELETE FROM "Till 1"."sales ""of"" today" WHERE id IN (SELECT id FROM "Till 1"."sales ""of"" today" ORDER BY id LIMIT 3)`,
		`WITH x AS (INSERT INTO scratch VALUES (1)) UPDATE customers SET name = name || '!' WHERE id = 7`,
		`WITH x AS (DELETE FROM empty_one) INSERT INTO empty_one SELECT * FROM generate_series(1, 50)`,
	} {
		done.Go(func() {
			for ctx.Err() == nil {
				if _, err := writers.ExecContext(ctx, statement); err != nil && ctx.Err() == nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	defer done.Wait()
	defer stop()
	for round := range testserver.Sample(1, 2) {
		archive, want := dumped(t, p)
		got := restored(t, p, archive, driver.RestoreOptions{Target: fmt.Sprintf("written%d", round), Want: want})
		for i, table := range got.Tables {
			assert.NotEmpty(t, table.Digest, "%d %s", i, table.Name)
		}
	}
	var rows int
	require.NoError(t, writers.QueryRowContext(t.Context(), "SELECT count(*) FROM customers").Scan(&rows))
	assert.Greater(t, rows, 500, "the writers wrote")
}

// dumpUnderDefinitions: tables that others create, alter and drop meanwhile are in the dump
// as they were at one moment, or the dump fails.
func dumpUnderDefinitions(t *testing.T, server *testserver.PostgresServer, p *postgres.Source) {
	server.Exec(t, "", "ALTER DATABASE defs SET lock_timeout = '200ms'")
	others := connect(t, server.DSN("defs"))
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var changes atomic.Int64
	for _, statements := range [][]string{
		{"CREATE TABLE coming AS SELECT i FROM generate_series(1, 100) i", "DROP TABLE coming"},
		{"ALTER TABLE z_last ADD COLUMN extra int DEFAULT 7", "ALTER TABLE z_last DROP COLUMN extra"},
		{"DROP TABLE IF EXISTS z_copy", "CREATE TABLE z_copy AS SELECT i FROM generate_series(1, 10) i", "ALTER TABLE z_copy RENAME TO z_moved", "DROP TABLE z_moved"},
	} {
		done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := others.ExecContext(ctx, statements[n%len(statements)]); err == nil {
					changes.Add(1)
				}
				select {
				case <-ctx.Done():
				case <-time.After(300 * time.Millisecond):
				}
			}
		})
	}
	defer done.Wait()
	defer stop()
	for round := range testserver.Sample(2, 4) {
		var archive bytes.Buffer
		want, err := p.Dump(t.Context(), &archive)
		if err != nil {
			t.Logf("loud: %v", err)
			continue
		}
		restored(t, p, archive.Bytes(), driver.RestoreOptions{Target: fmt.Sprintf("defined%d", round), Want: want})
		rows := map[string]int64{}
		for _, table := range want.Tables {
			rows[table.Name] = table.Rows
		}
		assert.EqualValues(t, 50000, rows["public.kept"])
		assert.EqualValues(t, 1000, rows["public.z_last"])
	}
	stop()
	done.Wait()
	dumped(t, p)
	assert.Positive(t, changes.Load())
}

func dumpPrivileges(t *testing.T, server *testserver.PostgresServer) {
	server.Exec(t, "clerks", `CREATE ROLE clerk LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk;
		CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO clerk;`)
	p := source(t, as(t, server.DSN("clerks"), "clerk"), nil)
	_, err := p.Preflight(t.Context())
	require.ErrorContains(t, err, "pg_read_all_data")
	assert.ErrorContains(t, err, "sequence public.customers_id_seq")
	assert.ErrorContains(t, err, `table "Till 1"."sales ""of"" today"`)
	assert.NotContains(t, err.Error(), "table public.customers")
	_, err = p.Dump(t.Context(), io.Discard)
	require.Error(t, err, "without the preflight the run fails")
	server.Exec(t, "clerks", `GRANT pg_read_all_data TO clerk`)
	_, err = p.Preflight(t.Context())
	require.ErrorContains(t, err, "row security would hide rows of public.secret")
	_, err = p.Dump(t.Context(), io.Discard)
	require.ErrorContains(t, err, "row-level security")
	server.Exec(t, "clerks", `ALTER ROLE clerk BYPASSRLS`)
	_, err = p.Preflight(t.Context())
	require.NoError(t, err)
	dumped(t, p)
}

func dumpPasswords(t *testing.T, server *testserver.PostgresServer) {
	// The first four are one of each kind: of the password file, of the shell, of the URL, and a blank.
	passwords := []string{`\\::\:`, `'"` + "`$HOME $(id)", "?&=/@#+%20", ` blank `, `a:b\c`, `\`, "#x", "%s%20", "é日😀", "tab\tin", strings.Repeat("long", 100)}
	for i, password := range passwords[:testserver.Sample(4, len(passwords))] {
		role := fmt.Sprintf("role%d", i)
		server.Exec(t, "", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; GRANT pg_read_all_data TO %s;", role, strings.ReplaceAll(password, "'", "''"), role))
		dsn := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: server.Addr(), Path: "/passwords", RawQuery: "sslmode=disable"}
		_, err := source(t, dsn.String(), nil).Dump(t.Context(), io.Discard)
		require.NoError(t, err, "%q", password)
	}
	wrong := strings.Replace(server.DSN("passwords"), server.Password(), "not-the-password", 1)
	p, err := postgres.New(connect(t, server.DSN("passwords")), wrong, nil) // only pg_dump has the wrong one
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = p.Dump(t.Context(), &out)
	require.ErrorContains(t, err, "password authentication failed")
	assert.NotContains(t, err.Error(), "not-the-password")
	assert.Zero(t, out.Len())
}

// dumpPrograms: while pg_dump and pg_restore run, no other user can see the password.
// Afterwards no file of it is left. A killed program, a full disk and a context that ends
// are errors, and the snapshot is released.
func dumpPrograms(t *testing.T, server *testserver.PostgresServer, p *postgres.Source) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	// A password file of this test alone can be told from those of parallel tests by its text.
	secret := server.Password()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := 0
	_, err := p.Dump(ctx, writerFunc(func(b []byte) (int, error) {
		if watched == 0 { // the program waits for this function
			watched = hides(t, "pg_dump", "/hidden", secret)
			cancel()
		}
		return len(b), nil
	}))
	require.ErrorIs(t, err, context.Canceled)
	assert.GreaterOrEqual(t, watched, 2)
	assert.Empty(t, programs(t, "pg_dump", "/hidden"))
	archive, want := dumped(t, p)
	watched = 0
	_, _, err = p.Restore(t.Context(), io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
		watched = hides(t, "pg_restore", "/unseen", secret)
		return 0, io.EOF
	}), bytes.NewReader(archive[len(archive)/2:])), driver.RestoreOptions{Target: "unseen", Want: want})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, watched, 2)
	require.Eventually(t, func() bool {
		return server.Exec(t, "", "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = 'hidden'") == "0\n"
	}, 10*time.Second, 50*time.Millisecond, "the snapshot is released")

	_, err = p.Dump(t.Context(), writerFunc(func(b []byte) (int, error) {
		for _, pid := range programs(t, "pg_dump", "/hidden") {
			if process, err := os.FindProcess(pid); assert.NoError(t, err) {
				process.Kill()
			}
		}
		return len(b), nil
	}))
	require.ErrorContains(t, err, "signal: killed")
	full := errors.New("no space left on device")
	_, err = p.Dump(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }))
	require.ErrorIs(t, err, full)
	// A killed pg_restore leaves no database.
	_, _, err = p.Restore(t.Context(), io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
		for _, pid := range programs(t, "pg_restore", "/killed") {
			if process, err := os.FindProcess(pid); assert.NoError(t, err) {
				process.Kill()
			}
		}
		return 0, io.EOF
	}), bytes.NewReader(archive[len(archive)/2:])), driver.RestoreOptions{Target: "killed", Want: want})
	require.ErrorContains(t, err, "signal: killed")
	assert.NotContains(t, databases(t, server), "killed")
}

// hides looks for a secret in the arguments and the environment of programs, and returns
// how many files it has looked into.
func hides(t *testing.T, program, argument, secret string) (watched int) {
	t.Helper()
	pids := programs(t, program, argument)
	assert.NotEmpty(t, pids)
	for _, pid := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)); err == nil {
				watched++
				assert.NotContains(t, string(data), secret, file)
				if name := regexpPassfile.FindStringSubmatch(string(data)); file == "environ" && assert.NotNil(t, name) {
					info, err := os.Stat(name[1])
					if assert.NoError(t, err) {
						assert.Equal(t, os.FileMode(0o600), info.Mode())
					}
				}
			}
		}
	}
	return watched
}

// dumpLocks: a lock that waits ends the dump and names the session that holds it, for
// tables and for views, which pg_dump would wait for without end.
func dumpLocks(t *testing.T, server *testserver.PostgresServer, _ *postgres.Source) {
	for _, lock := range []string{"LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "REFRESH MATERIALIZED VIEW m"} {
		address, err := url.Parse(server.DSN("locks"))
		require.NoError(t, err)
		query := address.Query()
		query.Set("application_name", "migration")
		address.RawQuery = query.Encode()
		tx, err := connect(t, address.String()).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), lock)
		require.NoError(t, err)
		start := time.Now()
		_, err = source(t, server.DSN("locks"), &postgres.Options{LockWait: 2 * time.Second}).Dump(t.Context(), io.Discard)
		require.ErrorContains(t, err, "of postgres (migration), idle in transaction", lock)
		assert.Less(t, time.Since(start), 30*time.Second)
		require.NoError(t, tx.Rollback())
	}
}
