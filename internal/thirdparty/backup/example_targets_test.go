package backup_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// A second disk holds a copy of each good backup for a year; what is lost here can be
// restored from there.
func ExampleJob_Target() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db := shop(ctx, dir)
	defer db.Close()

	here, err := backup.NewFolder(filepath.Join(dir, "backups"))
	if err != nil {
		panic(err)
	}
	attic, err := backup.NewFolder(filepath.Join(dir, "attic"))
	if err != nil {
		panic(err)
	}
	job, err := backup.New("shop", sqlite.New(db), here, &backup.Options{
		Targets: []backup.Target{{Name: "attic", Storage: attic, Retention: backup.Policy{Days: 30, Monthly: 12}}},
	})
	if err != nil {
		panic(err)
	}
	report, err := job.Backup(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Targets[0].Name, "copied:", len(report.Targets[0].Copied))

	if err := os.RemoveAll(here.Path()); err != nil { // the disk has gone
		panic(err)
	}
	there, err := job.Target("attic")
	if err != nil {
		panic(err)
	}
	restored, err := there.Restore(ctx, "", filepath.Join(dir, "restored.db"), nil)
	if err != nil {
		panic(err)
	}
	fmt.Println("restored:", restored.Contents.Rows(), "rows")
	// Output:
	// attic copied: 1
	// restored: 3 rows
}

// shop is a database with one table.
func shop(ctx context.Context, dir string) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(dir, "shop.db"))
	if err != nil {
		panic(err)
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE sales (id INTEGER PRIMARY KEY, total INT); INSERT INTO sales VALUES (1, 30), (2, 5), (3, 12)`); err != nil {
		panic(err)
	}
	return db
}
