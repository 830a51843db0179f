//go:build !unix

package testserver

import "syscall"

// The servers of this package run on Unix. On other systems Lookup does not find them and the
// tests skip. The methods of this file are only for the compiler.

// Pause has no effect on this system.
func (p *Process) Pause() {}

// Continue has no effect on this system.
func (p *Process) Continue() {}

func (p *Process) resume() {}

func (p *Process) signal(syscall.Signal) { p.cmd.Process.Kill() }

func (p *Process) kill() { p.cmd.Process.Kill() }

type watchdog struct{}

func guardProcess(int, string) (*watchdog, error) { return &watchdog{}, nil }

func (*watchdog) dismiss() {}

func releaseSegment(string) {}
