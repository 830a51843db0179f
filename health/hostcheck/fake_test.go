package hostcheck

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
)

// fake is a Probe of any machine.
type fake struct {
	disk   DiskUsage
	memory MemoryUsage
	cpu    CPUUsage
	files  FilesUsage
	err    error
}

func (f *fake) Disk(context.Context, string) (DiskUsage, error) { return f.disk, f.err }
func (f *fake) Memory(context.Context) (MemoryUsage, error)     { return f.memory, f.err }
func (f *fake) CPU(context.Context) (CPUUsage, error)           { return f.cpu, f.err }
func (f *fake) Files(context.Context) (FilesUsage, error)       { return f.files, f.err }

func quietOptions() *health.Options {
	return &health.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func registryOf(t *testing.T, c health.Check) *health.Registry {
	t.Helper()
	r, err := health.New([]health.Check{c}, quietOptions())
	require.NoError(t, err)
	return r
}

func runAgain(t *testing.T, r *health.Registry) health.CheckState {
	t.Helper()
	snap, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return snap.Checks[0]
}

func TestDiskLevels(t *testing.T) {
	disk := func(totalGiB, usedPercent float64) DiskUsage {
		total := uint64(totalGiB * gib)
		used := uint64(float64(total) * usedPercent / 100)
		return DiskUsage{Total: total, Used: used, Free: total - used}
	}
	for name, c := range map[string]struct {
		usage DiskUsage
		want  health.Status
		says  string
	}{
		"roomy":         {disk(500, 40), health.Pass, "40.0 % used, 300.0 GiB free"},
		"80 percent":    {disk(500, 80), health.Warn, "80.0 % used"},
		"90 percent":    {disk(500, 90.1), health.Fail, ""},
		"small, roomy":  {disk(10, 70), health.Pass, ""}, // 3 GiB free of 10 are plenty
		"tiny":          {disk(0.5, 50), health.Pass, ""},
		"read-only":     {DiskUsage{Total: 100 * gib, Used: 10 * gib, Free: 90 * gib, ReadOnly: true}, health.Fail, "mounted read-only"},
		"inodes 85":     {DiskUsage{Total: 100 * gib, Used: 10 * gib, Free: 90 * gib, Inodes: 100, InodesFree: 15}, health.Warn, "85.0 % of the inodes"},
		"inodes 95":     {DiskUsage{Total: 100 * gib, Used: 10 * gib, Free: 90 * gib, Inodes: 100, InodesFree: 5}, health.Fail, ""},
		"no inodes":     {DiskUsage{Total: 100 * gib, Used: 10 * gib, Free: 90 * gib}, health.Pass, ""},
		"kept for root": {DiskUsage{Total: 100 * gib, Used: 85 * gib, Free: 5 * gib}, health.Fail, "94.4 % used"},
		"empty answer":  {DiskUsage{}, health.Fail, "size of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := runAgain(t, registryOf(t, Disk("disk", "/var", &DiskOptions{Probe: &fake{disk: c.usage}})))
			require.Equal(t, c.want, s.Status, s.Output)
			require.Contains(t, s.Output, c.says)
			require.Equal(t, health.KindReported, s.Kind)
		})
	}
	ro := &DiskOptions{AllowReadOnly: true, Probe: &fake{disk: DiskUsage{Total: 100, Used: 10, Free: 90, ReadOnly: true}}}
	require.Equal(t, health.Pass, runAgain(t, registryOf(t, Disk("disk", "/", ro))).Status)
	for freeGiB, want := range map[float64]health.Status{8: health.Pass, 4: health.Warn, 0.5: health.Fail} {
		huge := &DiskOptions{WarnPercent: 99.97, FailPercent: 99.99, Probe: &fake{disk: disk(1000, 100-freeGiB/10)}}
		require.Equal(t, want, runAgain(t, registryOf(t, Disk("disk", "/", huge))).Status, "%v GiB free of 1000", freeGiB)
	}
}

func TestDiskTimeToFull(t *testing.T) {
	d := &diskCheck{path: "/", opts: DiskOptions{WarnPercent: 80, FailPercent: 90, WarnInodes: 80, FailInodes: 90, FullWithin: 24 * time.Hour}}
	now := time.Unix(1e9, 0)
	var last health.Result
	for m := range 61 { // a GiB an hour, and 10 GiB left
		used := uint64(90*gib + float64(m)/60*gib)
		last = d.judge(DiskUsage{Total: 1000 * gib, Used: used, Free: 101*gib - used}, now.Add(time.Duration(m)*time.Minute))
		if m < 10 {
			require.Equal(t, health.Pass, last.Status, "minute %d is too early to tell", m)
		}
	}
	require.Equal(t, health.Warn, last.Status)
	require.Contains(t, last.Summary, "full in about 10 h")

	// A file of 1 GiB that comes and goes is no trend; shrinking is none either.
	calm := &diskCheck{path: "/", opts: d.opts}
	for m := range 61 {
		used := uint64(50*gib) - uint64(m)*1000
		if m%20 == 10 {
			used += gib / 50
		}
		last = calm.judge(DiskUsage{Total: 1000 * gib, Used: used, Free: 900 * gib}, now.Add(time.Duration(m)*time.Minute))
	}
	require.Equal(t, health.Pass, last.Status, last.Summary)
}

func TestMemoryLevels(t *testing.T) {
	f := &fake{memory: MemoryUsage{Used: 50, Total: 100, Pressure: -1}}
	r := registryOf(t, Memory("memory", &MemoryOptions{Probe: f}))
	expect := func(want health.Status, says string) {
		t.Helper()
		s := runAgain(t, r)
		require.Equal(t, want, s.Status, s.Output)
		require.Contains(t, s.Output, says)
	}
	expect(health.Pass, "50.0 % of the machine used")
	f.memory.Used = 85
	expect(health.Warn, "")
	f.memory.Used = 96
	expect(health.Fail, "")
	f.memory.Used = 94
	expect(health.Fail, "") // two points of hysteresis
	f.memory.Used = 50
	f.memory.Pressure = 12
	expect(health.Warn, "wait for memory 12 % of the time")
	f.memory.Pressure = 0
	f.memory.Limited = true
	expect(health.Pass, "the container's limit")
	f.memory.LimitHits = 7
	expect(health.Warn, "the limit was hit 7 times")
	expect(health.Pass, "")
	f.memory.LimitHits = 3 // another container
	expect(health.Pass, "")
	f.memory.Total = 0
	expect(health.Fail, "size of 0")
	f.err = errors.ErrUnsupported
	expect(health.Pass, "does not tell")
	f.err = errors.New("EIO")
	expect(health.Fail, "cannot be measured: EIO")
}

func TestCPULevels(t *testing.T) {
	at := time.Unix(1e9, 0)
	f := &fake{cpu: CPUUsage{At: at, Cores: 2, Load5: -1, Pressure: -1}}
	c := CPU("cpu", &CPUOptions{Probe: f}).Checker.(*cpuCheck)
	c.add(f.cpu)
	step := func(d time.Duration, busy float64) health.Result {
		f.cpu.At = f.cpu.At.Add(d)
		f.cpu.Busy += time.Duration(busy * f.cpu.Cores * float64(d))
		return c.Check(t.Context())
	}
	value := func(res health.Result, name string) float64 {
		t.Helper()
		for _, m := range res.Observed {
			if m.Name == name {
				return m.Value
			}
		}
		t.Fatalf("no %s in %v", name, res.Observed)
		return 0
	}
	res := step(5*time.Second, 1)
	require.InDelta(t, 100, value(res, "utilization"), 0.01)
	require.True(t, res.Observed[0].Limits.None(), "5 s are shown and not judged")
	for range 4 {
		res = step(15*time.Second, 0.5)
	}
	require.InDelta(t, 50, value(res, "utilization"), 1, "a minute's average has forgotten the start")
	require.False(t, res.Observed[0].Limits.None())
	res = step(15*time.Second, 1)
	require.InDelta(t, 62.5, value(res, "utilization"), 1)
	for range 4 {
		res = step(15*time.Second, 1)
	}
	require.InDelta(t, 100, value(res, "utilization"), 0.01)

	f.cpu.Load5 = 4
	require.InDelta(t, 2, value(step(15*time.Second, 0), "load5PerCore"), 0)
	f.cpu.Pressure = 60
	require.Contains(t, step(15*time.Second, 0).Summary, "wait for a processor 60 %")

	// Under a quota: throttling counts, the host's load does not.
	f.cpu.Limited, f.cpu.Cores = true, 0.5
	c.add(f.cpu)
	f.cpu.Periods, f.cpu.Throttled = 100, 31
	res = step(15*time.Second, 0.9)
	require.InDelta(t, 31, value(res, "throttled"), 0)
	require.Contains(t, res.Summary, "0.5 cores of the container's quota, throttled in 31 % of the periods")
	for _, m := range res.Observed {
		require.NotEqual(t, "load5PerCore", m.Name)
	}
	f.cpu.Cores = 0
	require.Equal(t, health.Fail, step(15*time.Second, 0).Status)
}

func TestFilesLevels(t *testing.T) {
	for open, want := range map[uint64]health.Status{10: health.Pass, 800: health.Warn, 950: health.Fail} {
		f := &fake{files: FilesUsage{Open: open, Limit: 1000}}
		require.Equal(t, want, runAgain(t, registryOf(t, Files("files", &FilesOptions{Probe: f}))).Status)
	}
	f := &fake{files: FilesUsage{Open: 10}}
	require.Equal(t, health.Pass, runAgain(t, registryOf(t, Files("files", &FilesOptions{Probe: f}))).Status)
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, c := range []health.Check{
		Disk("disk", "", nil),
		Disk("disk", "/", &DiskOptions{WarnPercent: 95}),
		Disk("disk", "/", &DiskOptions{FailInodes: 101}),
		Disk("disk", "/", &DiskOptions{FailFree: 6 * gib}),
		Memory("memory", &MemoryOptions{WarnPercent: -1}),
		CPU("cpu", &CPUOptions{FailPercent: 101}),
		Files("files", &FilesOptions{WarnPercent: 99}),
		Memory("memory", &MemoryOptions{Timeout: -1}),
	} {
		_, err := health.New([]health.Check{c}, nil)
		require.ErrorContains(t, err, "health: check ")
	}
}

// A dead NFS mount: the call never returns. The check is stuck, the rest lives.
func TestHungMount(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	c := Disk("disk", "/", &DiskOptions{Timeout: 20 * time.Millisecond, Probe: hungDisk{&fake{}, release}})
	r := registryOf(t, c)
	require.Equal(t, health.KindTimeout, runAgain(t, r).Kind)
	begin := time.Now()
	s := runAgain(t, r)
	require.Equal(t, health.KindStuck, s.Kind)
	require.Less(t, time.Since(begin), 10*time.Second)
}

type hungDisk struct {
	*fake
	release chan struct{}
}

func (h hungDisk) Disk(context.Context, string) (DiskUsage, error) {
	<-h.release
	return DiskUsage{}, nil
}
