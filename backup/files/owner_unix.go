//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// giveTo gives a new folder the owner of another one. Only root may do that for other users.
func giveTo(root *os.Root, name string, like fs.FileInfo) error {
	stat, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	err := root.Lchown(name, int(stat.Uid), int(stat.Gid))
	if errors.Is(err, fs.ErrPermission) && int(stat.Uid) == os.Geteuid() {
		return nil // a group that this user does not belong to
	}
	return err
}
