//go:build unix

package killing

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
)

const folderVariable = "MAINSTAY_KILL_FOLDER"

// jobOf returns a job whose retention deletes old backups.
func jobOf(t testing.TB, source driver.Source, folder string) *backup.Job {
	t.Helper()
	storage, err := backup.NewFolder(folder)
	require.NoError(t, err)
	job, err := backup.New("pos", source, storage, &backup.Options{
		Logger: slog.New(slog.DiscardHandler), Retention: backup.Policy{Last: 4, MinKeep: 3, Force: true}, RestoreTest: backup.RestoreTestOptions{Every: 1},
	})
	require.NoError(t, err)
	return job
}

// Victim takes backups without end and returns false if this is not the process of [Backups].
func Victim(t testing.TB, open func() driver.Source) bool {
	t.Helper()
	folder := os.Getenv(folderVariable)
	if folder == "" {
		return false
	}
	job := jobOf(t, open(), folder)
	Running()
	for {
		// The lock of the process before may outlive it for a moment.
		if _, err := job.Backup(t.Context()); err != nil && !errors.Is(err, backup.ErrLocked) {
			t.Fatal(err)
		}
	}
}

// Backups kills a process that takes backups, restores them into test databases and deletes
// old ones, without pause. The process is the test that called Backups, which must call
// [Victim] first. After each kill every backup that is listed can be restored to what its
// manifest says, and none is gone that retention keeps.
func Backups(t testing.TB, source driver.Source, kills int, environment ...string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobOf(t, source, folder)
	began := time.Now()
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	rows := report.Manifest.RowsTotal
	aim := Aim{time.Since(began)}
	restored, partial := map[string]bool{}, 0
	var before []backup.Entry
	environment = append(environment, folderVariable+"="+folder, "TMPDIR="+t.TempDir())
	for range kills {
		After(t, Again(t, t.Name(), environment...), aim.Moment())
		entries, err := job.List(t.Context())
		require.NoError(t, err)
		listed, newer := map[string]bool{}, 0
		for _, e := range entries {
			listed[e.ID] = true
			require.Equal(t, backup.Good, e.State, "%s: %s", e.ID, e.Problem)
			if len(before) == 0 || e.Time().After(before[0].Time()) {
				newer++
			}
			if restored[e.ID] {
				continue
			}
			v, err := job.TestRestore(t.Context(), e.ID)
			require.NoError(t, err)
			require.Equal(t, rows, v.RestoreTest.Rows)
			restored[e.ID] = true
		}
		aim.Learn(newer > 0)
		for i, e := range before {
			require.True(t, listed[e.ID] || newer+i >= 4, "%s is gone, and %d are newer", e.ID, newer+i)
		}
		before = entries
		left, err := filepath.Glob(filepath.Join(folder, ".tmp-*"))
		require.NoError(t, err)
		partial += min(len(left), 1)
		for _, path := range left {
			require.NoError(t, os.Remove(path))
		}
	}
	t.Logf("%d kills: %d backups, all restored; %d kills left a partial file", kills, len(restored), partial)
	assert.Greater(t, len(restored), kills/20)
	require.Eventually(t, func() bool { _, err = job.Backup(t.Context()); return !errors.Is(err, backup.ErrLocked) }, time.Minute, 20*time.Millisecond)
	require.NoError(t, err)
}
