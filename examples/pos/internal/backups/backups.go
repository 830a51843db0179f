// Package backups connects the shop's database with the backup package. The nightly run of the
// server and the command "pos backup" use the same job.
package backups

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/contrib/s3store"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// JobName is the name in the files of the backups.
const JobName = "pos"

// Source returns the backup source of the shop's database.
func Source(s *settings.Settings, db *sql.DB) (driver.Source, error) {
	switch s.Database.Engine {
	case settings.SQLite:
		source := sqlite.New(db)
		source.Scratch = s.Data // the copy is as large as the database, and /tmp may be memory
		return source, nil
	case settings.Postgres:
		return postgres.New(db, s.Database.URL.String(), nil)
	default:
		return mysql.New(db, s.Database.Name(), nil)
	}
}

// New returns the job that stores backups of the shop in its data folder. It reads through db,
// which need not be the pool of the sales. If there is a bucket, the job copies the backups to
// it. opts may be nil.
func New(s *settings.Settings, db *sql.DB, opts *backup.Options) (*backup.Job, error) {
	source, err := Source(s, db)
	if err != nil {
		return nil, err
	}
	folder, err := backup.NewFolder(s.BackupDir())
	if err != nil {
		return nil, err
	}
	var o backup.Options
	if opts != nil {
		o = *opts
	}
	if s.BackupTarget.Configured() {
		target, err := bucket(s.BackupTarget)
		if err != nil {
			return nil, err
		}
		o.Targets = append(o.Targets, target)
	}
	// The history is beside the backups, so that it also records problems of their folder.
	if o.History, err = backup.NewFolder(filepath.Join(s.Data, "backup-history")); err != nil {
		return nil, err
	}
	o.RestoreTest.Assertions = assertions
	return backup.New(JobName, source, folder, &o)
}

// assertions verify in a restored shop that the books agree.
var assertions = []backup.Assertion{
	{Name: "every sale has an item", Query: `SELECT COUNT(*) = 0 FROM sales WHERE NOT EXISTS (SELECT 1 FROM sale_items WHERE sale_id = sales.id)`},
	{Name: "every sale's total is the sum of its items", Query: `SELECT COUNT(*) = 0 FROM sales
		WHERE total <> (SELECT COALESCE(SUM(quantity * price), 0) FROM sale_items WHERE sale_id = sales.id)`},
	{Name: "no card is overdrawn", Query: `SELECT COUNT(*) = 0 FROM cards WHERE balance < 0`},
	{Name: "every product has a stock", Query: `SELECT COUNT(*) = 0 FROM products WHERE NOT EXISTS (SELECT 1 FROM stock WHERE product_id = products.id)`},
	{Name: "somebody can log in", Query: `SELECT COUNT(*) > 0 FROM users`},
}

// bucket returns the target in a bucket. It sends no request.
func bucket(b settings.Bucket) (backup.Target, error) {
	keys := credentials.NewStaticV4(b.Key, b.Secret, "")
	if b.Key == "" {
		keys = credentials.NewEnvAWS()
	}
	// With a configured region, the client sends no request for it.
	client, err := minio.New(b.Endpoint, &minio.Options{Creds: keys, Secure: !b.Insecure, Region: cmp.Or(b.Region, "us-east-1"), MaxRetries: 3})
	if err != nil {
		return backup.Target{}, fmt.Errorf("the backup target: %w", err)
	}
	store, err := s3store.New(client, b.Name, &s3store.Options{Prefix: b.Prefix, RetainFor: b.LockFor})
	if err != nil {
		return backup.Target{}, err
	}
	return backup.Target{
		Name: "s3", Storage: store, Retention: backup.Policy{Days: b.KeepDays},
		NoRetention: b.WithoutDelete, SkipVerify: b.WithoutReading,
	}, nil
}

// Last is the last good backup of all servers on a database. The zero value means that there is
// none.
type Last struct {
	ID       string    `json:"id"`
	Folder   string    `json:"folder"` // of the server that made it
	Time     time.Time `json:"time"`   // when it was complete, by the database's clock
	Size     int64     `json:"size"`
	Verified time.Time `json:"verified"` // zero: never
	Restored time.Time `json:"restored"` // zero: never
	Seen     time.Time `json:"seen"`     // when the server that made it last saw it, by the database's clock

	Unseen time.Duration `json:"-"` // since Seen
}

// Newest returns the last good backup of a job, and when any of its good backups was read back and
// restored.
func Newest(ctx context.Context, job *backup.Job) (last Last, err error) {
	entries, err := job.List(ctx)
	last.look(entries)
	return last, err
}

// look reads the good backups in a list.
func (l *Last) look(entries []backup.Entry) {
	newest := time.Time{}
	for _, e := range entries {
		if e.State != backup.Good || e.Manifest == nil {
			continue
		}
		if !e.Time().Before(newest) {
			newest, l.ID, l.Size = e.Time(), e.ID, e.Manifest.Size
		}
		if e.Verified.After(l.Verified) {
			l.Verified = e.Verified
		}
		if restored := e.Restored(); restored.After(l.Restored) {
			l.Restored = restored
		}
	}
}

// mostUnseen is the time after which a backup of another server that nobody has seen is a warning.
// Servers look once an hour.
const mostUnseen = 3 * time.Hour

// Check is the health check of the backups. It reports their age, their size, whether they were
// read back and restored, and problems of the last run or of any backup.
//
// elsewhere returns the last good backup if another server on the same database made it, and
// otherwise the zero value. seen receives the last good backup of this
// server.
func Check(job *backup.Job, elsewhere func(context.Context) (Last, error), seen func(context.Context, Last) error) health.Check {
	check := health.Backups("backups", func(ctx context.Context) ([]health.Backup, error) {
		entries, err := job.List(ctx)
		if err != nil {
			return nil, err
		}
		var list []health.Backup
		var own Last
		own.look(entries)
		_ = seen(ctx, own) // without the database, the other servers cannot read it either
		for _, e := range entries {
			if e.State == backup.Good && e.Manifest != nil {
				list = append(list, health.Backup{Time: e.Time(), Size: e.Manifest.Size, Verified: e.Verified, Restored: e.Restored()})
			}
		}
		if last, err := elsewhere(ctx); err == nil && !last.Time.IsZero() {
			list = append(list, health.Backup{Time: last.Time, Size: last.Size, Verified: last.Verified, Restored: last.Restored})
		}
		return list, nil
	}, &health.BackupsOptions{RestoreWithin: 35 * 24 * time.Hour})
	dates := check.Checker
	check.Checker = health.CheckerFunc(func(ctx context.Context) health.Result {
		result := dates.Check(ctx)
		status, wrong := job.Check(ctx, 100*365*24*time.Hour) // dates.Check judges the age
		if result.Err != nil {
			return result // the result reports already that listing failed
		}
		var found backup.Problems
		if wrong != nil && !errors.As(wrong, &found) {
			return health.Result{Status: health.Fail, Summary: "the backups cannot be read", Err: wrong}
		}
		for _, problem := range found {
			text := problem.Error()
			switch problem.Kind {
			case backup.ErrStale: //nolint:errorlint // a kind is a value; dates.Check has judged it
				continue
			case backup.ErrSuspect: // troubles reports it
				continue
			case backup.ErrTarget: // its error may hold addresses
				text = problem.Kind.Error()
				fallthrough
			case backup.ErrDamaged:
				result.Status = max(result.Status, health.Warn)
			default:
				result.Status = max(result.Status, health.Fail)
			}
			result.Summary += "; " + strings.TrimPrefix(text, "backup: ")
		}
		last, err := elsewhere(ctx)
		if err == nil && last.Unseen > mostUnseen {
			result.Status = max(result.Status, health.Warn)
			result.Summary += fmt.Sprintf("; nobody has seen the newest backup, in %s, for %v: is that server and its disk still there?", last.Folder, last.Unseen.Round(time.Hour))
		}
		if err == nil && status.Last != nil && last.Time.After(status.Last.Time) {
			return result // another server has made a good backup since the last run of this one
		}
		for _, trouble := range troubles(status) {
			result.Status = max(result.Status, health.Warn)
			result.Summary += "; " + trouble
		}
		return result
	})
	return check
}

// troubles returns problems other than the age of the newest good backup.
func troubles(s backup.Status) (list []string) {
	if s.Last != nil && !s.Last.OK {
		list = append(list, "the last run failed at "+s.Last.Stage)
		if s.Suspect > 0 { // a suspect backup before a good run is no problem
			list = append(list, fmt.Sprintf("%d suspect: look, then accept", s.Suspect))
		}
	}
	return list
}

// Told is the file with the state of the backup notifications. The server and the command share
// it. It is outside the backup folder, because a failure of that folder also causes
// notifications.
func Told(s *settings.Settings) string { return filepath.Join(s.Data, "backups-told.json") }

// Notices returns the notifications of the job over channel.
func Notices(s *settings.Settings, job *backup.Job, channel notify.Notifier, logger *slog.Logger) (*backupnotify.Notices, error) {
	return backupnotify.New(JobName, channel, &backupnotify.Options{State: Told(s), Status: job.Status, Logger: logger})
}

// Schedule returns a scheduler that makes a backup each day and passes the report to notices,
// which may be nil. last returns the last good backup of all servers on the database, and
// made stores the size of a new one.
func Schedule(job *backup.Job, s *settings.Settings, notices *backupnotify.Notices, last func(context.Context) (Last, error), made func(context.Context, Last) error, logger *slog.Logger) (*schedule.Scheduler, error) {
	when, err := schedule.NewDaily(s.BackupAt.Hour, s.BackupAt.Minute, s.Timezone)
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context) error {
		report, err := job.Backup(ctx)
		if err == nil {
			var last Last
			if last, err = Newest(ctx, job); err == nil {
				err = made(ctx, last)
			}
		}
		if notices != nil && ctx.Err() == nil { // a server that stops is no failure
			if err := notices.Ran(ctx, report, err); err != nil {
				logger.Error("the notification of the backup could not be sent", "error", err)
			}
		}
		return err
	}
	return schedule.New(when, run, &schedule.Options{
		Logger: logger, Jitter: -1, // only one server at a time runs it
		LastGood: func(ctx context.Context) (time.Time, bool, error) {
			newest, err := last(ctx)
			return newest.Time, !newest.Time.IsZero(), err
		},
	})
}
