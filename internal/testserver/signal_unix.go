//go:build unix

package testserver

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Pause stops the server and its children (SIGSTOP). Connections stay open without a response,
// like on a machine that hangs.
func (p *Process) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGSTOP)
	// The signal is sent, but threads on other processors run until they receive it.
	pid := p.cmd.Process.Pid
	await(append(descendants(pid), pid), stopped+gone)
}

// kill ends the server and its children, and returns when the children have ended. Before that,
// a new PostgreSQL would find its shared memory in use.
func (p *Process) kill() {
	pid := p.cmd.Process.Pid
	syscall.Kill(pid, syscall.SIGSTOP) // a stopped process starts no further children
	await([]int{pid}, stopped+gone)
	children := descendants(pid)
	p.signal(syscall.SIGKILL)
	await(children, gone)
}

// The states of threads in /proc.
const (
	stopped = "Tt"
	gone    = "ZX"
)

// await returns when all threads of the processes are in one of the states or have ended,
// according to /proc. It also returns after a time limit.
func await(pids []int, states string) {
	for deadline := time.Now().Add(stopDeadline); others(pids, states) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// others reports whether a thread is in another state.
func others(pids []int, states string) bool {
	for _, pid := range pids {
		stats, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*/stat")
		for _, path := range stats {
			data, err := os.ReadFile(path)
			if err != nil {
				continue // the process has just ended
			}
			// "thread (command) state …"
			state := strings.TrimSpace(string(data[strings.LastIndexByte(string(data), ')')+1:]))
			if state != "" && !strings.Contains(states, state[:1]) {
				return true
			}
		}
	}
	return false
}

// Continue ends a Pause (SIGCONT).
func (p *Process) Continue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.resume()
	}
}

func (p *Process) resume() { p.signal(syscall.SIGCONT) }

// signal sends to the server first and then to its children, because a server would start new
// children for those that end.
func (p *Process) signal(sig syscall.Signal) {
	pid := p.cmd.Process.Pid
	children := descendants(pid)
	syscall.Kill(pid, sig)
	for _, child := range children {
		syscall.Kill(child, sig)
	}
}

// descendants lists the processes below pid, according to /proc. A process group does not
// contain them, because PostgreSQL's children have separate sessions.
func descendants(pid int) []int {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the process has just ended
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		// "pid (command) state parent …", and a command may contain anything.
		_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], id)
		}
	}
	var found []int
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		found = append(found, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

// watchdog kills a server when this process has ended.
type watchdog struct {
	cmd   *exec.Cmd
	leash io.Closer
}

// guardProcess starts a shell that reads its standard input until it closes, and then kills pid
// and removes dir. The kernel closes the pipe when this process ends for any reason. The shell
// ignores the signals of a terminal, which it also receives.
//
// PostgreSQL's children end by themselves when their parent has ended, except while they are
// paused. PostgreSQL's segment of shared memory stays.
func guardProcess(pid int, dir string) (*watchdog, error) {
	const script = `trap '' INT TERM HUP QUIT
read -r _
children=$(cat "/proc/$0/task/$0/children" 2>/dev/null)
kill -9 "$0" 2>/dev/null || exit
kill -9 $children 2>/dev/null
segment=$(sed -n '7s/.* //p' "$1/data/postmaster.pid" 2>/dev/null)
[ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
rm -rf "$1"`
	cmd := exec.Command("/bin/sh", "-c", script, strconv.Itoa(pid), dir)
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("shell: %w", err)
	}
	return &watchdog{cmd, leash}, nil
}

// dismiss ends the watchdog before another process can get the server's process id.
func (w *watchdog) dismiss() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
	w.leash.Close()
}

// releaseSegment removes the segment of shared memory that a killed PostgreSQL leaves behind,
// because the kernel keeps only some thousands. The seventh line of postmaster.pid has its key
// and its number.
func releaseSegment(dir string) {
	pid, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return // not PostgreSQL, or one that removed its segment
	}
	if lines := strings.Split(string(pid), "\n"); len(lines) > 6 {
		if key := strings.Fields(lines[6]); len(key) == 2 {
			exec.Command("ipcrm", "-m", key[1]).Run() // an error means that the segment is already removed
		}
	}
}
