package files

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
)

// TestOverwriteOfAMountPoint: a volume of a container cannot exchange its name with another
// folder. The restore says so before its safety backup, and one into a new folder works.
func TestOverwriteOfAMountPoint(t *testing.T) {
	t.Parallel()
	dir, volume := t.TempDir(), t.TempDir()
	root := filepath.Join(dir, "uploads")
	require.NoError(t, os.Mkdir(root, 0o700))
	if err := syscall.Mount(volume, root, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("cannot mount a folder, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	require.NoError(t, os.WriteFile(filepath.Join(root, "a.txt"), []byte("a"), 0o600))
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	require.NoError(t, err)
	source, err := New(root, nil)
	require.NoError(t, err)
	job, err := backup.New("uploads", source, folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	_, err = job.RestoreOver(t.Context(), report.ID, "uploads", nil)
	require.ErrorContains(t, err, root+" is a mount point")
	entries, err := job.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 1)
	_, err = job.Restore(t.Context(), report.ID, filepath.Join(root, "restored"), nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "restored", "a.txt"))
}
