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
