package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

const books = `CREATE TABLE sales (id INTEGER PRIMARY KEY, total INT NOT NULL);
	CREATE TABLE items (sale INT NOT NULL REFERENCES sales (id), price INT NOT NULL);
	INSERT INTO sales VALUES (1, 30), (2, 5); INSERT INTO items VALUES (1, 10), (1, 20), (2, 5)`

func jobOf(t testing.TB, source driver.Source, opts *backup.Options) (*backup.Job, *backup.Folder) {
	t.Helper()
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	require.NoError(t, err)
	opts.Logger = slog.New(slog.DiscardHandler)
	job, err := backup.New("pos", source, folder, opts)
	require.NoError(t, err)
	return job, folder
}

// TestRestoreTest asks assertions of a copy that nobody else can read.
func TestRestoreTest(t *testing.T) {
	t.Parallel()
	db, path := open(t, books)
	dir := filepath.Dir(path)
	source := sqlite.New(db)
	source.Scratch = dir
	asked := 0
	job, _ := jobOf(t, source, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: 1, Assertions: []backup.Assertion{
		{Name: "totals agree", Query: "SELECT COUNT(*) = 0 FROM sales WHERE total <> (SELECT SUM(price) FROM items WHERE sale = sales.id)"},
		{Name: "it is a copy", Check: func(ctx context.Context, db driver.Queryer) error {
			asked++
			rows, err := db.QueryContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'")
			if err != nil {
				return err
			}
			defer rows.Close()
			var file string
			if !rows.Next() {
				return errors.Join(rows.Err(), errors.New("no database"))
			}
			if err := rows.Scan(&file); err != nil {
				return err
			}
			if strings.HasSuffix(file, "shop.db") || !strings.HasPrefix(file, dir) {
				return fmt.Errorf("asked %s", file)
			}
			if info, err := os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o700 {
				return fmt.Errorf("%v, %w", info.Mode(), err)
			}
			return nil
		}},
	}}})
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	require.True(t, report.Restored)
	require.Equal(t, 1, asked)
	e, err := job.Find(t.Context(), report.ID)
	require.NoError(t, err)
	require.NotNil(t, e.RestoreTest)
	assert.True(t, e.RestoreTest.OK)
	assert.EqualValues(t, 5, e.RestoreTest.Rows)
	assert.Len(t, e.RestoreTest.Assertions, 2)

	// The books do not agree: the backup is what was there, and does not pass.
	_, err = db.ExecContext(t.Context(), "UPDATE sales SET total = 31 WHERE id = 1")
	require.NoError(t, err)
	_, err = job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrVerification)
	require.ErrorContains(t, err, "it does not hold that totals agree")
	left, err := filepath.Glob(filepath.Join(dir, "mainstay-sqlite-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	db, _ := open(t, books)
	holds := map[string]bool{
		"SELECT 1": true, "SELECT 0": false, "SELECT 0.5": true, "SELECT 0.0": false, "SELECT 'true'": true, "SELECT '0'": false, "SELECT 'no'": false,
		"SELECT NULL": false, "SELECT 1 WHERE 0": false, "SELECT 1 UNION SELECT 2": false, "SELECT 1, 2": false, "SELECT x'31'": true,
		"SELECT nonsense": false, "SELECT 1 FROM sales WHERE id = 1": true,
	}
	var assertions []backup.Assertion
	for query := range holds {
		assertions = append(assertions, backup.Assertion{Name: query, Query: query})
	}
	job, _ := jobOf(t, sqlite.New(db), &backup.Options{SkipVerify: true, RestoreTest: backup.RestoreTestOptions{Assertions: assertions}})
	_, err := job.Backup(t.Context())
	require.NoError(t, err)
	v, err := job.TestRestore(t.Context(), "")
	require.ErrorIs(t, err, backup.ErrVerification)
	require.Len(t, v.RestoreTest.Assertions, len(holds))
	for _, a := range v.RestoreTest.Assertions {
		assert.Equal(t, holds[a.Name], a.OK, a.Name)
	}
}

// TestSweepTests removes what killed processes left, and nothing else.
func TestSweepTests(t *testing.T) {
	t.Parallel()
	db, path := open(t, books)
	dir := filepath.Dir(path)
	source := sqlite.New(db)
	source.Scratch = dir
	old := time.Now().Add(-48 * time.Hour)
	folder := func(name string, when time.Time, files ...string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.Mkdir(path, 0o700))
		for _, f := range files {
			require.NoError(t, os.WriteFile(filepath.Join(path, f), []byte("x"), 0o600))
			require.NoError(t, os.Chtimes(filepath.Join(path, f), when, when))
		}
		require.NoError(t, os.Chtimes(path, when, when))
	}
	folder("mainstay-sqlite-1", old, "copy.db")
	folder("mainstay-sqlite-2", old, "copy.db", "copy.db-journal")
	folder("mainstay-sqlite-3", old)
	folder("mainstay-sqlite-4", old, "copy.db", "mine.txt")
	folder("mainstay-sqlite-5", time.Now(), "copy.db")
	folder("mainstay-sqlite-x", old, "copy.db")
	folder("other", old, "copy.db")
	dropped, err := source.SweepTests(t.Context(), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	assert.Equal(t, []string{"mainstay-sqlite-1", "mainstay-sqlite-2", "mainstay-sqlite-3"}, dropped)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, left, 5) // with the database
}

// TestAssertionOnAFullDisk: a copy that has no room for a query accuses no backup.
func TestAssertionOnAFullDisk(t *testing.T) {
	t.Parallel()
	db, path := open(t, books)
	source := sqlite.New(db)
	source.Scratch = filepath.Dir(path)
	job, _ := jobOf(t, source, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: -1, Assertions: []backup.Assertion{
		{Name: "there is room", Check: func(ctx context.Context, db driver.Queryer) error {
			var err error
			for _, query := range []string{"PRAGMA max_page_count = 1", "CREATE TABLE x AS SELECT * FROM items"} {
				rows, failed := db.QueryContext(ctx, query)
				if err = failed; err == nil {
					for rows.Next() { // only the error counts
					}
					err = errors.Join(rows.Err(), rows.Close())
				}
			}
			return err
		}},
	}}})
	_, err := job.Backup(t.Context())
	require.NoError(t, err)
	_, err = job.TestRestore(t.Context(), "")
	require.ErrorIs(t, err, driver.ErrUntested)
	require.ErrorContains(t, err, "full")
	require.NotErrorIs(t, err, backup.ErrVerification)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "mainstay-sqlite-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
