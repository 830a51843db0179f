package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// A restore goes beside the original. One in its place needs its name repeated, and
// backs up first what is there.
func ExampleJob_Restore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db := shop(ctx, dir)
	defer db.Close()
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	if err != nil {
		panic(err)
	}
	job, err := backup.New("shop", sqlite.New(db), folder, nil)
	if err != nil {
		panic(err)
	}
	run, err := job.Backup(ctx)
	if err != nil {
		panic(err)
	}
	if _, err := db.ExecContext(ctx, "DELETE FROM sales"); err != nil { // by mistake
		panic(err)
	}

	beside, err := job.Restore(ctx, run.Manifest.ID, filepath.Join(dir, "looked-at.db"), nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(filepath.Base(beside.Target), beside.Contents.Rows())

	_, err = job.RestoreOver(ctx, run.Manifest.ID, "till.db", nil)
	fmt.Println(errors.Is(err, backup.ErrNotConfirmed))
	over, err := job.RestoreOver(ctx, run.Manifest.ID, "shop.db", nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(filepath.Base(over.Target), over.Contents.Rows(), over.Safety != "")
	// Output:
	// looked-at.db 3
	// true
	// shop.db 3 true
}
