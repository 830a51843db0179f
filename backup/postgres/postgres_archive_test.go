//go:build engines

package backup

import (
	"bytes"
	"io"
	"os/exec"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// The rows in the archive are the server's own, also where text looks like the end
// of a table; and no part of an archive passes for a whole one.
func TestPostgresArchive(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "traps")
	server.Exec(t, "traps", `
		CREATE TABLE texts (a text, b bytea);
		INSERT INTO texts VALUES (E'\\.', NULL), (E'\n\\.\n\n\n', ''), ('', E'\\x5c2e0a0a'), (NULL, NULL), (E'COPY x FROM stdin;\n', NULL);
		CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
		CREATE TABLE "order" ("select" int); INSERT INTO "order" SELECT generate_series(1, 100000);
		CREATE TABLE wide (t text); INSERT INTO wide SELECT repeat('x', 3000000) FROM generate_series(1, 3);
		CREATE PROCEDURE p() LANGUAGE sql AS $$ COPY texts FROM stdin; $$;
		SELECT lo_from_bytea(0, repeat('large', 100000)::bytea), lo_from_bytea(0, '');
		CREATE EXTENSION IF NOT EXISTS plpgsql;`)
	p := source(t, server.DSN("traps"), nil)
	archive, counts := dumped(t, p)
	assert.Equal(t, []Table{{"public.nothing", 2}, {"public.order", 100000}, {"public.texts", 5}, {"public.wide", 3}}, counts.Tables)
	_, got, err := p.Restore(t.Context(), bytes.NewReader(archive), "copy")
	require.NoError(t, err)
	same(t, counts, got)
	assert.EqualValues(t, 100010, counts.Rows())
	assert.Regexp(t, `^snapshot:.`, counts.Consistency)
	assert.Regexp(t, `^\d+\.`, counts.ServerVersion)

	whole, err := scanPostgresArchive(iotest.HalfReader(bytes.NewReader(archive)))
	require.NoError(t, err)
	assert.Equal(t, "traps", whole.database)
	for _, size := range []int{0, 4, 5, 30, 300, 3000, len(archive) / 3, len(archive) / 2, len(archive) - 5000, len(archive) - 5, len(archive) - 1} {
		_, err := scanPostgresArchive(bytes.NewReader(archive[:size]))
		assert.ErrorContains(t, err, "damaged or cut", "the first %d of %d bytes", size, len(archive))
	}
	_, err = scanPostgresArchive(bytes.NewReader(append(bytes.Clone(archive), "rest"...)))
	assert.ErrorContains(t, err, "damaged or cut")

	// Wherever it is cut, also between two tables: pg_restore --list sees nothing of it.
	server.CreateDatabase(t, "small")
	server.Exec(t, "small", "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b (x int); CREATE TABLE c AS SELECT 2 AS x; SELECT lo_from_bytea(0, 'large')")
	small, holds := dumped(t, source(t, server.DSN("small"), nil))
	require.Len(t, holds.Tables, 3)
	for size := range small {
		_, err := scanPostgresArchive(bytes.NewReader(small[:size]))
		require.ErrorContains(t, err, "damaged or cut", "the first %d of %d bytes", size, len(small))
	}

	// The one that pg_dump compresses is told apart, not miscounted.
	compressed := exec.CommandContext(t.Context(), testserver.Lookup(t, "pg_dump", "postgresql-client"), "-Fc", "--dbname="+server.DSN("traps"))
	out, err := compressed.Output()
	require.NoError(t, err)
	_, err = scanPostgresArchive(bytes.NewReader(out))
	assert.ErrorContains(t, err, "compressed by pg_dump")

	// A writer that stops is told apart from a damaged archive.
	_, err = scanPostgresArchive(iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(archive))))
	assert.ErrorIs(t, err, iotest.ErrTimeout)
}

func FuzzPostgresArchive(f *testing.F) {
	number := func(n byte) []byte { return []byte{0, n, 0, 0, 0} }
	text := func(s string) []byte { return append(number(byte(len(s))), s...) }
	var b bytes.Buffer
	b.WriteString("PGDMP\x01\x0e\x00\x04\x08\x01")
	for range 1 + 7 {
		b.Write(number(0))
	}
	for _, s := range []string{"db", "15.1", "15.1"} {
		b.Write(text(s))
	}
	b.Write(number(1)) // one entry
	b.Write(number(7))
	b.Write(number(1))
	for _, s := range []string{"0", "0", "t", "TABLE DATA"} {
		b.Write(text(s))
	}
	b.Write(number(3))
	for _, s := range []string{"", "", "COPY", "public", "", "", "me", "false"} {
		b.Write(text(s))
	}
	b.Write([]byte{1, 1, 0, 0, 0}) // no more dependencies
	b.Write(make([]byte, 9))
	b.WriteByte(archiveBlockData)
	b.Write(number(7))
	b.Write(text("a\nb\n\\.\n\n\n"))
	b.Write(number(0))
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-6])
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := scanPostgresArchive(bytes.NewReader(data))
		if bytes.Equal(data, b.Bytes()) && (err != nil || a.holds.Tables[0] != Table{"public.t", 2}) {
			t.Fatalf("the sample: %v %v", a, err)
		}
		for _, table := range a.holds.Tables {
			if err == nil && table.Rows < 0 {
				t.Fatalf("%v", table)
			}
		}
		scanner := newArchiveScanner(io.Discard)
		_, _ = scanner.Write(data)
		if _, again := scanner.finish(); (again == nil) != (err == nil) {
			t.Fatalf("at once %v, as a stream %v", err, again)
		}
	})
}
