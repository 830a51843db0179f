package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startDeadline = 60 * time.Second // a slow disk and two busy cores
	stopDeadline  = 20 * time.Second
)

// Process is a running server. The zero value is not usable. The constructors of this package
// make processes. Methods are safe for concurrent use.
type Process struct {
	t       testing.TB
	name    string
	dir     string
	command func() *exec.Cmd                // a new command for each start
	ready   func(ctx context.Context) error // nil after the server responds
	stopBy  os.Signal                       // the signal for a clean stop

	mu       sync.Mutex
	cmd      *exec.Cmd
	ended    chan struct{}
	watchdog *watchdog
}

// newFolder makes a folder that every user may enter, because some servers refuse to run as
// root. Its path is short, because a socket's path has at most 107 bytes.
func newFolder(t testing.TB, kind string) string {
	t.Helper()
	return folderIn(t, "", kind)
}

// newDataFolder is newFolder for the data of a database server. In a test the folder is in memory
// if the system has room there, because a disk takes much of the time of creating and dropping
// databases. A set TMPDIR and a benchmark keep the usual place.
func newDataFolder(t testing.TB, kind string) string {
	t.Helper()
	if _, benchmark := t.(*testing.B); !benchmark && os.Getenv("TMPDIR") == "" {
		return folderIn(t, memoryFolder(), kind)
	}
	return folderIn(t, "", kind)
}

func folderIn(t testing.TB, parent, kind string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "mainstay-"+kind+"-")
	if err != nil {
		t.Fatalf("testserver: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// launch starts the process and waits until it responds. The error shows whether the process
// ended by itself, as it does when another process took its port.
func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("testserver: %s runs already", p.name)
	}
	logFile, err := os.OpenFile(filepath.Join(p.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("testserver: %w", err)
	}
	defer logFile.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("testserver: start %s: %w", p.name, err)
	}
	guard, err := guardProcess(cmd.Process.Pid, p.dir)
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return fmt.Errorf("testserver: guard %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // the status of a killed server does not matter
		close(ended)
	}()
	p.cmd, p.ended, p.watchdog = cmd, ended, guard

	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 15*time.Second) // a client program may be slow to start
		err := p.ready(attempt)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			p.forget()
			return errEnded{p.name, p.logTail()}
		case <-ctx.Done():
			p.signal(syscall.SIGKILL)
			<-ended
			p.forget()
			return fmt.Errorf("testserver: %s did not answer within %v: %w\n%s", p.name, startDeadline, err, p.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errEnded means that a server ended before it responded.
type errEnded struct{ name, log string }

func (e errEnded) Error() string { return "testserver: " + e.name + " ended at its start\n" + e.log }

// run starts p for its test and stops it at the end. It returns false if the server ended by
// itself, so that the caller can try another port.
func (p *Process) run() bool {
	p.t.Helper()
	err := p.launch()
	if ended := (errEnded{}); errors.As(err, &ended) {
		p.t.Log(err)
		return false
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("log of %s:\n%s", p.name, p.logTail())
		}
		p.Kill() // the data of a test server need not be saved
		releaseSegment(p.dir)
	})
	return true
}

// Stop ends the server cleanly and waits for it. It kills a server that does not end in time.
// It has no effect on a server that has ended.
func (p *Process) Stop() {
	p.end(p.stopBy)
}

// Kill ends the server and all of its children with SIGKILL.
func (p *Process) Kill() {
	p.end(syscall.SIGKILL)
}

func (p *Process) end(by os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	if by == syscall.SIGKILL {
		p.kill()
	} else {
		p.resume()
		p.cmd.Process.Signal(by)
	}
	select {
	case <-p.ended:
	case <-time.After(stopDeadline):
		p.kill()
		<-p.ended
	}
	p.forget()
}

// Restart starts a stopped or killed server again, on the same port and data. It stops a
// running server first.
func (p *Process) Restart() {
	p.t.Helper()
	p.Stop()
	err := p.launch()
	// Remains of the old server, or a connection from its port, may need a moment to end.
	for i := 0; errors.As(err, new(errEnded)) && i < 20; i++ {
		time.Sleep(250 * time.Millisecond)
		err = p.launch()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// PID returns the server's process id, or 0 while it is not running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *Process) forget() {
	p.watchdog.dismiss()
	p.cmd, p.watchdog = nil, nil
}

func (p *Process) logTail() string {
	data, err := os.ReadFile(filepath.Join(p.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return string(data)
}
