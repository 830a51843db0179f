package hostcheck

import (
	"context"
	"io"
	"log/slog"
	"math"
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
		Memory("memory", &MemoryOptions{Window: -1}),
		CPU("cpu", &CPUOptions{Window: -1}),
		Disk("disk", "/", &DiskOptions{FullFrom: 101}),
		Disk("disk", "/", &DiskOptions{FullFrom: math.NaN()}),
		CPU("cpu", &CPUOptions{WarnThrottled: -1}),
		CPU("cpu", &CPUOptions{WarnPressure: math.NaN()}),
		CPU("cpu", &CPUOptions{WarnLoad: -1}),
		CPU("cpu", &CPUOptions{WarnLoad: 5}),
		Memory("memory", &MemoryOptions{WarnPressure: -1}),
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
