//go:build linux || darwin

package hostcheck

import (
	"os"

	"golang.org/x/sys/unix"
)

// openFiles counts the descriptors of this process, without the one used for counting.
func openFiles() (FilesUsage, error) {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return FilesUsage{}, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return FilesUsage{}, err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return FilesUsage{}, err
	}
	u := FilesUsage{Open: uint64(len(names) - 1)}
	if limit.Cur < unlimited {
		u.Limit = limit.Cur
	}
	return u, nil
}

// unlimited is the smallest value that means "no limit" on both systems.
const unlimited = 1<<63 - 1
