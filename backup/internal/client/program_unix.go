//go:build unix

package client

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a program the first of a group of processes, to which all belong that
// it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup sends a signal to the group; nobody may be left in it.
func signalGroup(cmd *exec.Cmd, s syscall.Signal) error { return syscall.Kill(-cmd.Process.Pid, s) }
