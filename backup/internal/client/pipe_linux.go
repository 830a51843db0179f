package client

import (
	"io"
	"syscall"
)

// widen enlarges the pipe to one megabyte, so that the program waits less often. If that
// fails, the pipe keeps its size.
func widen(pipe io.Reader) {
	const setPipeSize = 1031 // F_SETPIPE_SZ
	file, ok := pipe.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, 1<<20)
		})
	}
}
