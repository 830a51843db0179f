//go:build linux || darwin

package hostcheck

import "golang.org/x/sys/unix"

func isReadOnly(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, err
	}
	return st.Flags&readOnlyFlag != 0, nil
}
