//go:build !unix

package testserver

import "syscall"

// The servers of this package run on Unix. Elsewhere Lookup does not find them
// and the tests skip; these methods only let them compile.

// Pause does nothing here.
func (p *Process) Pause() {}

// Continue does nothing here.
func (p *Process) Continue() {}

func (p *Process) resume() {}

func (p *Process) signal(syscall.Signal) { p.cmd.Process.Kill() }

func (p *Process) kill() { p.cmd.Process.Kill() }

type watchdog struct{}

func guardProcess(int, string) (*watchdog, error) { return &watchdog{}, nil }

func (*watchdog) dismiss() {}

func releaseSegment(string) {}
