package files_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/files"
)

// A folder of uploads, without the thumbnails, which the service can make again.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	uploads := filepath.Join(dir, "uploads")
	for _, name := range []string{"invoices/1.pdf", "photos/a.jpg", "photos/thumbs/a.jpg"} {
		path := filepath.Join(uploads, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			panic(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			panic(err)
		}
	}

	source, err := files.New(uploads, &files.Options{Exclude: []string{"thumbs"}})
	if err != nil {
		panic(err)
	}
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	if err != nil {
		panic(err)
	}
	job, err := backup.New("uploads", source, folder, nil)
	if err != nil {
		panic(err)
	}
	if _, err := job.Backup(context.Background()); err != nil {
		panic(err)
	}
	report, err := job.Restore(context.Background(), "", filepath.Join(dir, "restored"), nil)
	if err != nil {
		panic(err)
	}
	for _, t := range report.Contents.Tables {
		fmt.Println(t.Name, t.Rows)
	}
	// Output:
	// files 2
	// folders 3
	// links 0
}
