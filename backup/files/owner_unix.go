//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// giveTo gives an entry the owner of another one. Only root may do that for other users.
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

// sameOwner reports whether two entries have the same owner and group.
func sameOwner(a, b fs.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, also := b.Sys().(*syscall.Stat_t)
	return !ok || !also || x.Uid == y.Uid && x.Gid == y.Gid
}
