// Package bundle_test tests backup/bundle over SQLite, files and MariaDB.
package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/bundle"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/files"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// service is a database and a folder of uploads.
type service struct {
	db            *sql.DB
	path, uploads string
	source        *bundle.Source
	job           *backup.Job
	folder        string
}

func newService(t *testing.T) *service {
	t.Helper()
	dir := t.TempDir()
	s := &service{path: filepath.Join(dir, "shop.db"), uploads: filepath.Join(dir, "uploads"), folder: filepath.Join(dir, "uploads", "backups")}
	var err error
	s.db, err = sql.Open("sqlite", s.path)
	require.NoError(t, err)
	t.Cleanup(func() { s.db.Close() })
	_, err = s.db.ExecContext(t.Context(), "CREATE TABLE sales (id INTEGER PRIMARY KEY, image TEXT); INSERT INTO sales VALUES (1, 'a.jpg'), (2, 'sub/b.jpg'); CREATE VIEW v AS SELECT * FROM sales")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(s.uploads, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.uploads, "a.jpg"), bytes.Repeat([]byte("picture "), 2<<20), 0o600)) // of several pieces
	require.NoError(t, os.WriteFile(filepath.Join(s.uploads, "sub", "b.jpg"), []byte("another"), 0o600))
	database := sqlite.New(s.db)
	database.Scratch = dir
	uploads, err := files.New(s.uploads, nil)
	require.NoError(t, err)
	s.source, err = bundle.New(bundle.Part{Name: "database", Source: database}, bundle.Part{Name: "uploads", Source: uploads})
	require.NoError(t, err)
	storage, err := backup.NewFolder(s.folder)
	require.NoError(t, err)
	s.job, err = backup.New("shop", s.source, storage, &backup.Options{
		Logger: slog.New(slog.DiscardHandler), Compression: backup.None,
		RestoreTest: backup.RestoreTestOptions{Every: 1, Assertions: []backup.Assertion{{Name: "sales", Query: "SELECT COUNT(*) = 2 FROM sales"}}},
	})
	require.NoError(t, err)
	return s
}

func same(t *testing.T, a, b string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testserver.Lookup(t, "diff", "diffutils"), "-r", "--exclude=backups", a, b).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestDatabaseAndFolder: one backup, one manifest, restored together.
func TestDatabaseAndFolder(t *testing.T) {
	t.Parallel()
	s := newService(t)
	run, err := s.job.Backup(t.Context())
	require.NoError(t, err)
	assert.True(t, run.Restored)
	m := run.Manifest
	var names []string
	for _, table := range m.Tables {
		names = append(names, table.Name)
	}
	assert.Equal(t, []string{"database/sales", "uploads/files", "uploads/folders", "uploads/links"}, names)
	assert.Equal(t, "database+uploads", m.Database)
	assert.EqualValues(t, 2, m.Tables[1].Rows, "the backups are no part of it")

	// Beside.
	dir := t.TempDir()
	got, err := s.job.Restore(t.Context(), m.ID, "database="+dir+"/copy.db,uploads="+dir+"/copy", nil)
	require.NoError(t, err)
	assert.Equal(t, "database="+dir+"/copy.db,uploads="+dir+"/copy", got.Target)
	same(t, s.uploads, dir+"/copy")
	assert.EqualValues(t, 2, count(t, dir+"/copy.db"))
	// One part, or one table of a part that can.
	got, err = s.job.Restore(t.Context(), m.ID, "*="+dir+"/*_only", &backup.RestoreOptions{Tables: []string{"uploads/"}})
	require.NoError(t, err)
	assert.Equal(t, "uploads="+dir+"/uploads_only", got.Target)
	same(t, s.uploads, dir+"/uploads_only")
	// What fails leaves nothing behind.
	_, err = s.job.Restore(t.Context(), m.ID, "database="+dir+"/second.db,uploads="+dir+"/copy", nil)
	require.ErrorContains(t, err, "uploads: ")
	assert.NoFileExists(t, dir+"/second.db")
	// An interrupted restore of both is cleaned up part by part.
	left := filepath.Dir(s.path)
	parts := map[string]string{"shop_restore_20260101T000000Z.db": dir + "/copy.db", "uploads_restore_20260101T000000Z": dir + "/copy"}
	for name, from := range parts {
		require.NoError(t, os.Rename(from, filepath.Join(left, name)))
	}
	marker := fmt.Sprintf(`{"id":%q,"left":["database=%s/shop_restore_20260101T000000Z.db","uploads=%[2]s/uploads_restore_20260101T000000Z"]}`, m.ID, left)
	sealed := fmt.Appendf(nil, `{"content":%s,"sha256":"%x"}`, marker, sha256.Sum256([]byte("restoring.shop.x.json\n"+marker)))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "restoring.shop.x.json"), sealed, 0o600))
	_, err = s.job.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, backup.ErrHalfway)
	_, err = s.job.Settle(t.Context(), true)
	require.NoError(t, err)
	for name := range parts {
		assert.NoFileExists(t, filepath.Join(left, name))
		assert.NoDirExists(t, filepath.Join(left, name))
	}
	_, err = s.job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	for _, wrong := range []string{"shop.db", "nosuch=x", "database=", "database=a,database=b"} {
		_, err = s.job.Restore(t.Context(), m.ID, wrong, nil)
		require.Error(t, err, wrong)
	}
}

func count(t *testing.T, path string) (n int64) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sales").Scan(&n))
	return n
}

// TestOverwrite replaces both, or reports that only one of them was.
func TestOverwrite(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.folder = filepath.Join(t.TempDir(), "backups") // not below the folder that is replaced
	storage, err := backup.NewFolder(s.folder)
	require.NoError(t, err)
	job, err := backup.New("shop", s.source, storage, &backup.Options{Logger: slog.New(slog.DiscardHandler), RestoreTest: backup.RestoreTestOptions{Every: -1}})
	require.NoError(t, err)
	run, err := job.Backup(t.Context())
	require.NoError(t, err)
	before := filepath.Join(t.TempDir(), "before")
	require.NoError(t, os.CopyFS(before, os.DirFS(s.uploads)))
	_, err = s.db.ExecContext(t.Context(), "DELETE FROM sales WHERE id = 1")
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(s.uploads, "a.jpg")))
	_, err = job.RestoreOver(t.Context(), run.Manifest.ID, "uploads", nil)
	require.ErrorIs(t, err, backup.ErrNotConfirmed)
	over, err := job.RestoreOver(t.Context(), run.Manifest.ID, "shop.db", nil)
	require.NoError(t, err)
	assert.NotEmpty(t, over.Safety)
	same(t, before, s.uploads)
	assert.EqualValues(t, 2, count(t, s.path))
	_, err = job.Check(t.Context(), time.Hour)
	require.NotErrorIs(t, err, backup.ErrHalfway)

	// The folder cannot be replaced, so the database stays.
	_, err = s.db.ExecContext(t.Context(), "DELETE FROM sales WHERE id = 1")
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(s.uploads))
	require.NoError(t, os.WriteFile(s.uploads, []byte("a file"), 0o600))
	var dump bytes.Buffer
	require.NoError(t, decode(t, filepath.Join(s.folder, run.Manifest.File), &dump))
	_, err = s.source.Overwrite(t.Context(), &dump, driver.RestoreOptions{Want: run.Manifest.Contents})
	require.ErrorContains(t, err, "uploads: ")
	require.NotErrorIs(t, err, driver.ErrHalfway)
	assert.EqualValues(t, 1, count(t, s.path))

	// The marker cannot be written, so both stay.
	require.NoError(t, os.Remove(s.uploads))
	require.NoError(t, os.CopyFS(s.uploads, os.DirFS(before)))
	require.NoError(t, os.Remove(filepath.Join(s.uploads, "a.jpg")))
	overwrite := func(touch func(context.Context) error) error {
		dump.Reset()
		require.NoError(t, decode(t, filepath.Join(s.folder, run.Manifest.File), &dump))
		_, err := s.source.Overwrite(t.Context(), &dump, driver.RestoreOptions{Want: run.Manifest.Contents, Touch: touch})
		return err
	}
	away := errors.New("the storage is away")
	calls := 0
	require.ErrorIs(t, overwrite(func(context.Context) error { calls++; return away }), away)
	assert.EqualValues(t, 1, count(t, s.path))
	assert.NoFileExists(t, filepath.Join(s.uploads, "a.jpg"))
	require.NoError(t, overwrite(func(context.Context) error { calls++; return nil }))
	assert.Equal(t, 2, calls)
	assert.EqualValues(t, 2, count(t, s.path))
	same(t, before, s.uploads)
}

func decode(t *testing.T, path string, to io.Writer) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testserver.Lookup(t, "zstd", "zstd"), "-dc", path)
	cmd.Stdout = to
	return cmd.Run()
}

// TestWithoutThisProgram: tar joins the pieces of a part.
func TestWithoutThisProgram(t *testing.T) {
	t.Parallel()
	s := newService(t)
	run, err := s.job.Backup(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	shell := exec.CommandContext(t.Context(), "sh", "-ec", `tar -xOf "$0" database.db > restored.db; mkdir restored; tar -xOf "$0" uploads.tar | tar -xpf - -C restored`, filepath.Join(s.folder, run.Manifest.File))
	shell.Dir = dir
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	same(t, s.uploads, dir+"/restored")
	assert.EqualValues(t, 2, count(t, dir+"/restored.db"))
}

// TestDamaged: a bundle that is truncated anywhere is not restored, and leaves nothing.
func TestDamaged(t *testing.T) {
	t.Parallel()
	s := newService(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.uploads, "a.jpg"), []byte("small"), 0o600))
	var dump bytes.Buffer
	want, err := s.source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	dir := t.TempDir()
	restore := func(r io.Reader) error {
		_, got, err := s.source.Restore(t.Context(), r, driver.RestoreOptions{Want: want, Target: "*=" + dir + "/*"})
		if err == nil {
			err = want.Compare(got)
		}
		return err
	}
	for n := 0; n < dump.Len()-2560; n += 1 + dump.Len()/40 {
		require.Error(t, restore(bytes.NewReader(dump.Bytes()[:n])), n)
		left, err := filepath.Glob(dir + "/*")
		require.NoError(t, err)
		require.Empty(t, left, n)
	}
	// Parts in another order are another bundle.
	var swapped bytes.Buffer
	from, to := tar.NewReader(bytes.NewReader(dump.Bytes())), tar.NewWriter(&swapped)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if header.Name == "database.db" {
			header.Name = "database2.db"
		}
		require.NoError(t, to.WriteHeader(header))
		_, err = io.Copy(to, from)
		require.NoError(t, err)
	}
	require.NoError(t, to.Close())
	require.ErrorContains(t, restore(&swapped), "damaged")
	require.NoError(t, restore(bytes.NewReader(dump.Bytes())))
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, parts := range [][]bundle.Part{nil, {{Name: "", Source: s.source}}, {{Name: "a/b", Source: s.source}}, {{Name: "a"}}, {{Name: "a", Source: s.source}, {Name: "a", Source: s.source}}} {
		_, err := bundle.New(parts...)
		require.Error(t, err)
	}
	_, err := bundle.NewEach(bundle.Options{})
	require.Error(t, err)
}

// TestServer: all databases of a server as one job, also one that is new, restored on another
// server under their names.
func TestServer(t *testing.T) {
	t.Parallel()
	server, other := testserver.MariaDB(t), testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2); CREATE VIEW shop.v AS SELECT * FROM shop.t; CREATE DATABASE `a/b=c,d %` CHARACTER SET latin1; CREATE TABLE `a/b=c,d %`.t (v VARCHAR(20)); INSERT INTO `a/b=c,d %`.t VALUES ('é'); CREATE DATABASE empty")
	job := func(s *testserver.MariaDBServer, folder string) *backup.Job {
		db, err := sql.Open("mysql", s.DSN(""))
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		source, err := mysql.NewServer(db, nil)
		require.NoError(t, err)
		storage, err := backup.NewFolder(folder)
		require.NoError(t, err)
		j, err := backup.New("all", source, storage, &backup.Options{Logger: slog.New(slog.DiscardHandler), RestoreTest: backup.RestoreTestOptions{Every: 1}})
		require.NoError(t, err)
		return j
	}
	folder := filepath.Join(t.TempDir(), "backups")
	here, there := job(server, folder), job(other, folder)
	run, err := here.Backup(t.Context())
	require.NoError(t, err)
	assert.True(t, run.Restored)
	assert.Len(t, run.Manifest.Parts, 3)
	assert.EqualValues(t, 3, run.Manifest.RowsTotal)
	assert.Empty(t, server.Exec(t, "SHOW DATABASES LIKE '%scratch%'"))
	_, err = there.Restore(t.Context(), run.Manifest.ID, "*=*", nil)
	require.NoError(t, err)
	for _, query := range []string{"SELECT * FROM shop.v", "SELECT HEX(v) FROM `a/b=c,d %`.t", "SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA ORDER BY 1"} {
		assert.Equal(t, server.Exec(t, query), other.Exec(t, query))
	}
	got, err := here.Restore(t.Context(), run.Manifest.ID, "shop=one", &backup.RestoreOptions{Tables: []string{"shop/t"}})
	require.NoError(t, err)
	assert.Equal(t, "shop=one", got.Target)
	assert.Equal(t, "t\n", server.Exec(t, "SHOW TABLES FROM one"))
	server.Exec(t, "DROP DATABASE one; DROP DATABASE empty; DROP DATABASE shop; CREATE DATABASE later; CREATE TABLE later.t (id INT)")
	_, err = here.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.ErrorContains(t, err, "the table shop/t is gone")
	_, err = here.RestoreOver(t.Context(), run.Manifest.ID, "all databases", nil)
	require.ErrorContains(t, err, "cannot overwrite")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = here.Restore(ctx, run.Manifest.ID, "*=*_x", nil)
	require.Error(t, err)
	assert.Empty(t, server.Exec(t, "SHOW DATABASES LIKE '%\\_x'"))
}

// TestServerWithoutOne: a database that cannot be dumped is named, and a list without it backs up
// the others.
func TestServerWithoutOne(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.Exec(t, "CREATE DATABASE broken; CREATE TABLE broken.t (id INT); CREATE DATABASE shop; CREATE TABLE shop.t (id INT); INSERT INTO shop.t VALUES (1)")
	db, err := sql.Open("mysql", server.DSN(""))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	holder, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer holder.Close()
	_, err = holder.ExecContext(t.Context(), "LOCK TABLES broken.t WRITE")
	require.NoError(t, err)
	opts := &mysql.Options{LockWait: time.Second}
	all, err := mysql.NewServer(db, opts)
	require.NoError(t, err)
	_, err = all.Dump(t.Context(), io.Discard)
	require.ErrorContains(t, err, "backup: broken: ")
	require.ErrorContains(t, err, "use bundle.NewEach")
	others, err := bundle.NewEach(bundle.Options{
		List: func(context.Context) ([]string, error) { return []string{"shop"}, nil },
		Open: func(name string) (driver.Source, error) { return mysql.New(db, name, opts) },
	})
	require.NoError(t, err)
	got, err := others.Dump(t.Context(), io.Discard)
	require.NoError(t, err)
	assert.EqualValues(t, 1, got.Rows())
	_, err = others.Dump(t.Context(), fullDisk{})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.NotContains(t, err.Error(), "NewEach")
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
