// Package postgres_test tests backup/postgres against real servers through pgx.
package postgres_test

import (
	"bytes"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestMain puts PostgreSQL's own programs before Debian's wrapper of them, which takes longer to
// start than they do.
func TestMain(m *testing.M) {
	if bin := testserver.PostgresPrograms(); bin != "" {
		os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	testserver.MostlyWaits(3)
	os.Exit(m.Run())
}

func connect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func source(t testing.TB, dsn string, opts *postgres.Options) *postgres.Source {
	t.Helper()
	p, err := postgres.New(connect(t, dsn), dsn, opts)
	require.NoError(t, err)
	return p
}

// as is the address of a database for another role.
func as(t testing.TB, dsn, role string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "pw")
	return u.String()
}

func dumped(t testing.TB, p *postgres.Source) ([]byte, driver.Contents) {
	t.Helper()
	var archive bytes.Buffer
	counts, err := p.Dump(t.Context(), &archive)
	require.NoError(t, err)
	return archive.Bytes(), counts
}

func restored(t testing.TB, p *postgres.Source, archive []byte, o driver.RestoreOptions) driver.Contents {
	t.Helper()
	_, got, err := p.Restore(t.Context(), bytes.NewReader(archive), o)
	require.NoError(t, err)
	require.NoError(t, o.Want.Compare(got))
	return got
}

// script is what pg_dump says of a database, with owners, privileges and rows: the
// independent comparison.
func script(t testing.TB, dsn string, more ...string) string {
	t.Helper()
	dump := testserver.Lookup(t, "pg_dump", "postgresql-client")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump"); len(found) > 0 {
		dump = found[len(found)-1]
	}
	out, err := exec.CommandContext(t.Context(), dump, append([]string{"--dbname=" + dsn}, more...)...).Output()
	require.NoError(t, err)
	return regexp.MustCompile(`(?m)^\\(un)?restrict .*$`).ReplaceAllString(string(out), "") // a new key each time
}

// everything about a database that no dump inside of it shows.
func aboutDatabase(t testing.TB, server *testserver.PostgresServer, name string) string {
	t.Helper()
	return server.Exec(t, "postgres", strings.ReplaceAll(`SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, daticulocale, datconnlimit, datistemplate, datallowconn, dattablespace, datacl,
		shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'NAME';
		SELECT coalesce(pg_get_userbyid(nullif(setrole, 0)), 'all'), setconfig FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = 'NAME') ORDER BY 1`, "NAME", name))
}

// jobIn returns a job whose backups lie in a folder. It makes no restore tests unless the
// options ask for them.
func jobIn(t testing.TB, folder string, from driver.Source, opts *backup.Options) *backup.Job {
	t.Helper()
	storage, err := backup.NewFolder(folder)
	require.NoError(t, err)
	var o backup.Options
	if opts != nil {
		o = *opts
	}
	o.Logger, o.Compression = slog.New(slog.DiscardHandler), backup.Zstd
	if o.RestoreTest.Every == 0 {
		o.RestoreTest.Every = -1
	}
	job, err := backup.New("pos", from, storage, &o)
	require.NoError(t, err)
	return job
}

// databases lists those of the server.
func databases(t testing.TB, server *testserver.PostgresServer) []string {
	t.Helper()
	return strings.Fields(server.Exec(t, "", "SELECT datname FROM pg_database ORDER BY 1"))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
