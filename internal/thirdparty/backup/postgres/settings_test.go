package postgres_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOtherSettings restores on a server, and for a role, that write times in another zone.
func TestOtherSettings(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	folder := t.TempDir()
	old := testserver.Postgres(t, "-c", "timezone=Europe/Berlin")
	old.CreateDatabase(t, "shop")
	old.Exec(t, "shop", "CREATE TABLE sales (id INT PRIMARY KEY, at TIMESTAMPTZ, spans TSTZRANGE[], paid BYTEA); INSERT INTO sales VALUES (1, now(), ARRAY[tstzrange(now(), NULL)], '\\x00ff'::bytea)")
	run, err := jobIn(t, folder, source(t, old.DSN("shop"), nil), nil).Backup(t.Context())
	require.NoError(t, err)
	fresh := testserver.Postgres(t, "-c", "timezone=Asia/Kathmandu", "-c", "bytea_output=escape")
	fresh.CreateDatabase(t, "other")
	job := jobIn(t, folder, source(t, fresh.DSN("shop"), nil), nil)
	_, err = job.Restore(t.Context(), run.ID, "shop", nil)
	require.NoError(t, err)
	const same = "SET timezone = 'UTC'; SET bytea_output = 'hex'; SELECT * FROM sales"
	assert.Equal(t, old.Exec(t, "shop", same), fresh.Exec(t, "shop", same))
	old.Exec(t, "shop", "ALTER DATABASE shop SET timezone = 'America/St_Johns'; ALTER ROLE ALL SET bytea_output = 'escape'")
	_, err = jobIn(t, folder, source(t, old.DSN("shop"), nil), nil).Restore(t.Context(), run.ID, "copy", nil)
	require.NoError(t, err)
}

// TestMoney restores amounts that the database writes with a decimal comma.
func TestMoney(t *testing.T) {
	testserver.NeedsLong(t)
	if _, err := os.Stat("/usr/share/i18n/locales/de_DE"); err != nil {
		t.Skip("the source of the locale de_DE is not installed (apt-get install locales)")
	}
	locales := t.TempDir()
	out, err := exec.CommandContext(t.Context(), testserver.Lookup(t, "localedef", "libc-bin"), "-f", "UTF-8", "-i", "de_DE", filepath.Join(locales, "de_DE.UTF-8")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, dir := range []string{locales, filepath.Dir(locales)} {
		require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // the server has a user of its own
	}
	t.Setenv("LOCPATH", locales)
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", `ALTER DATABASE shop SET lc_monetary = 'de_DE.UTF-8'; SET lc_monetary = 'de_DE.UTF-8'; CREATE TABLE prices (id int, price money DEFAULT '1,50');
		INSERT INTO prices VALUES (1, 1234.56::numeric::money); INSERT INTO prices VALUES (2); CREATE MATERIALIZED VIEW labels AS SELECT price::text FROM prices`)
	const all = "SELECT id, price::numeric FROM prices; SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
	want := server.Exec(t, "shop", all)
	require.Contains(t, want, "1234.56")
	job := jobIn(t, t.TempDir(), source(t, server.DSN("shop"), nil), nil)
	run, err := job.Backup(t.Context())
	require.NoError(t, err)
	_, err = job.Restore(t.Context(), run.ID, "copy", nil)
	require.NoError(t, err)
	assert.Equal(t, want, server.Exec(t, "copy", all))
	_, err = job.RestoreOver(t.Context(), run.ID, "shop", nil)
	require.NoError(t, err)
	assert.Equal(t, want, server.Exec(t, "shop", all))
}

// TestReadOnly restores a database whose writes an operator has stopped, as a role whose
// transactions are read-only by default.
func TestReadOnly(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.CreateDatabase(t, "empty")
	server.Exec(t, "shop", "CREATE TABLE sales (id int); INSERT INTO sales VALUES (1)")
	for _, stop := range []string{"DATABASE shop", "ROLE ALL"} {
		server.Exec(t, "shop", "SET default_transaction_read_only = off; ALTER "+stop+" SET default_transaction_read_only = on")
		job := jobIn(t, t.TempDir(), source(t, server.DSN("shop"), nil), &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1}})
		run, err := job.Backup(t.Context())
		require.NoError(t, err)
		_, err = job.RestoreOver(t.Context(), run.ID, "shop", nil)
		require.NoError(t, err)
		assert.Equal(t, "on\n", server.Exec(t, "shop", "SHOW default_transaction_read_only"))
		if stop == "ROLE ALL" {
			_, err = job.Restore(t.Context(), run.ID, "empty", nil)
			require.NoError(t, err)
			assert.Equal(t, "1\n", server.Exec(t, "empty", "SELECT id FROM sales"))
		}
	}
}

// TestOnlyForASuperuser backs up, with the rights of the guide, a database with objects that
// pg_dump leaves out without an error.
func TestOnlyForASuperuser(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", `CREATE ROLE backup LOGIN PASSWORD 'pw' BYPASSRLS; GRANT pg_read_all_data TO backup; CREATE TABLE sales (id int);
		SET client_min_messages = error; CREATE SUBSCRIPTION stock CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false);
		CREATE EXTENSION postgres_fdw; CREATE SERVER bank FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR postgres SERVER bank OPTIONS (user 'a', password 'x')`)
	run, err := jobIn(t, t.TempDir(), source(t, as(t, server.DSN("shop"), "backup"), nil), nil).Backup(t.Context())
	require.NoError(t, err)
	assert.Contains(t, strings.Join(run.Manifest.Warnings, "\n"), "this role cannot read the options of the user mapping for postgres on the server bank, the subscription stock, which are not in the backup")
	warnings, err := source(t, server.DSN("shop"), nil).Preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)
}
