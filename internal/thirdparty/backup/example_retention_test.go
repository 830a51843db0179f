package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// What a policy would delete, before it does.
func ExampleJob_Prune() {
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
	job, err := backup.New("shop", sqlite.New(db), folder, &backup.Options{
		NoRetention: true,                                 // this program prunes by itself
		RestoreTest: backup.RestoreTestOptions{Every: -1}, // and restore tests elsewhere
	})
	if err != nil {
		panic(err)
	}
	for range 4 {
		if _, err := job.Backup(ctx); err != nil {
			panic(err)
		}
	}

	decisions, err := job.Prune(ctx, backup.Policy{Last: 2, MinKeep: 1}, true)
	if err != nil {
		panic(err)
	}
	for _, d := range decisions {
		fmt.Println(d.Keep, d.Reasons)
	}
	// Output:
	// true [one of the newest 1 last 2]
	// true [last 2]
	// false [no rule keeps it]
	// false [no rule keeps it]
}
