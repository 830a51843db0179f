package command

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

const (
	leaseLifetime = 30 * time.Second
	leaseRenewal  = 8 * time.Second
)

// lead runs jobs while this server holds a lease in the database, so that only one server runs
// them. While the database is unavailable the leader continues: it must send the alert, and no
// other server can get the lease. When the database returns, the lease decides which server
// leads.
func lead(ctx context.Context, st *store.Store, name string, jobs map[string]func(context.Context) error, logger *slog.Logger) error {
	if len(jobs) == 0 {
		return nil
	}
	var stop func()
	defer func() {
		if stop != nil {
			stop()
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = st.Release(release, name, holder()) // if this fails, the lease expires
		}
	}()
	renewal := time.NewTicker(leaseRenewal)
	defer renewal.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, leaseRenewal)
		held, err := st.Lease(call, name, holder(), leaseLifetime)
		cancel()
		switch {
		case err != nil: // without the database, the leader stays
		case held && stop == nil:
			logger.Info("this server leads: it makes the backups")
			stop = start(ctx, jobs, logger)
		case !held && stop != nil:
			logger.Warn("another server leads now")
			stop()
			stop = nil
		}
		select {
		case <-renewal.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// start runs jobs. It returns stop, which ends them and waits for them.
func start(ctx context.Context, jobs map[string]func(context.Context) error, logger *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	for name, job := range jobs {
		work.Go(func() {
			if err := job(ctx); err != nil && ctx.Err() == nil {
				logger.Error("background work ended", "job", name, "error", err)
			}
		})
	}
	return func() {
		cancel()
		work.Wait()
	}
}

const lastBackupKey = "newest_backup"

// lastBackup returns the last good backup that a server on the database made, or the zero value.
func lastBackup(ctx context.Context, st *store.Store) (last backups.Last, err error) {
	text, found, err := st.Meta(ctx, lastBackupKey)
	if err == nil && found {
		err = json.Unmarshal([]byte(text), &last)
	}
	return last, err
}

// folder names the folder of this server's backups among all servers. Servers on one host have
// folders of their own, and may have the same name.
func folder(s *settings.Settings) string {
	host, _ := os.Hostname() // without a name, the folder remains
	dir, err := filepath.Abs(s.BackupDir())
	if err != nil {
		dir = s.BackupDir()
	}
	return host + ":" + dir
}

// backupElsewhere returns the last good backup if another server made it.
func backupElsewhere(ctx context.Context, s *settings.Settings, st *store.Store) (backups.Last, error) {
	last, err := lastBackup(ctx, st)
	if err != nil || last.Time.IsZero() || last.Folder == folder(s) {
		return backups.Last{}, err
	}
	now, err := st.Now(ctx)
	last.Unseen = now.Sub(last.Seen)
	return last, err
}

// keepSeen stores once an hour that this server still has the last good backup.
func keepSeen(ctx context.Context, s *settings.Settings, st *store.Store, own backups.Last) error {
	last, err := lastBackup(ctx, st)
	if err != nil || last.Folder != folder(s) || own.ID != last.ID || own.ID == "" {
		return err
	}
	now, err := st.Now(ctx)
	if err != nil || now.Sub(last.Seen) < time.Hour {
		return err
	}
	last.Seen, last.Verified, last.Restored = now, own.Verified, own.Restored
	return setLastBackup(ctx, st, last)
}

// keepLastBackup stores that this server has made a good backup now.
func keepLastBackup(ctx context.Context, s *settings.Settings, st *store.Store, made backups.Last) error {
	now, err := st.Now(ctx)
	if err != nil {
		return err
	}
	made.Folder, made.Time, made.Seen = folder(s), now, now
	return setLastBackup(ctx, st, made)
}

func setLastBackup(ctx context.Context, st *store.Store, last backups.Last) error {
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	return st.SetMeta(ctx, lastBackupKey, string(text))
}
