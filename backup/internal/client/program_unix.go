//go:build unix

package client

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a program the leader of a new process group. The processes that it starts
// belong to the group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup sends a signal to the group, which may be empty.
func signalGroup(cmd *exec.Cmd, s syscall.Signal) error { return syscall.Kill(-cmd.Process.Pid, s) }
