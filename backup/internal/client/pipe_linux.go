package client

import (
	"io"
	"syscall"
)

// widen lets a program write a megabyte before it has to wait for us. Where it cannot,
// the pipe stays as it is.
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
