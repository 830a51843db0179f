package postgres_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestFullDisk: the disk of the server is full during a restore. The restore names the cause and
// what it could not remove, and does not accuse the backup. The original is what it was.
func TestFullDisk(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	disk := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(disk), 0o755))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m,mode=0777"); err != nil {
		t.Skipf("cannot mount a small disk, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	server := testserver.Postgres(t)
	t.Cleanup(server.Kill)
	space := filepath.Join(disk, "space")
	require.NoError(t, os.Mkdir(space, 0o700))
	server.Own(t, space)
	server.Exec(t, "", "CREATE TABLESPACE small LOCATION '"+space+"'")
	server.Exec(t, "", "CREATE DATABASE shop TABLESPACE small")
	server.Exec(t, "", "CREATE DATABASE prepared TABLESPACE small")
	server.Exec(t, "shop", manyRows)
	filler := filepath.Join(disk, "filler") // what it leaves is too little for the rows
	var free syscall.Statfs_t
	require.NoError(t, syscall.Statfs(disk, &free))
	size := int64(free.Bavail)*int64(free.Bsize) - 12<<20 //nolint:unconvert // 32 bits elsewhere
	require.Positive(t, size)
	require.NoError(t, os.WriteFile(filler, make([]byte, size), 0o600))
	job := jobIn(t, filepath.Join(t.TempDir(), "backups"), source(t, server.DSN("shop"), nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	before, id := script(t, server.DSN("shop")), report.Manifest.ID
	_, err = job.Restore(t.Context(), id, "prepared", nil)
	require.ErrorContains(t, err, "No space left on device")
	assert.Equal(t, "0\n", server.Exec(t, "prepared", "SELECT count(*) FROM pg_class WHERE relname = 'many'"))
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.ErrorContains(t, err, "No space left on device")
	equal(t, before, script(t, server.DSN("shop")))
	// The server may be unable to drop a database while its disk is full.
	_, wrong := job.Check(t.Context(), time.Hour)
	for _, left := range leftovers(t, server) {
		require.ErrorIs(t, err, driver.ErrLeft)
		require.ErrorContains(t, wrong, left)
	}
	require.NoError(t, os.Remove(filler))
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.NoError(t, err)
	equal(t, before, script(t, server.DSN("shop")))
	assert.Empty(t, leftovers(t, server))
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)

	// A restore test, too, says that it could not be made, and names what it could not drop.
	server.Exec(t, "", "ALTER DATABASE template0 SET TABLESPACE small") // databases of tests lie there
	require.NoError(t, syscall.Statfs(disk, &free))
	size = int64(free.Bavail)*int64(free.Bsize) - 11<<20 //nolint:unconvert // 32 bits elsewhere
	require.NoError(t, os.WriteFile(filler, make([]byte, size), 0o600))
	_, err = job.TestRestore(t.Context(), id)
	require.ErrorContains(t, err, "No space left on device")
	require.NotErrorIs(t, err, backup.ErrVerification)
	for _, left := range leftovers(t, server) {
		require.ErrorContains(t, err, left)
	}
	_, err = job.Check(t.Context(), time.Hour)
	require.NoError(t, err)
}
