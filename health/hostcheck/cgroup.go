package hostcheck

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// groups are the control groups of this process. Each controller has a list of folders,
// from the group of the process up to the root of the mount.
type groups struct {
	v2                  bool
	memoryDirs, cpuDirs []string
	cpuacctDirs         []string // version 1 counts time in another tree
}

// groups finds the control groups. An empty result means no limit.
func (h host) groups() groups {
	mounts := h.mounts()
	own := h.memberships()
	var g groups
	// A hybrid system has both. The controllers are in version 1.
	if rel, ok := own["memory"]; ok {
		g.memoryDirs = h.dirs(mounts["memory"], rel)
	}
	if rel, ok := own["cpu"]; ok {
		g.cpuDirs = h.dirs(mounts["cpu"], rel)
		g.cpuacctDirs = h.dirs(mounts["cpuacct"], own["cpuacct"])
	}
	if len(g.memoryDirs) > 0 || len(g.cpuDirs) > 0 {
		return g
	}
	if rel, ok := own[""]; ok {
		g.v2 = true
		g.memoryDirs = h.dirs(mounts[""], rel)
		g.cpuDirs = g.memoryDirs
	}
	return g
}

// mount is where a controller's tree is mounted, and which part of it.
type mount struct{ root, point string }

// mounts reads /proc/self/mountinfo. Version 2 has the name "".
func (h host) mounts() map[string]mount {
	found := map[string]mount{}
	h.eachLine("proc/self/mountinfo", func(line string) {
		// 36 35 98:0 /root /mount/point rw,noatime master:1 - cgroup none rw,memory
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			return
		}
		m := mount{root: unescape(left[3]), point: unescape(left[4])}
		switch right[0] {
		case "cgroup2":
			if _, dup := found[""]; !dup {
				found[""] = m
			}
		case "cgroup":
			for _, controller := range strings.Split(right[2], ",") {
				if _, dup := found[controller]; !dup {
					found[controller] = m
				}
			}
		}
	})
	return found
}

// unescape decodes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// memberships reads /proc/self/cgroup into a map from controller to group. Version 2
// has the name "".
func (h host) memberships() map[string]string {
	own := map[string]string{}
	h.eachLine("proc/self/cgroup", func(line string) {
		// 4:memory:/a/b and 0::/a/b
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			return
		}
		for _, controller := range strings.Split(parts[1], ",") {
			own[controller] = parts[2]
		}
	})
	return own
}

func (h host) eachLine(name string, f func(line string)) {
	file, err := os.Open(filepath.Join(h.root, name))
	if err != nil {
		return // not Linux: no control groups
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f(lines.Text())
	}
}

// dirs returns the folders of a group and its parents, starting with the group itself.
// In a container the mount often shows only the part of the tree under m.root.
func (h host) dirs(m mount, rel string) []string {
	if m.point == "" {
		return nil
	}
	inside := path.Clean("/" + rel)
	if m.root != "/" {
		cut, ok := strings.CutPrefix(inside, m.root)
		if ok && (cut == "" || cut[0] == '/') {
			inside = path.Clean("/" + cut)
		}
	}
	top := filepath.Join(h.root, m.point)
	if _, err := os.Stat(filepath.Join(top, inside)); err != nil {
		inside = "/" // the group is outside of the mounted part
	}
	var all []string
	for {
		all = append(all, filepath.Join(top, inside))
		if inside == "/" {
			return all
		}
		inside = path.Dir(inside)
	}
}

// memory returns the memory usage of the group with this limit, and how many of its
// processes were killed. If a parent has the limit, its other children count too.
func (g groups) memory(limit uint64) (used, kills uint64, ok bool) {
	for _, dir := range g.memoryDirs {
		limitFile, usageFile, total := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
		if g.v2 {
			limitFile, usageFile, total = "memory.max", "memory.current", ""
		}
		if own, err := readUint(dir, limitFile); err != nil || own != limit {
			continue
		}
		usage, err := readUint(dir, usageFile)
		if err != nil {
			return 0, 0, false
		}
		// The kernel reclaims page cache before it kills a process, even if the cache
		// is in use. Files in memory (tmpfs) are in neither list.
		cache := readKey(dir, "memory.stat", total+"inactive_file") + readKey(dir, "memory.stat", total+"active_file")
		if g.v2 {
			cache += readKey(dir, "memory.stat", "slab_reclaimable")
			kills = readKey(dir, "memory.events", "oom_kill")
		} else {
			kills = readKey(dir, "memory.oom_control", "oom_kill")
		}
		return usage - min(usage, cache), kills, true
	}
	return 0, 0, false
}

// quota is a processor limit and its usage.
type quota struct {
	cores              float64
	usage              time.Duration
	periods, throttled uint64
}

// cpu returns the tightest quota of the group and its parents.
func (g groups) cpu() (quota, bool) {
	tightest, level := math.Inf(1), -1
	for i, dir := range g.cpuDirs {
		if cores, ok := g.cores(dir); ok && cores < tightest {
			tightest, level = cores, i
		}
	}
	if level < 0 {
		return quota{}, false
	}
	q := quota{cores: tightest}
	dir := g.cpuDirs[level]
	q.periods = readKey(dir, "cpu.stat", "nr_periods")
	q.throttled = readKey(dir, "cpu.stat", "nr_throttled")
	if g.v2 {
		q.usage = time.Duration(readKey(dir, "cpu.stat", "usage_usec")) * time.Microsecond
		return q, true
	}
	// The two trees of version 1 usually have the same groups. If they differ, the
	// group of the process is counted instead of the limited parent.
	i := level - len(g.cpuDirs) + len(g.cpuacctDirs)
	if i < 0 || i >= len(g.cpuacctDirs) {
		return quota{}, false
	}
	nanos, err := readUint(g.cpuacctDirs[i], "cpuacct.usage")
	q.usage = time.Duration(nanos)
	return q, err == nil
}

// cores reads the quota of one group.
func (g groups) cores(dir string) (float64, bool) {
	var quota, period float64
	if g.v2 {
		text, err := readText(dir, "cpu.max") // "max 100000" or "50000 100000"
		if err != nil {
			return 0, false
		}
		if n, err := fmt.Sscan(text, &quota, &period); err != nil || n != 2 {
			return 0, false
		}
	} else {
		q, err1 := readText(dir, "cpu.cfs_quota_us") // -1 = none
		p, err2 := readText(dir, "cpu.cfs_period_us")
		if err := errors.Join(err1, err2); err != nil {
			return 0, false
		}
		if n, err := fmt.Sscan(q+" "+p, &quota, &period); err != nil || n != 2 {
			return 0, false
		}
	}
	if quota <= 0 || period <= 0 {
		return 0, false
	}
	return quota / period, true
}

// pressure is the share of the last minute in which a task of the own group waited. It
// is -1 if the kernel does not report it. The pressure of the host includes other
// services, so it counts only for a process without a limit.
func (h host) pressure(g groups, resource string, limited bool) float64 {
	var files []string
	if g.v2 && len(g.memoryDirs) > 0 {
		files = append(files, filepath.Join(g.memoryDirs[0], resource+".pressure"))
	}
	if !limited {
		files = append(files, filepath.Join(h.root, "proc/pressure", resource))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// some avg10=0.00 avg60=1.50 avg300=0.00 total=0
		var avg10, avg60 float64
		if _, err := fmt.Sscanf(string(text), "some avg10=%f avg60=%f", &avg10, &avg60); err == nil {
			return avg60
		}
	}
	return -1
}

func readText(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b)), err
}

func readUint(dir, name string) (uint64, error) {
	text, err := readText(dir, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}

// readKey reads one number from a file of "key value" lines. It is 0 if the key is
// missing.
func readKey(dir, name, key string) uint64 {
	text, err := readText(dir, name)
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
