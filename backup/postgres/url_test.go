package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type noDriver struct{}

func (noDriver) Connect(context.Context) (driver.Conn, error) { return nil, errors.New("no server") }
func (d noDriver) Driver() driver.Driver                      { return d }
func (noDriver) Open(string) (driver.Conn, error)             { return nil, errors.New("no server") }

// cleanEnvironment removes the variables of libpq, whatever the developer has set.
func cleanEnvironment(t *testing.T) {
	t.Helper()
	for name := range environmentNames {
		t.Setenv(name, "")
	}
	t.Setenv("PGSERVICE", "")
	t.Setenv("PGSYSCONFDIR", t.TempDir())
	t.Setenv("HOME", t.TempDir())
}

func TestNewRefuses(t *testing.T) {
	cleanEnvironment(t)
	db := sql.OpenDB(noDriver{})
	defer db.Close()
	for bad, why := range map[string]string{
		"host='x password=hunter2 dbname=y":           "of the form host=",
		"mysql://u:hunter2@h/db":                      "must be a URL",
		"postgres://u:hunter2@h:port/db":              "must be a URL",
		"postgres://u:hunter2@h":                      "names no database",
		"postgres://u:hunter2%0Ax@h/db":               "line break",
		"postgres://u@h/db?password=hunter2%0D":       "line break",
		"postgres://u:hunter2@h/db?sslpassword=hunt2": "sslpassword",
		"service=absent password=hunter2":             "no service file",
	} {
		_, err := New(db, bad, nil)
		require.ErrorContains(t, err, why, bad)
		assert.NotContains(t, err.Error(), "hunt")
	}
	_, err := New(nil, "postgres://h/db", nil)
	require.ErrorContains(t, err, "needs a *sql.DB")
	_, err = New(db, "postgres://h/db", &Options{LockWait: -1})
	require.ErrorContains(t, err, "negative")
}

func TestAddress(t *testing.T) {
	cleanEnvironment(t)
	target, err := parsePostgresURL("postgres://me:pa%3Ass@h:5433/db?sslmode=verify-full&pool_max_conns=9&password=other&user=you&sslrootcert=/a%20b.pem&passfile=/x")
	require.NoError(t, err)
	assert.Equal(t, "other", target.password)
	assert.Equal(t, "postgres://me@h:5433/d%2Fb%20%C3%A9?application_name=pg_dump%20x&connect_timeout=15&sslmode=verify-full&sslrootcert=%2Fa%20b.pem&user=you", target.public("d/b é", "pg_dump x"))

	// What the environment says to a driver, it says to pg_dump.
	t.Setenv("PGSSLMODE", "verify-full")
	t.Setenv("PGSSLROOTCERT", "/ca.pem")
	t.Setenv("PGPORT", "6000")
	t.Setenv("PGUSER", "other")
	t.Setenv("PGPASSWORD", "from the environment")
	for _, form := range []string{"postgres://me@h/db", "host=h user=me dbname=db"} {
		target, err := parsePostgresURL(form)
		require.NoError(t, err)
		assert.Equal(t, "from the environment", target.password)
		assert.Equal(t, "postgres://me@h:6000/db?application_name=x&connect_timeout=15&sslmode=verify-full&sslrootcert=%2Fca.pem", target.public("db", "x"))
	}
	target, err = parsePostgresURL("postgres://me:own@[::1]:7000/db?sslmode=disable")
	require.NoError(t, err)
	assert.Equal(t, "own", target.password)
	assert.Equal(t, "postgres://me@[::1]:7000/db?application_name=x&connect_timeout=15&sslmode=disable&sslrootcert=%2Fca.pem", target.public("db", "x"))
}

func TestService(t *testing.T) {
	cleanEnvironment(t)
	file := filepath.Join(t.TempDir(), "services")
	require.NoError(t, os.WriteFile(file, []byte("# comment\n[other]\nhost=wrong\n\n[pos]\nhost=db.example.org\nport=5433\nuser=backup\ndbname=pos\npassword=hunter2\nsslmode=verify-full\n[next]\nhost=wrong\n"), 0o600))
	for _, form := range []string{"service=pos servicefile=" + file, "postgres://?service=pos&servicefile=" + file} {
		target, err := parsePostgresURL(form)
		require.NoError(t, err)
		assert.Equal(t, "hunter2", target.password)
		assert.Equal(t, "pos", target.database)
		assert.Equal(t, "postgres://backup@db.example.org:5433/pos?application_name=x&connect_timeout=15&sslmode=verify-full", target.public("pos", "x"))
		assert.NotContains(t, target.full.String(), "service")
	}
	t.Setenv("PGSERVICEFILE", file)
	t.Setenv("PGSERVICE", "pos")
	target, err := parsePostgresURL("user=me dbname=two sslmode=require")
	require.NoError(t, err)
	assert.Equal(t, "postgres://me@db.example.org:5433/two?application_name=x&connect_timeout=15&sslmode=require", target.public("two", "x"))
	socket, err := parsePostgresURL("host=/run/pg port=1 user=me dbname=two")
	require.NoError(t, err)
	assert.Equal(t, "postgres://me@/two?application_name=x&connect_timeout=15&host=%2Frun%2Fpg&port=1&sslmode=verify-full", socket.public("two", "x"))
}
