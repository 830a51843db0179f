package mysql_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestFullDisk: the disk of the server is full during a restore. The restore leaves nothing,
// names the cause, and does not accuse the backup. The original is what it was.
func TestFullDisk(t *testing.T) {
	testserver.NeedsLong(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=320m,mode=0777"); err != nil {
		t.Skipf("cannot mount a small disk, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", disk)
	server := testserver.MariaDB(t)
	t.Cleanup(server.Kill)
	t.Setenv("TMPDIR", "/tmp")
	load(t, server, "shop", strings.Replace(manyRows, "seq_1_to_25000", "seq_1_to_60000", 1))
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobAt(t, folder, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before, id := described(t, server, "shop", true), report.Manifest.ID
	var free syscall.Statfs_t
	require.NoError(t, syscall.Statfs(disk, &free))
	size := int64(free.Bavail)*int64(free.Bsize) - 8<<20 //nolint:unconvert // 32 bits elsewhere
	require.Positive(t, size)
	require.NoError(t, os.WriteFile(filepath.Join(disk, "filler"), make([]byte, size), 0o600))

	_, err = job.Restore(t.Context(), id, "copy", nil)
	require.ErrorContains(t, err, "restore the rows of the table many")
	require.ErrorContains(t, err, "full")
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.ErrorContains(t, err, "full")
	_, err = job.TestRestore(t.Context(), id)
	require.ErrorIs(t, err, driver.ErrUntested)
	require.NotErrorIs(t, err, backup.ErrVerification)
	assert.Empty(t, leftovers(t, server))
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	equal(t, before, described(t, server, "shop", true))

	require.NoError(t, os.Remove(filepath.Join(disk, "filler")))
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.NoError(t, err)
	equal(t, before, described(t, server, "shop", true))
}
