//go:build engines

package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

const lockVictim = "MAINSTAY_BACKUP_LOCK"

func lockerOf(t testing.TB, driver, dsn string) lockedSource {
	t.Helper()
	if driver == "pgx" {
		return source(t, dsn, nil)
	}
	return mysqlSource(t, dsn, nil)
}

type lockedSource interface {
	Source
	RunLocker
}

// holdsLock is the other process: it takes the lock, says so and waits to be killed.
func holdsLock(t *testing.T, driver string) bool {
	t.Helper()
	dsn := os.Getenv(lockVictim)
	if dsn == "" {
		return false
	}
	if _, err := lockerOf(t, driver, dsn).LockRun(t.Context(), "pos"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
	return true
}

func TestPostgresLock(t *testing.T) {
	if holdsLock(t, "pgx") {
		return
	}
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.CreateDatabase(t, "other")
	exerciseLock(t, "pgx", server.DSN("shop"), server.DSN("other"), func() {
		server.Exec(t, "shop", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	})
}

func TestMySQLLock(t *testing.T) {
	if holdsLock(t, "mysql") {
		return
	}
	t.Parallel()
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "till")
	server.CreateDatabase(t, "other")
	exerciseLock(t, "mysql", server.DSN("till"), server.DSN("other"), func() {
		var id int64
		out := server.Exec(t, "SELECT IS_USED_LOCK('"+mysqlLockName("till", "pos")+"')")
		_, err := fmt.Sscan(out, &id)
		require.NoError(t, err)
		server.Exec(t, fmt.Sprintf("KILL %d", id))
	})
}

// busySource counts how many dump at once, over a lock that is real.
type busySource struct {
	lockedSource
	now, most *atomic.Int64
	wait      <-chan struct{}
}

func (s busySource) Dump(_ context.Context, w io.Writer) (Contents, error) {
	defer s.now.Add(-1)
	n := s.now.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	<-s.wait
	_, err := io.WriteString(w, "a dump")
	return Contents{Tables: []Table{{"t", 1}}}, err
}

func (s busySource) Describe() Description { return Description{Engine: "fake", Extension: ".bin"} }

func exerciseLock(t *testing.T, driver, dsn, other string, kill func()) {
	ctx := t.Context()
	// Six hosts, each with its own folder and pool, begin the same job.
	var now, most atomic.Int64
	open := make(chan struct{})
	var good, locked atomic.Int64
	var hosts sync.WaitGroup
	for range 6 {
		folder, err := NewFolder(filepath.Join(t.TempDir(), "backups"))
		require.NoError(t, err)
		j, err := New("pos", busySource{lockerOf(t, driver, dsn), &now, &most, open}, folder, &Options{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		hosts.Go(func() {
			switch _, err := j.Backup(ctx); {
			case err == nil:
				good.Add(1)
			case errors.Is(err, ErrLocked):
				if locked.Add(1) == 5 {
					close(open) // all others were turned away while this one dumps
				}
			default:
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	assert.EqualValues(t, []int64{1, 5, 1}, []int64{good.Load(), locked.Load(), most.Load()})

	// Another process holds it, and is killed.
	p := lockerOf(t, driver, dsn)
	victim := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), lockVictim+"="+dsn)
	_, err := victim.StdinPipe()
	require.NoError(t, err)
	out, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	assert.Equal(t, "locked\n", line, "%v", err)
	_, err = p.LockRun(ctx, "pos")
	assert.ErrorIs(t, err, ErrLocked)
	for _, free := range []struct {
		source RunLocker
		job    string
	}{{p, "another-job"}, {lockerOf(t, driver, other), "pos"}} {
		unlock, err := free.source.LockRun(ctx, free.job)
		if assert.NoError(t, err) {
			assert.NoError(t, unlock())
		}
	}
	assert.NoError(t, victim.Process.Kill())
	_ = victim.Wait()
	var unlock func() error
	require.Eventually(t, func() bool { unlock, err = p.LockRun(ctx, "pos"); return !errors.Is(err, ErrLocked) }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, err)

	// The session of a lock is ended: the lock is free, and its holder is told.
	kill()
	var second func() error
	require.Eventually(t, func() bool { second, err = p.LockRun(ctx, "pos"); return !errors.Is(err, ErrLocked) }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, err)
	assert.ErrorIs(t, unlock(), errLockLost)
	_, err = p.LockRun(ctx, "pos")
	assert.ErrorIs(t, err, ErrLocked, "the lost lock's holder gave the other one's away")
	assert.NoError(t, second())
}

// TestLockNeedsConnections: a pool that is too small is refused, not waited for.
func TestLockNeedsConnections(t *testing.T) {
	t.Parallel()
	p, err := NewPostgres(connect(t, "postgres://u@127.0.0.1:1/db"), "postgres://u@127.0.0.1:1/db", nil)
	require.NoError(t, err)
	p.db.SetMaxOpenConns(2)
	_, err = p.LockRun(t.Context(), "pos")
	assert.ErrorContains(t, err, "SetMaxOpenConns")
}
