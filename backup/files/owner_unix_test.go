//go:build unix

package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOverwriteKeepsOwners restores over a folder that belongs to the account of a service.
func TestOverwriteKeepsOwners(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a file to another account")
	}
	root := filepath.Join(t.TempDir(), "shop")
	write(t, "a", root, "a.txt")
	write(t, "b", root, "in", "b.txt")
	write(t, "c", root, "in", "deep", "c.txt")
	require.NoError(t, os.Symlink("nowhere", filepath.Join(root, "in", "link")))
	for name, uid := range map[string]int{"": 1001, "a.txt": 1002, "in": 1003, "in/b.txt": 1004, "in/deep": 1005, "in/deep/c.txt": 1005, "in/link": 1006} {
		require.NoError(t, os.Lchown(filepath.Join(root, name), uid, uid+1))
	}
	source, err := New(root, nil)
	require.NoError(t, err)
	j, _ := jobOf(t, source)
	m := backupOnce(t, j)
	require.NoError(t, os.RemoveAll(filepath.Join(root, "in", "deep")))
	require.NoError(t, os.Remove(filepath.Join(root, "in", "b.txt")))
	report, err := j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.Empty(t, report.Contents.Warnings)
	for name, uid := range map[string]uint32{"": 1001, "a.txt": 1002, "in": 1003, "in/b.txt": 1003, "in/deep": 1003, "in/deep/c.txt": 1003, "in/link": 1006} {
		info, err := os.Lstat(filepath.Join(root, name))
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		require.Equal(t, [2]uint32{uid, uid + 1}, [2]uint32{stat.Uid, stat.Gid}, name)
	}
}
