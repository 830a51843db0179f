package backup_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// A backup is proven by restoring it: its rows are those of the manifest, and the books
// of the shop agree.
func ExampleJob_TestRestore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", dir+"/shop.db")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE TABLE sales (id INTEGER PRIMARY KEY, total INT);
		CREATE TABLE items (sale INT, price INT);
		INSERT INTO sales VALUES (1, 30); INSERT INTO items VALUES (1, 10), (1, 20)`); err != nil {
		panic(err)
	}

	folder, err := backup.NewFolder(dir + "/backups")
	if err != nil {
		panic(err)
	}
	job, err := backup.New("shop", sqlite.New(db), folder, &backup.Options{
		RestoreTest: backup.RestoreTestOptions{Assertions: []backup.Assertion{
			{Name: "totals agree", Query: "SELECT COUNT(*) = 0 FROM sales WHERE total <> (SELECT SUM(price) FROM items WHERE sale = sales.id)"},
		}},
	})
	if err != nil {
		panic(err)
	}
	if _, err := job.Backup(ctx); err != nil { // which runs a restore test each week by itself
		panic(err)
	}
	v, err := job.TestRestore(ctx, "") // the newest, now
	if err != nil {
		panic(err)
	}
	fmt.Println(v.RestoreTest.Tables, "tables,", v.RestoreTest.Rows, "rows,", v.RestoreTest.Assertions[0].Name, v.RestoreTest.Assertions[0].OK)
	// Output: 2 tables, 3 rows, totals agree true
}
