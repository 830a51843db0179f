//go:build !unix

package client

import (
	"os/exec"
	"syscall"
)

// ownGroup does nothing, because the system has no process groups. Only the program itself
// is ended.
func ownGroup(*exec.Cmd) {}

func signalGroup(cmd *exec.Cmd, _ syscall.Signal) error { return cmd.Process.Kill() }
