package postgres

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func scanned(r io.Reader) (postgresArchive, error) { return newArchiveReader(r).scan() }

// TestArchive: rows are the server's own, also where text looks like the end of a table. No
// part of an archive passes for a whole one.
func TestArchive(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	dump := func(database, schema string, more ...string) []byte {
		server.CreateDatabase(t, database)
		server.Exec(t, database, schema)
		out, err := exec.CommandContext(t.Context(), testserver.Lookup(t, "pg_dump", "postgresql-client"), append([]string{"-Fc", "--dbname=" + server.DSN(database)}, more...)...).Output()
		require.NoError(t, err)
		return out
	}
	archive := dump("traps", `
		CREATE TABLE texts (a text, b bytea);
		INSERT INTO texts VALUES (E'\\.', NULL), (E'\n\\.\n\n\n', ''), ('', E'\\x5c2e0a0a'), (NULL, NULL), (E'COPY x FROM stdin;\n', NULL);
		CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
		CREATE TABLE "order" ("select" int); INSERT INTO "order" SELECT generate_series(1, 30000);
		CREATE TABLE wide (t text); INSERT INTO wide SELECT repeat('x', 3000000) FROM generate_series(1, 3);
		CREATE PROCEDURE p() LANGUAGE sql AS $$ COPY texts FROM stdin; $$;
		SELECT lo_from_bytea(0, repeat('large', 100000)::bytea), lo_from_bytea(0, '');`, "--compress=0")
	whole, err := scanned(iotest.HalfReader(bytes.NewReader(archive)))
	require.NoError(t, err)
	rows := map[string]int64{}
	for _, table := range whole.holds.Tables {
		rows[table.Name] = table.Rows
	}
	assert.Equal(t, map[string]int64{"public.nothing": 2, "public.order": 30000, "public.texts": 5, "public.wide": 3}, rows)
	assert.EqualValues(t, 2, whole.large.Rows)
	assert.Equal(t, "traps", whole.database)
	for _, size := range []int{0, 4, 5, 30, 300, 3000, len(archive) / 3, len(archive) / 2, len(archive) - 5000, len(archive) - 5, len(archive) - 1} {
		_, err := scanned(bytes.NewReader(archive[:size]))
		require.ErrorContains(t, err, "damaged or cut", "the first %d of %d bytes", size, len(archive))
	}
	_, err = scanned(bytes.NewReader(append(bytes.Clone(archive), "rest"...)))
	require.ErrorContains(t, err, "damaged or cut")
	_, err = scanned(iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(archive))))
	require.ErrorIs(t, err, iotest.ErrTimeout)

	// Wherever it ends, also between two tables: pg_restore --list reports nothing of it.
	small := dump("small", "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b (x int); CREATE TABLE c AS SELECT 2 AS x; SELECT lo_from_bytea(0, 'large')", "--compress=0", "--create")
	for size := range small {
		_, err := scanned(bytes.NewReader(small[:size]))
		require.ErrorContains(t, err, "damaged or cut", "the first %d of %d bytes", size, len(small))
	}
	// The head is the same after it was read and written.
	head := newArchiveReader(bytes.NewReader(small))
	contents := head.toc()
	require.NoError(t, head.err)
	again := newArchiveReader(bytes.NewReader(contents.encode()))
	assert.Len(t, again.toc().entries, len(contents.entries))
	require.NoError(t, again.err)
	assert.Equal(t, contents.encode(), func() []byte { r := newArchiveReader(bytes.NewReader(contents.encode())); return r.toc().encode() }())

	_, err = scanned(bytes.NewReader(dump("packed", "CREATE TABLE a AS SELECT 1 AS x")))
	require.ErrorContains(t, err, "compressed by pg_dump")
}

// sample is an archive with one table of two rows, as pg_dump 13 writes it.
func sample() []byte {
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
	return b.Bytes()
}

// FuzzArchive: a reader of any bytes ends, agrees with the reader of the same bytes as a
// stream, and can write again each head that it accepts.
func FuzzArchive(f *testing.F) {
	whole := sample()
	f.Add(whole)
	f.Add(whole[:len(whole)-6])
	f.Add(whole[:60])
	// Archives that pg_dump 15 wrote of the schemas of the tests.
	paths, err := filepath.Glob("testdata/archives/*.gz")
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for _, path := range paths {
		file, err := os.Open(path)
		require.NoError(f, err)
		unpacked, err := gzip.NewReader(file)
		require.NoError(f, err)
		archive, err := io.ReadAll(unpacked)
		require.NoError(f, errors.Join(err, file.Close()))
		_, err = scanned(bytes.NewReader(archive))
		require.NoError(f, err, path)
		f.Add(archive)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := scanned(bytes.NewReader(data))
		if bytes.Equal(data, whole) && (err != nil || a.holds.Tables[0].Name != "public.t" || a.holds.Tables[0].Rows != 2) {
			t.Fatalf("the sample: %v %v", a, err)
		}
		scanner := newArchiveScanner(io.Discard, nil)
		_, _ = scanner.Write(data)
		if _, again := scanner.finish(); (again == nil) != (err == nil) {
			t.Fatalf("at once %v, as a stream %v", err, again)
		}
		head := newArchiveReader(bytes.NewReader(data))
		contents := head.toc()
		if head.err != nil {
			return
		}
		encoded := contents.encode()
		second := newArchiveReader(bytes.NewReader(encoded))
		if again := second.toc().encode(); second.err != nil || !bytes.Equal(again, encoded) {
			t.Fatalf("the head is not the same: %v", second.err)
		}
		contents.adapt(cluster{superuser: true, user: "me"}, "other", restoreHow{})
		contents.functions("public")
		contents.softly()
		third := newArchiveReader(bytes.NewReader(contents.encode()))
		if third.toc(); third.err != nil {
			t.Fatalf("the adapted head: %v", third.err)
		}
	})
}
