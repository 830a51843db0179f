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
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

func connect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func source(t testing.TB, dsn string, opts *PostgresOptions) *Postgres {
	t.Helper()
	p, err := NewPostgres(connect(t, dsn), dsn, opts)
	require.NoError(t, err)
	return p
}

func dumped(t testing.TB, p *Postgres) ([]byte, Contents) {
	t.Helper()
	var archive bytes.Buffer
	counts, err := p.Dump(t.Context(), &archive)
	require.NoError(t, err)
	return archive.Bytes(), counts
}

// same demands that a database holds what a dump says.
func same(t testing.TB, dump, database Contents) {
	t.Helper()
	assert.Equal(t, dump.Tables, database.Tables)
	assert.Equal(t, []int64{dump.Views, dump.Routines, dump.Triggers}, []int64{database.Views, database.Routines, database.Triggers})
}

func TestPostgresDumpsAndRestores(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop)
	p := source(t, server.DSN("shop"), nil)
	warnings, err := p.Preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)

	archive, counts := dumped(t, p)
	assert.Equal(t, "PGDMP", string(archive[:5]))
	rows := make(map[string]int64)
	for _, table := range counts.Tables {
		rows[table.Name] = table.Rows
	}
	assert.Equal(t, map[string]int64{
		"public.customers": 500, `"Till 1"."sales ""of"" today"`: 3000, "public.empty_one": 0, "public.log_2025": 214,
		"public.log_2026": 87, "public.person": 1, "public.worker": 2, "public.scratch": 2,
	}, rows)
	assert.EqualValues(t, []int64{2, 1, 1}, []int64{counts.Views, counts.Routines, counts.Triggers})

	const name = `re"store 100%/?é`
	restored, got, err := p.Restore(t.Context(), bytes.NewReader(archive), name)
	require.NoError(t, err)
	assert.Equal(t, name, restored)
	same(t, counts, got)

	_, _, err = p.Restore(t.Context(), bytes.NewReader(archive), name)
	assert.ErrorContains(t, err, "never goes into an existing one")
	got, err = p.countsOf(t.Context(), name)
	require.NoError(t, err)
	same(t, counts, got) // a refused restore touches nothing
	require.NoError(t, p.drop(t.Context(), name))
	require.NoError(t, p.drop(t.Context(), name))

	restored, _, err = p.Restore(t.Context(), bytes.NewReader(archive), "")
	require.NoError(t, err)
	assert.Regexp(t, `^shop_restore_\d{8}t\d{6}$`, restored)

	t.Run("a program that leaves something out", func(t *testing.T) {
		for _, option := range []string{"--exclude-table=empty_one", "--exclude-table-data=empty_one", "--schema-only"} {
			client := filepath.Join(t.TempDir(), "dump")
			require.NoError(t, os.WriteFile(client, []byte("#!/bin/sh\n[ \"$1\" = --version ] || set -- \"$@\" "+option+"\nexec "+
				testserver.Lookup(t, "pg_dump", "postgresql-client")+" \"$@\"\n"), 0o700))
			_, err := source(t, server.DSN("shop"), &PostgresOptions{Dump: client}).Dump(t.Context(), io.Discard)
			assert.ErrorContains(t, err, "pg_dump has left out ", option)
			assert.ErrorContains(t, err, "public.empty_one", option)
		}
	})
	t.Run("damaged archives", func(t *testing.T) {
		for what, damage := range map[string][]byte{
			"nothing": nil, "a head": archive[:100], "half": archive[:len(archive)/2], "without its end": archive[:len(archive)-7],
		} {
			_, _, err := p.Restore(t.Context(), bytes.NewReader(damage), "damaged")
			assert.ErrorContains(t, err, "pg_restore", what)
		}
		assert.Equal(t, "0\n", server.Exec(t, "", "SELECT count(*) FROM pg_database WHERE datname = 'damaged'"), "nothing is left of a failed restore")
	})
	t.Run("another database", func(t *testing.T) {
		wrong, err := NewPostgres(p.db, server.DSN("postgres"), nil)
		require.NoError(t, err)
		_, err = wrong.Dump(t.Context(), io.Discard)
		assert.ErrorContains(t, err, `the database "shop" and the URL names "postgres"`)
	})
	t.Run("no server", func(t *testing.T) {
		server.Kill()
		_, err := p.Dump(t.Context(), io.Discard)
		assert.ErrorContains(t, err, "backup: ")
		assert.NotContains(t, err.Error(), server.Password())
	})
}

// The counts are those of the dump, to the row, while others insert, delete
// and truncate.
func TestPostgresCountsUnderWriters(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop)
	p := source(t, server.DSN("shop"), nil)
	writers := connect(t, server.DSN("shop"))

	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for i, statement := range []string{
		`INSERT INTO customers (name) SELECT 'new' FROM generate_series(1, 7)`,
		`DELETE FROM "Till 1"."sales ""of"" today" WHERE id IN (SELECT id FROM "Till 1"."sales ""of"" today" ORDER BY id LIMIT 3)`,
		`WITH x AS (INSERT INTO scratch VALUES (1)) UPDATE customers SET name = name || '!' WHERE id = 7`,
		`TRUNCATE empty_one; INSERT INTO empty_one SELECT * FROM generate_series(1, 50)`,
	} {
		done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := writers.ExecContext(ctx, statement)
				if err != nil && ctx.Err() == nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	defer done.Wait()
	defer stop()
	for round := range 3 {
		archive, counts := dumped(t, p)
		name := fmt.Sprintf("copy%d", round)
		_, got, err := p.Restore(t.Context(), bytes.NewReader(archive), name)
		require.NoError(t, err)
		same(t, counts, got)
	}
	var rows int
	require.NoError(t, writers.QueryRowContext(t.Context(), "SELECT count(*) FROM customers").Scan(&rows))
	assert.Greater(t, rows, 500, "somebody did write")
}

// TestPostgresDefinitionsUnderADump: what others create, change and drop meanwhile is in
// the dump as it was at one moment, or the dump fails; it is never good and wrong.
func TestPostgresDefinitionsUnderADump(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE kept AS SELECT i FROM generate_series(1, 50000) i; CREATE TABLE z_last AS SELECT i FROM generate_series(1, 1000) i")
	p := source(t, server.DSN("shop"), nil)
	others := connect(t, server.DSN("shop"))
	_, err := others.Exec("ALTER DATABASE shop SET lock_timeout = '200ms'")
	require.NoError(t, err)
	others.SetMaxIdleConns(0) // which takes the setting

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
				case <-time.After(400 * time.Millisecond):
				}
			}
		})
	}
	defer done.Wait()
	defer stop()
	good := 0
	for round := range 8 {
		var archive bytes.Buffer
		counts, err := p.Dump(t.Context(), &archive)
		if err != nil {
			t.Logf("loud: %v", err)
			continue
		}
		good++
		name := fmt.Sprintf("copy%d", round)
		_, got, err := p.Restore(t.Context(), &archive, name)
		require.NoError(t, err)
		same(t, counts, got)
		assert.Contains(t, counts.Tables, Table{"public.kept", 50000})
		assert.Contains(t, counts.Tables, Table{"public.z_last", 1000})
		require.NoError(t, p.drop(t.Context(), name))
	}
	stop()
	done.Wait()
	var archive bytes.Buffer
	_, err = p.Dump(t.Context(), &archive)
	require.NoError(t, err, "when nobody changes anything")
	t.Logf("%d changes, %d of 8 dumps good", changes.Load(), good)
	assert.Positive(t, changes.Load())
}

func TestPostgresPrivileges(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop+`
		CREATE ROLE clerk LOGIN PASSWORD 'pw';
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk;
		CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO clerk;`)
	dsn := strings.Replace(server.DSN("shop"), server.User()+":"+server.Password(), "clerk:pw", 1)
	p := source(t, dsn, nil)
	_, err := p.Preflight(t.Context())
	require.ErrorContains(t, err, "pg_read_all_data")
	assert.ErrorContains(t, err, "sequence public.customers_id_seq")
	assert.ErrorContains(t, err, `table "Till 1"."sales ""of"" today"`)
	assert.NotContains(t, err.Error(), "table public.customers")
	_, err = p.Dump(t.Context(), io.Discard)
	assert.ErrorContains(t, err, "backup: ", "and without the preflight the run fails")

	server.Exec(t, "shop", `GRANT pg_read_all_data TO clerk`)
	_, err = p.Preflight(t.Context())
	assert.ErrorContains(t, err, "row security would hide rows of public.secret")
	_, err = p.Dump(t.Context(), io.Discard)
	assert.ErrorContains(t, err, "row-level security")
	server.Exec(t, "shop", `ALTER ROLE clerk BYPASSRLS`)
	_, err = p.Preflight(t.Context())
	require.NoError(t, err)
	dumped(t, p)

	t.Run("a locked table", func(t *testing.T) {
		p := source(t, dsn, &PostgresOptions{LockWait: 200 * time.Millisecond})
		blocker, err := connect(t, server.DSN("shop")).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer blocker.Rollback()
		_, err = blocker.ExecContext(t.Context(), "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
		require.NoError(t, err)
		_, err = p.Dump(t.Context(), io.Discard)
		assert.ErrorContains(t, err, "pg_dump: exit status 1: error: query failed")
	})
}

func TestPostgresPasswords(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop)
	for i, password := range []string{
		"plain", `a:b\c`, `\`, `:`, `\\::\:`, ` blank `, "#x", `'"` + "`$HOME $(id)", "%s%20", "*", "é日😀", "tab\tin", "?&=/@#+", `\n`, strings.Repeat("long", 100),
	} {
		role := fmt.Sprintf("role%d", i)
		server.Exec(t, "", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; GRANT pg_read_all_data TO %s;",
			role, strings.ReplaceAll(password, "'", "''"), role))
		dsn := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: server.Addr(), Path: "/shop", RawQuery: "sslmode=disable"}
		p := source(t, dsn.String(), nil)
		_, err := p.Dump(t.Context(), io.Discard)
		require.NoError(t, err, "%q", password)
	}

	wrong := strings.Replace(server.DSN("shop"), server.Password(), "not-the-password", 1)
	p, err := NewPostgres(connect(t, server.DSN("shop")), wrong, nil) // only pg_dump has the wrong one
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = p.Dump(t.Context(), &out)
	require.ErrorContains(t, err, "password authentication failed")
	assert.NotContains(t, err.Error(), "not-the-password")
	assert.Zero(t, out.Len())
}

// While pg_dump runs nobody else can see the password, and afterwards nothing of
// it is left. The program ends with its context.
func TestPostgresHidesItsPasswordAndStops(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop+`INSERT INTO log SELECT '2026-02-02', repeat('x', 1000) FROM generate_series(1, 5000)`)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("PGPASSWORD", "s3cr3t-of-the-environment")
	server.Exec(t, "", `ALTER ROLE postgres PASSWORD 's3cr3t-of-the-role'`)
	dsn := strings.Replace(server.DSN("shop"), server.Password(), "s3cr3t-of-the-role", 1)
	p := source(t, dsn, nil)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched, canceled := 0, false
	_, err := p.Dump(ctx, writerFunc(func(b []byte) (int, error) {
		if canceled {
			return len(b), nil // what was still in the pipe
		}
		// The pipe is full: the program waits for this function.
		watched += hides(t, "pg_dump", "s3cr3t")
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
	assert.Empty(t, childrenOf(t, os.Getpid(), "pg_dump"))
	archive, _ := dumped(t, p)
	watched = 0
	_, _, err = p.Restore(t.Context(), io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), readerFunc(func([]byte) (int, error) {
		watched += hides(t, "pg_restore", "s3cr3t") // which waits for the other half
		return 0, io.EOF
	}), bytes.NewReader(archive[len(archive)/2:])), "hidden")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, watched, 2)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
	require.Eventually(t, func() bool {
		var open int
		err := p.db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'").Scan(&open)
		return err == nil && open == 0
	}, 10*time.Second, 50*time.Millisecond, "the snapshot is released")
}

func TestPostgresKilledDumpAndFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop+`INSERT INTO log SELECT '2026-02-02', repeat('x', 1000) FROM generate_series(1, 5000)`)
	p := source(t, server.DSN("shop"), nil)

	_, err := p.Dump(t.Context(), writerFunc(func(b []byte) (int, error) {
		for _, pid := range childrenOf(t, os.Getpid(), "pg_dump") {
			var id int
			if _, err := fmt.Sscan(pid, &id); assert.NoError(t, err) {
				process, err := os.FindProcess(id)
				if assert.NoError(t, err) {
					process.Kill()
				}
			}
		}
		return len(b), nil
	}))
	assert.ErrorContains(t, err, "signal: killed")

	full := errors.New("no space left on device")
	_, err = p.Dump(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }))
	assert.ErrorIs(t, err, full)
	checkFullDisk(t, p)

	// The server is gone in the middle of a dump, and comes back: the run tries again.
	times := 0
	j, _ := newTestJob(t, disturbedSource{p, func() {
		if times++; times == 1 {
			server.Kill()
			server.Restart()
		}
	}}, &Options{Drill: DrillOptions{Every: -1}})
	j.pause = 0
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, times)
	require.Contains(t, strings.Join(report.Manifest.Warnings, ";"), "begun anew")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// hides looks for a secret in what every user of the host can read of the programs of
// that name, and returns how many files it has looked into.
func hides(t *testing.T, program, secret string) (watched int) {
	t.Helper()
	children := childrenOf(t, os.Getpid(), program)
	assert.NotEmpty(t, children)
	for _, pid := range children {
		for _, file := range []string{"cmdline", "environ"} {
			if data, err := os.ReadFile(filepath.Join("/proc", pid, file)); err == nil {
				watched++
				assert.NotContains(t, string(data), secret, file)
			}
		}
	}
	return watched
}

// childrenOf returns the process ids of children with a program's name.
func childrenOf(t *testing.T, parent int, program string) []string {
	t.Helper()
	var found []string
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		text := string(data)
		name := text[strings.IndexByte(text, '(')+1 : strings.LastIndexByte(text, ')')]
		var state string
		var ppid int
		if _, err := fmt.Sscan(text[strings.LastIndexByte(text, ')')+1:], &state, &ppid); err == nil && ppid == parent && name == program && state != "Z" {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	return found
}

func TestPostgresClientVersions(t *testing.T) {
	shell := testserver.Lookup(t, "sh", "dash")
	dir := t.TempDir()
	program := func(name, script string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!"+shell+"\n"+script+"\n"), 0o700))
		return path
	}
	old := program("old", `echo "pg_dump (PostgreSQL) 13.4 (Debian)"`)
	_, err := findPostgresClient(t.Context(), "pg_dump", old, 15)
	assert.ErrorContains(t, err, "pg_dump is of version 13 and the server of version 15: install a client")
	client, err := findPostgresClient(t.Context(), "pg_dump", old, 13)
	require.NoError(t, err)
	assert.Equal(t, 13, client.major)
	_, err = findPostgresClient(t.Context(), "pg_dump", program("other", "echo mysqldump 8"), 13)
	assert.ErrorContains(t, err, "no program of PostgreSQL")
	_, err = findPostgresClient(t.Context(), "pg_dump", filepath.Join(dir, "missing"), 13)
	assert.Error(t, err)
	t.Setenv("PATH", dir)
	_, err = findPostgresClient(t.Context(), "pg_nothing", "", 13)
	assert.ErrorContains(t, err, "pg_nothing is not installed")

	// Messages are capped, and rows are left out of them.
	noisy := program("pg_restore", `i=0; while [ $i -lt 3000 ]; do echo "INSERT INTO cards VALUES (4111111111111111)" >&2; i=$((i+1)); done
echo 'pg_restore: error: COPY failed for table "cards"' >&2
echo 'pg_restore: detail: Key (number)=(4111111111111111)' >&2
echo 'Command was: COPY 4111111111111111' >&2
exit 3`)
	err = postgresClient{path: noisy}.run(t.Context(), passfile{}, nil, nil)
	assert.EqualError(t, err, `backup: pg_restore: exit status 3: error: COPY failed for table "cards"`)
	var exit *exec.ExitError
	assert.ErrorAs(t, err, &exit)
}

func TestNewPostgresRefuses(t *testing.T) {
	db, err := sql.Open("pgx", "postgres://x")
	require.NoError(t, err)
	defer db.Close()
	for bad, why := range map[string]string{
		"host=x password=hunter2 dbname=y":            "must be a URL",
		"mysql://u:hunter2@h/db":                      "must be a URL",
		"postgres://u:hunter2@h:port/db":              "must be a URL",
		"postgres://u:hunter2@h":                      "names no database",
		"postgres://u:hunter2%0Ax@h/db":               "line break",
		"postgres://u@h/db?password=hunter2%0D":       "line break",
		"postgres://u:hunter2@h/db?sslpassword=hunt2": "sslpassword",
	} {
		_, err := NewPostgres(db, bad, nil)
		require.ErrorContains(t, err, why)
		assert.NotContains(t, err.Error(), "hunt")
	}
	_, err = NewPostgres(nil, "postgres://h/db", nil)
	assert.ErrorContains(t, err, "needs a *sql.DB")
	_, err = NewPostgres(db, "postgres://h/db", &PostgresOptions{LockWait: -1})
	assert.ErrorContains(t, err, "negative")

	target, err := parsePostgresURL("postgres://me:pa%3Ass@h:5433/db?sslmode=verify-full&pool_max_conns=9&password=other&user=you&sslrootcert=/a%20b.pem")
	require.NoError(t, err)
	assert.Equal(t, "other", target.password)
	assert.Equal(t, "postgres://me@h:5433/d%2Fb%20%C3%A9?connect_timeout=15&sslmode=verify-full&sslrootcert=%2Fa%20b.pem&user=you", target.public("d/b é"))
}

// A whole run, and its artefact read back by the stock tools alone.
func TestPostgresDrills(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3); CREATE ROLE clerk LOGIN PASSWORD 'pw'; GRANT pg_read_all_data TO clerk")
	p := source(t, server.DSN("shop"), nil)
	checkDrills(t, p, func(statement string) { server.Exec(t, "postgres", statement) }, func() []string {
		names, err := queryStrings(t.Context(), p.db, "SELECT datname FROM pg_database ORDER BY datname")
		require.NoError(t, err)
		return names
	})
	clerk, err := url.Parse(server.DSN("shop"))
	require.NoError(t, err)
	clerk.User = url.UserPassword("clerk", "pw")
	checkNoRightToDrill(t, source(t, clerk.String(), nil))
}

func TestPostgresJob(t *testing.T) {
	unzstd := testserver.Lookup(t, "zstd", "zstd")
	pgRestore := testserver.Lookup(t, "pg_restore", "postgresql-client")
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop)
	p := source(t, server.DSN("shop"), nil)
	folder, err := NewFolder(filepath.Join(t.TempDir(), "pos"))
	require.NoError(t, err)
	job, err := New("pos", p, folder, &Options{Logger: silent})
	require.NoError(t, err)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	assert.True(t, report.Verified)
	assert.EqualValues(t, 3806, report.Manifest.RowsTotal)

	restored, err := job.Restore(t.Context(), report.Manifest.ID, "by_us")
	require.NoError(t, err)
	assert.Equal(t, "by_us", restored.Target)

	dump := filepath.Join(t.TempDir(), "shop.dump")
	out, err := exec.CommandContext(t.Context(), unzstd, "-q", "-d", filepath.Join(folder.Path(), report.Manifest.File), "-o", dump).CombinedOutput()
	require.NoError(t, err, "%s", out)
	server.CreateDatabase(t, "by_hand")
	out, err = exec.CommandContext(t.Context(), pgRestore, "--exit-on-error", "--no-owner", "--dbname="+server.DSN("by_hand"), dump).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got, err := p.countsOf(t.Context(), "by_hand")
	require.NoError(t, err)
	same(t, report.Manifest.Contents, got)
}
