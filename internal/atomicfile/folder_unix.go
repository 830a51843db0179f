//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// noFollow refuses a link that an attacker created under the new file's name.
const noFollow = syscall.O_NOFOLLOW

func rename(from, to string) error { return os.Rename(from, to) }

// SyncFolder makes the folder's entries survive a crash of the machine. It has no effect on
// file systems that cannot sync a folder, and on Windows.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
