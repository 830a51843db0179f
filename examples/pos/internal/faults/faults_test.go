//go:build linux

package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// fleet is a set of replicas and servers that receives faults.
type fleet struct {
	t        *testing.T
	database *database
	redis    *redis
	replicas []*replica
	cuts     []*proxy // between the second replica and its servers
	disk     string   // a small disk for all servers, or ""
}

// fault is injected for about the duration d, and repaired when the function returns.
type fault struct {
	name   string
	inject func(f *fleet, d time.Duration)
}

var faults = []fault{
	{"none", func(_ *fleet, d time.Duration) { time.Sleep(d) }},
	{"kill", func(f *fleet, d time.Duration) {
		f.replicas[1].kill()
		time.Sleep(d / 4)
		f.replicas[1].restart()
		master := f.redis.master()
		master.Kill()
		time.Sleep(d / 4)
		master.Restart()
		f.database.Kill()
		time.Sleep(d / 8)
		f.database.Restart()
	}},
	{"pause", func(f *fleet, d time.Duration) {
		f.replicas[1].pause()
		time.Sleep(d / 3)
		f.replicas[1].continues()
		master := f.redis.master()
		master.Pause()
		time.Sleep(d / 3)
		master.Continue()
		f.database.Pause()
		time.Sleep(d / 6)
		f.database.Continue()
	}},
	{"partition", func(f *fleet, d time.Duration) {
		for _, cut := range f.cuts {
			cut.cut(true)
			time.Sleep(d / 2)
			cut.cut(false)
		}
	}},
	{"snapshot", func(f *fleet, d time.Duration) {
		for _, r := range f.redis.all {
			r.Do("SAVE")
		}
		time.Sleep(d / 2)
		for _, r := range f.redis.all {
			r.Kill()
		}
		for _, r := range f.redis.all {
			r.Restart()
		}
		time.Sleep(d / 2)
	}},
	{"disk", func(f *fleet, d time.Duration) {
		ballast := filepath.Join(f.disk, "ballast")
		file, err := os.Create(ballast)
		if err != nil {
			f.t.Error(err)
			return
		}
		chunk := make([]byte, 64<<10)
		for end := time.Now().Add(d); time.Now().Before(end); {
			if _, err := file.Write(chunk); err != nil { // full: freed space is used at once
				time.Sleep(20 * time.Millisecond)
			}
		}
		_ = file.Close()
		_ = os.Remove(ballast)
		time.Sleep(2 * time.Second)
		if conn, err := net.DialTimeout("tcp", f.database.addr, 5*time.Second); err == nil {
			_ = conn.Close()
		} else { // PostgreSQL exits when it cannot write its log
			f.database.Restart()
		}
	}},
	{"clock", func(f *fleet, d time.Duration) {
		time.Sleep(d / 2)
		f.replicas[2].kill() // its start must not remove the files of another process
		f.replicas[2].restart()
		res, err := f.replicas[2].client.Get("http://" + f.replicas[2].addr + "/ready/")
		if err != nil {
			f.t.Error(err)
			return
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			f.t.Errorf("a replica whose clock is 25 h ahead is ready: %d", res.StatusCode)
		}
		time.Sleep(d / 2)
	}},
}

// TestFaults runs each fault on each engine with each kind of Redis.
func TestFaults(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("POS_FAULTS"))
	all := err == nil
	if !all {
		testserver.NeedsLong(t)
		long = 5 * time.Second
	}
	for _, engine := range []string{"mariadb", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			if !all {
				t.Parallel()
			}
			for _, kind := range []string{"alone", "sentinel", "cluster"} {
				t.Run(kind, func(t *testing.T) {
					for _, fault := range faults {
						short := engine == "mariadb" && kind == "alone" && fault.name == "partition" ||
							engine == "postgres" && kind == "alone" && fault.name == "kill"
						if !all && !short {
							continue
						}
						t.Run(fault.name, func(t *testing.T) {
							runFault(t, engine, kind, fault, long)
						})
					}
				})
			}
		})
	}
}

func runFault(t *testing.T, engine, kind string, fault fault, long time.Duration) {
	f := &fleet{t: t}
	if fault.name == "disk" {
		f.disk = smallDisk(t)
		t.Setenv("TMPDIR", f.disk) // every folder of the servers is on that disk
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	third := program
	if fault.name == "clock" {
		third = fastClock(t)
	}
	f.database, f.redis = openDatabase(t, engine), openRedis(t, kind)
	common := []string{"--redis", f.redis.url, "--backup-at=off", "--timezone=UTC", "--day-start", fmt.Sprintf("%02d:00", (time.Now().UTC().Hour()+23)%24)}
	with := func(extra ...string) []string { return append(append([]string{}, common...), extra...) }
	toDatabase := newProxy(t, f.database.addr)
	f.cuts = []*proxy{toDatabase}
	second := with("--database", f.database.at(toDatabase.addr()))
	if f.redis.alone != "" {
		toRedis := newProxy(t, f.redis.alone)
		f.cuts = append(f.cuts, toRedis)
		second = append(second, "--redis", "redis://"+toRedis.addr()+"/0")
	}
	f.replicas = []*replica{
		startReplica(t, program, with("--database", f.database.url)...),
		startReplica(t, program, second...),
		startReplica(t, third, with("--database", f.database.url)...),
	}
	l := newLoad(t, f)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		l.run(stop)
		close(done)
	}()
	time.Sleep(long / 5)
	before := l.sales()
	fault.inject(f, long/2)
	during := l.sales() - before
	after := time.Now()
	time.Sleep(long / 4)
	for l.sales() < before+during+20 && time.Since(after) < time.Minute { // until the shop sells again
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	<-done
	l.audit(f)
	t.Logf("FAULTS | %s | %s | %s | %d sales (%d during the fault) | %d reads | %d retries | %d x 503 | oldest balance %s, stock %s | %d ended sessions shown %d times | %s",
		engine, kind, fault.name, l.sales(), during, l.reads.Load(), l.retries.Load(), l.refused.Load(),
		time.Duration(l.oldest[balance].Load()).Round(time.Millisecond), time.Duration(l.oldest[stock].Load()).Round(time.Millisecond),
		len(l.ended), l.checks.Load(), l.verdict())
}

// smallDisk mounts a disk of a few hundred MB, which needs root.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pos-disk-") //nolint:usetesting // PostgreSQL runs as another user, who must have access
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=400m"); err != nil {
		t.Skip("a full disk needs the right to mount one: ", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

// number reads a number from the database.
func (f *fleet) number(query string) int64 {
	f.t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(f.database.exec(query)), 10, 64)
	if err != nil {
		f.t.Errorf("%s: %v", query, err)
	}
	return n
}
