package files

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps the names of two folders.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // the file system does not support it
		return exchangeByTwo(a, b)
	}
	return err
}

// mountPoint reports whether a file system is mounted on a folder, also one that is part of the
// file system of its parent folder.
func mountPoint(dir string) bool {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &s); err != nil {
		return false // Overwrite reports it
	}
	return s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
