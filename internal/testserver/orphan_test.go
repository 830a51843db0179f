//go:build unix

package testserver

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNothingSurvives kills a test binary that runs servers, as a panic in
// another test or an impatient person does, and looks for what it left.
func TestNothingSurvives(t *testing.T) {
	if os.Getenv("MAINSTAY_TESTSERVER_VICTIM") != "" {
		redis, postgres := Redis(t), Postgres(t)
		backends := descendants(postgres.PID())
		redis.Pause()
		postgres.Pause() // a frozen child does not notice that its parent is gone
		for _, pid := range append(backends, redis.PID(), postgres.PID()) {
			os.Stdout.WriteString("server " + strconv.Itoa(pid) + "\n")
		}
		os.Stdout.WriteString("folder " + redis.dir + "\nfolder " + postgres.dir + "\nready\n")
		select {} // until the parent kills us
	}
	t.Parallel()
	first(t, "redis-server", "redis-server")
	first(t, "postgresql", "postgres")

	victim := exec.Command(os.Args[0], "-test.run=^TestNothingSurvives$", "-test.timeout=2m")
	victim.Env = append(os.Environ(), "MAINSTAY_TESTSERVER_VICTIM=1")
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	var folders []string
	lines := bufio.NewScanner(output)
	for lines.Scan() && lines.Text() != "ready" {
		if text, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		if folder, ok := strings.CutPrefix(lines.Text(), "folder "); ok {
			folders = append(folders, folder)
		}
	}
	if len(pids) < 3 || len(folders) != 2 {
		t.Fatalf("the victim named servers %v and folders %v", pids, folders)
	}
	victim.Process.Kill()
	victim.Wait()

	deadline := time.Now().Add(30 * time.Second)
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d outlived the test binary", pid)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	for _, folder := range folders {
		for {
			if _, err := os.Stat(folder); os.IsNotExist(err) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("folder %s outlived the test binary", folder)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// isZombie tells a dead process that nobody has waited for from a living one: in
// a container the first process may not reap orphans.
func isZombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(state, "Z")
}
