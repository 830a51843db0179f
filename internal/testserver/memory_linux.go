package testserver

import (
	"os"
	"syscall"
)

// memoryFolder returns the folder of Linux for shared memory if this process may write there and
// it has more than 4 GB of free space. Otherwise it returns "", the usual place. The default
// /dev/shm of a container has 64 MB.
func memoryFolder() string {
	const folder, tmpfs, enough = "/dev/shm", 0x01021994, 4 << 30
	var about syscall.Statfs_t
	if syscall.Statfs(folder, &about) != nil || int64(about.Type) != tmpfs { //nolint:unconvert // 32 bits elsewhere
		return ""
	}
	if about.Bavail*uint64(about.Bsize) < enough {
		return ""
	}
	probe, err := os.MkdirTemp(folder, "mainstay-")
	if err != nil {
		return ""
	}
	os.Remove(probe)
	return folder
}
