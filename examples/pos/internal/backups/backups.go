// Package backups joins the shop's database to the backup package: the same job for the
// nightly run of the server and for the command beside it.
package backups

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// JobName names the files of the backups.
const JobName = "pos"

// Source returns what reads and restores the shop's database.
func Source(s *settings.Settings, db *sql.DB) (backup.Source, error) {
	switch s.Database.Engine {
	case settings.SQLite:
		source := backup.NewSQLite(db)
		source.Scratch = s.Data // the copy is as large as the database; /tmp may be memory
		return source, nil
	case settings.Postgres:
		return backup.NewPostgres(db, s.Database.URL.String(), nil)
	default:
		address := *s.Database.URL
		address.RawQuery = "" // the shop, too, takes nothing from it
		return backup.NewMySQL(db, address.String(), nil)
	}
}

// New returns the job that backs the shop up into its data folder; it reads through db,
// which need not be the pool that the shop sells with. opts may be nil.
func New(s *settings.Settings, db *sql.DB, opts *backup.Options) (*backup.Job, error) {
	source, err := Source(s, db)
	if err != nil {
		return nil, err
	}
	folder, err := backup.NewFolder(s.BackupDir())
	if err != nil {
		return nil, err
	}
	return backup.New(JobName, source, folder, opts)
}

// Check is the health check of the backups: their age, their size and whether they were
// read back.
func Check(job *backup.Job) health.Check {
	return health.Backups("backups", func(ctx context.Context) ([]health.Backup, error) {
		entries, err := job.List(ctx)
		if err != nil {
			return nil, err
		}
		var list []health.Backup
		for _, e := range entries {
			if e.State == backup.Good && e.Manifest != nil {
				list = append(list, health.Backup{Time: e.Time(), Size: e.Manifest.Size, Verified: e.Verified})
			}
		}
		return list, nil
	}, nil)
}

// Schedule returns what makes a backup each day, and tells channel (which may be nil)
// when one failed for good or was suspect.
func Schedule(job *backup.Job, at settings.TimeOfDay, channel notify.Notifier, logger *slog.Logger) (*backup.Scheduler, error) {
	when, err := backup.NewDaily(at.Hour, at.Minute, time.Local)
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context) error {
		_, err := job.Backup(ctx)
		if err != nil && channel != nil {
			message := notify.Message{
				Level: notify.Critical, Source: "pos", Key: "backup",
				Subject: "backup failed", Text: fmt.Sprintf("The backup of the shop failed: %v", err),
			}
			if err := channel.Notify(ctx, message); err != nil {
				logger.Error("nobody could be told that the backup failed", "error", err)
			}
		}
		return err
	}
	return backup.NewScheduler(when, run, &backup.SchedulerOptions{
		Logger: logger,
		LastGood: func(ctx context.Context) (time.Time, bool, error) {
			status, err := job.Status(ctx)
			if err != nil || status.Newest == nil {
				return time.Time{}, false, err
			}
			return status.Newest.Time(), true, nil
		},
	})
}
