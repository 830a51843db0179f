//go:build unix

package backup

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// private rejects a folder that other users can write to.
func private(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("backup: others may write to %s: chmod go-w it, or choose another folder", path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != uint32(os.Geteuid()) && stat.Uid != 0 {
		return fmt.Errorf("backup: %s belongs to another user: choose a folder of your own", path)
	}
	return nil
}

// freeBytes returns the free space that this user can use, -1 if it is unknown.
func freeBytes(path string) int64 {
	var stat syscall.Statfs_t
	if syscall.Statfs(path, &stat) != nil {
		return -1
	}
	return int64(stat.Bavail) * int64(stat.Bsize) //nolint:unconvert // the types of the fields differ between systems
}
