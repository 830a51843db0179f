package command

import (
	"context"
	"log/slog"
	"sync"
	"time"

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
			logger.Info("this server leads: it makes the backups and sends the alerts")
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

const lastBackupKey = "last_backup"

// lastBackup returns the time of the last good backup that a server on the database made, or
// the zero time.
func lastBackup(ctx context.Context, st *store.Store) (time.Time, error) {
	text, found, err := st.Meta(ctx, lastBackupKey)
	if err != nil || !found {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

// keepLastBackup stores that a good backup was made now.
func keepLastBackup(ctx context.Context, st *store.Store) error {
	now, err := st.Now(ctx)
	if err != nil {
		return err
	}
	return st.SetMeta(ctx, lastBackupKey, now.Format(time.RFC3339Nano))
}
