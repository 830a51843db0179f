//go:build engines

package backup

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// openShop makes a small database in a file.
func openShop(t *testing.T) (*sql.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, statement := range []string{
		"CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)",
		`CREATE TABLE "odd ""name" (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id))`,
		"CREATE VIEW v AS SELECT * FROM customers",
		"CREATE TRIGGER tr AFTER INSERT ON customers BEGIN SELECT 1; END",
		"INSERT INTO customers (name) VALUES ('a'), ('b'), (NULL)",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	return db, path
}

func TestSQLite(t *testing.T) {
	db, path := openShop(t)
	j, folder := newTestJob(t, NewSQLite(db), nil)
	m := mustBackup(t, j)
	if m.RowsTotal != 3 || len(m.Tables) != 2 || m.Views != 1 || m.Triggers != 1 || m.Consistency != "vacuum-into" {
		t.Errorf("manifest %+v", m)
	}
	report, err := j.Restore(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(report.Target) != filepath.Dir(path) || report.Target == path {
		t.Errorf("restored to %s", report.Target)
	}
	restored, err := sql.Open("sqlite", report.Target)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	var n int
	if err := restored.QueryRow("SELECT count(*) FROM customers WHERE name IS NULL").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	// A restore never overwrites, least of all the database itself.
	for _, target := range []string{path, report.Target} {
		before, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Restore(t.Context(), "", target); err == nil {
			t.Errorf("%s was overwritten", target)
		}
		if after, _ := os.ReadFile(target); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", target)
		}
	}
	if left := files(t, folder); len(left) != 3 {
		t.Errorf("the folder holds %v", left)
	}
}

// TestSQLiteWhileWriting counts what a backup holds against what it says, with a
// writer that never stops: each transaction adds a row to both tables, so a copy with
// different counts is torn.
func TestSQLiteWhileWriting(t *testing.T) {
	db, _ := openShop(t)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			var tx *sql.Tx
			if tx, err = db.Begin(); err != nil {
				break
			}
			_, err1 := tx.Exec("INSERT INTO customers (name) VALUES ('x')")
			_, err2 := tx.Exec(`INSERT INTO "odd ""name" (customer) VALUES (1)`)
			err = errors.Join(err1, err2, tx.Commit())
		}
		stopped <- err
	}()
	j, _ := newTestJob(t, NewSQLite(db), &Options{Compression: Zstd})
	var last int64
	for range 5 {
		m := mustBackup(t, j)
		rows := map[string]int64{}
		for _, table := range m.Tables {
			rows[table.Name] = table.Rows
		}
		if rows["customers"]-3 != rows[`odd "name`] || rows["customers"] < last {
			t.Errorf("torn: %v after %d", rows, last)
		}
		last = rows["customers"]
		if _, err := j.Restore(t.Context(), m.ID, filepath.Join(t.TempDir(), "r.db")); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Errorf("the writer was disturbed: %v", err)
	}
	if last <= 3 {
		t.Error("nothing was written meanwhile")
	}
}

// TestSQLiteDamaged: what the database itself finds wrong is not published.
func TestSQLiteDamaged(t *testing.T) {
	db, path := openShop(t)
	careless, err := sql.Open("sqlite", path+"?_pragma=ignore_check_constraints(ON)")
	if err != nil {
		t.Fatal(err)
	}
	defer careless.Close()
	if _, err := careless.Exec("CREATE TABLE stock (n INTEGER CHECK (n >= 0)); INSERT INTO stock VALUES (-1)"); err != nil {
		t.Fatal(err)
	}
	j, folder := newTestJob(t, NewSQLite(db), nil)
	if _, err := j.Backup(t.Context()); err == nil || !strings.Contains(err.Error(), "is damaged: CHECK constraint failed") {
		t.Errorf("%v", err)
	}
	if left := files(t, folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSQLiteBrokenReferences(t *testing.T) {
	db, _ := openShop(t)
	if _, err := db.Exec(`INSERT INTO "odd ""name" (customer) VALUES (999)`); err != nil {
		t.Fatal(err)
	}
	j, _ := newTestJob(t, NewSQLite(db), nil)
	report, err := j.Backup(t.Context())
	if err != nil || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "1 rows refer") {
		t.Errorf("%v, %v", report.Warnings, err)
	}
}
