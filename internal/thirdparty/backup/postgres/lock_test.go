package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// busySource counts how many runs dump at once, over the lock of the server.
type busySource struct {
	*postgres.Source
	now, most *atomic.Int64
	wait      <-chan struct{}
}

func (s busySource) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	defer s.now.Add(-1)
	n := s.now.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	<-s.wait
	_, err := io.WriteString(w, "a dump")
	return driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 1}}}, err
}

func (s busySource) Describe() driver.Description {
	return driver.Description{Engine: "fake", Extension: ".bin"}
}

func (s busySource) Abilities() driver.Abilities { return driver.Abilities{Lock: s.Lock} }

// TestLock: of six hosts one runs; a killed holder frees the lock; a holder whose session
// is ended receives an error and does not free the lock of another.
func TestLock(t *testing.T) {
	if dsn := os.Getenv(killDSN); dsn != "" {
		_, err := source(t, dsn, nil).Lock(t.Context(), "pos")
		require.NoError(t, err)
		fmt.Println("running")
		select {}
	}
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.CreateDatabase(t, "other")
	ctx := t.Context()
	var now, most, good, locked atomic.Int64
	open := make(chan struct{})
	var hosts sync.WaitGroup
	for range 6 {
		job := jobIn(t, filepath.Join(t.TempDir(), "backups"), busySource{source(t, server.DSN("shop"), nil), &now, &most, open}, nil)
		hosts.Go(func() {
			switch _, err := job.Backup(ctx); {
			case err == nil:
				good.Add(1)
			case errors.Is(err, backup.ErrLocked):
				if locked.Add(1) == 5 {
					close(open) // all others were refused while this one dumps
				}
			default:
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	assert.Equal(t, []int64{1, 5, 1}, []int64{good.Load(), locked.Load(), most.Load()})

	p := source(t, server.DSN("shop"), nil)
	unlock, err := p.Lock(ctx, "pos")
	require.NoError(t, err)
	_, err = source(t, server.DSN("shop"), nil).Lock(ctx, "pos")
	require.ErrorIs(t, err, backup.ErrLocked)
	for job, dsn := range map[string]string{"another-job": server.DSN("shop"), "pos": server.DSN("other")} {
		free, err := source(t, dsn, nil).Lock(ctx, job)
		require.NoError(t, err)
		require.NoError(t, free())
	}
	require.NoError(t, unlock())
	killed(t, 0, killDSN+"="+server.DSN("shop"))
	unlocked(t, func() error { unlock, err = p.Lock(ctx, "pos"); return err })
	server.Exec(t, "shop", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	var second func() error
	unlocked(t, func() error { second, err = p.Lock(ctx, "pos"); return err })
	require.ErrorContains(t, unlock(), "the database lock was lost")
	_, err = p.Lock(ctx, "pos")
	require.ErrorIs(t, err, backup.ErrLocked, "the holder of the lost lock freed the other one")
	require.NoError(t, second())

	small := connect(t, server.DSN("shop"))
	small.SetMaxOpenConns(2)
	p, err = postgres.New(small, server.DSN("shop"), nil)
	require.NoError(t, err)
	_, err = p.Lock(ctx, "pos")
	require.ErrorContains(t, err, "SetMaxOpenConns")
}
