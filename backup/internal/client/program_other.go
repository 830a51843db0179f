//go:build !unix

package client

import (
	"os/exec"
	"syscall"
)

// ownGroup does nothing where there are no groups: the program alone is ended.
func ownGroup(*exec.Cmd) {}

func signalGroup(cmd *exec.Cmd, _ syscall.Signal) error { return cmd.Process.Kill() }
