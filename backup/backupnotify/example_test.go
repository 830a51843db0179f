package backupnotify_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
	"github.com/mainstay-go/mainstay/notify"
)

// printer stands for notify.Email or a webhook.
type printer struct{}

func (printer) Notify(_ context.Context, m notify.Message) error {
	fmt.Println(m.Level, m.Subject)
	return nil
}

// A night on which the database was down, with its retries, and the next one.
func Example() {
	ctx := context.Background()
	notices, err := backupnotify.New("shop", printer{}, nil) // Options.State outlives the process
	if err != nil {
		panic(err)
	}
	down := &backup.StageError{Stage: "dump", Err: errors.New("connection refused")}
	for range 4 {
		_ = notices.Ran(ctx, backup.Run{}, down) // the outcome of job.Backup
	}
	_ = notices.Ran(ctx, backup.Run{Manifest: &backup.Manifest{ID: "shop_20260102T020000Z_4f1c2a"}}, nil)
	// Output:
	// critical [BACKUP] shop: FAILED
	// recovery [BACKUP RECOVERED] shop
}
