package hostcheck

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tree writes files under a new root, and returns the probe of that root.
func tree(t *testing.T, limit uint64, files map[string]string) host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	}
	return host{root: root, memoryLimit: func() (uint64, error) { return limit, nil }}
}

const (
	mib     = 1 << 20
	v2Mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
	v1Mount = `31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
33 23 0:29 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct`
)

func TestVersion2LimitOfAParent(t *testing.T) {
	h := tree(t, 256*mib, map[string]string{
		"proc/self/mountinfo":                    v2Mount,
		"proc/self/cgroup":                       "0::/pod/app",
		"sys/fs/cgroup/pod/memory.max":           "268435456",
		"sys/fs/cgroup/pod/memory.current":       "209715200",
		"sys/fs/cgroup/pod/memory.stat":          "anon 1\ninactive_file 104857600\nactive_file 31457280\nslab_reclaimable 1048576",
		"sys/fs/cgroup/pod/memory.events":        "low 0\nhigh 0\nmax 17\noom 9\noom_kill 3",
		"sys/fs/cgroup/pod/app/memory.max":       "max",
		"sys/fs/cgroup/pod/app/memory.current":   "1",
		"sys/fs/cgroup/pod/app/memory.pressure":  "some avg10=0.00 avg60=12.50 avg300=0.00 total=0\nfull avg10=0.00 avg60=3.00 avg300=0.00 total=0",
		"sys/fs/cgroup/pod/app/cpu.pressure":     "some avg10=0.00 avg60=7.25 avg300=0.00 total=0",
		"sys/fs/cgroup/pod/cpu.max":              "150000 100000",
		"sys/fs/cgroup/pod/cpu.stat":             "usage_usec 2500000\nuser_usec 1\nnr_periods 100\nnr_throttled 31",
		"sys/fs/cgroup/pod/app/cpu.max":          "max 100000",
		"sys/fs/cgroup/pod/app/cpu.stat":         "usage_usec 1",
		"proc/pressure/memory":                   "some avg10=0.00 avg60=99.00 avg300=0.00 total=0",
		"sys/fs/cgroup/system.slice/memory.max":  "1",
		"sys/fs/cgroup/system.slice/cpu.max":     "1 100000",
		"sys/fs/cgroup/pod/app/inner/memory.max": "1",
	})
	m, err := h.Memory(t.Context())
	require.NoError(t, err)
	require.True(t, m.Limited)
	require.EqualValues(t, 256*mib, m.Total)
	require.EqualValues(t, 69*mib, m.Used, "without page cache, of the group that has the limit")
	require.EqualValues(t, 3, m.Kills)
	require.InDelta(t, 12.5, m.Pressure, 0, "the own group's, not the host's")

	c, err := h.CPU(t.Context())
	require.NoError(t, err)
	require.True(t, c.Limited)
	require.InDelta(t, 1.5, c.Cores, 0)
	require.Equal(t, 2500*time.Millisecond, c.Busy)
	require.EqualValues(t, 100, c.Periods)
	require.EqualValues(t, 31, c.Throttled)
	require.InDelta(t, 7.25, c.Pressure, 0)
}

func TestVersion1LimitOfAParent(t *testing.T) {
	h := tree(t, 256*mib, map[string]string{
		"proc/self/mountinfo":                                v1Mount,
		"proc/self/cgroup":                                   "4:memory:/pod/app\n2:cpuacct:/pod/app\n1:cpu:/pod/app\n0::/",
		"sys/fs/cgroup/memory/pod/memory.limit_in_bytes":     "268435456",
		"sys/fs/cgroup/memory/pod/memory.usage_in_bytes":     "209715200",
		"sys/fs/cgroup/memory/pod/memory.stat":               "cache 1\ntotal_inactive_file 104857600",
		"sys/fs/cgroup/memory/pod/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
		"proc/pressure/memory":                               "some avg10=0.00 avg60=44.00 avg300=0.00 total=0",
		"sys/fs/cgroup/memory/pod/app/memory.limit_in_bytes": "9223372036854771712",
		"sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us":             "50000",
		"sys/fs/cgroup/cpu/pod/cpu.cfs_period_us":            "100000",
		"sys/fs/cgroup/cpu/pod/cpu.stat":                     "nr_periods 40\nnr_throttled 4\nthrottled_time 1",
		"sys/fs/cgroup/cpu/pod/app/cpu.cfs_quota_us":         "-1",
		"sys/fs/cgroup/cpu/pod/app/cpu.cfs_period_us":        "100000",
		"sys/fs/cgroup/cpuacct/pod/cpuacct.usage":            "3000000000",
		"sys/fs/cgroup/cpuacct/pod/app/cpuacct.usage":        "1",
		"proc/pressure/cpu":                                  "some avg10=0.00 avg60=3.00 avg300=0.00 total=0",
	})
	m, err := h.Memory(t.Context())
	require.NoError(t, err)
	require.True(t, m.Limited)
	require.EqualValues(t, 100*mib, m.Used)
	require.EqualValues(t, 3, m.Kills)
	require.InDelta(t, -1, m.Pressure, 0, "that of the host is the work of others")

	c, err := h.CPU(t.Context())
	require.NoError(t, err)
	require.True(t, c.Limited)
	require.InDelta(t, 0.5, c.Cores, 0)
	require.Equal(t, 3*time.Second, c.Busy)
	require.EqualValues(t, 40, c.Periods)
	require.InDelta(t, -1, c.Pressure, 0)
}

// In a container without a namespace of its own the mount shows only the
// container's part of the tree, under another name.
func TestMountOfAPartOfTheTree(t *testing.T) {
	h := tree(t, 64*mib, map[string]string{
		"proc/self/mountinfo":              `30 23 0:26 /docker/ab\040cd /sys/fs/cgroup ro - cgroup2 cgroup2 rw`,
		"proc/self/cgroup":                 "0::/docker/ab cd",
		"sys/fs/cgroup/memory.max":         "67108864",
		"sys/fs/cgroup/memory.current":     "33554432",
		"sys/fs/cgroup/memory.stat":        "inactive_file 0",
		"sys/fs/cgroup/docker/memory.max":  "1",
		"sys/fs/cgroup/docker/memory.stat": "x",
	})
	m, err := h.Memory(t.Context())
	require.NoError(t, err)
	require.True(t, m.Limited)
	require.EqualValues(t, 32*mib, m.Used)
}

func TestNoOrBrokenGroupsMeanTheHost(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing": {},
		"garbage": {
			"proc/self/mountinfo":          "x\n - \n1 2 3 4 5 - cgroup2 a b\n" + v2Mount,
			"proc/self/cgroup":             "nonsense\n0::/../../etc\n::",
			"sys/fs/cgroup/cpu.max":        "many few",
			"sys/fs/cgroup/memory.max":     "-5",
			"sys/fs/cgroup/cpu.pressure":   "full of nothing",
			"sys/fs/cgroup/memory.current": "",
		},
		"zero": {
			"proc/self/mountinfo":   v2Mount,
			"proc/self/cgroup":      "0::/",
			"sys/fs/cgroup/cpu.max": "0 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := tree(t, 0, files)
			m, err := h.Memory(t.Context())
			require.NoError(t, err)
			require.False(t, m.Limited)
			require.Positive(t, m.Total)
			c, err := h.CPU(t.Context())
			if err == nil { // some systems do not tell without cgo
				require.False(t, c.Limited)
				require.Positive(t, c.Cores)
			}
		})
	}
}
