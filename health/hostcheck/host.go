package hostcheck

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
)

// Host returns the Probe of the real machine. On Linux it measures the control group of
// the process, version 1 and 2, and its parents. On other systems, and without limits,
// it measures the whole host.
func Host() Probe { return host{root: "/", memoryLimit: memlimit.FromCgroup} }

// host reads Linux files under root, so that tests can use their own tree. The limit
// comes from automemlimit, which knows how control groups are mounted in containers.
type host struct {
	root        string
	memoryLimit func() (uint64, error)
}

// unsupported replaces gopsutil's private error with the one of the standard library.
func unsupported(err error) error {
	if err != nil && strings.Contains(err.Error(), "not implemented") {
		return fmt.Errorf("%w on %s", errors.ErrUnsupported, runtime.GOOS)
	}
	return err
}

func (h host) Disk(ctx context.Context, path string) (DiskUsage, error) {
	u, err := disk.UsageWithContext(ctx, path)
	if err != nil {
		return DiskUsage{}, unsupported(err)
	}
	readOnly, err := isReadOnly(path)
	if err != nil {
		return DiskUsage{}, err
	}
	return DiskUsage{
		Total: u.Total, Used: u.Used, Free: u.Free,
		Inodes: u.InodesTotal, InodesFree: u.InodesFree, ReadOnly: readOnly,
	}, nil
}

func (h host) Memory(ctx context.Context) (MemoryUsage, error) {
	vm, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return MemoryUsage{}, unsupported(err)
	}
	// UsedPercent is not used: its definition differs between versions.
	u := MemoryUsage{Used: vm.Total - min(vm.Available, vm.Total), Total: vm.Total, Pressure: -1}
	groups := h.groups()
	// Without a limit the memory of the host counts. An error means no limit here.
	if limit, err := h.memoryLimit(); err == nil && limit > 0 && limit < vm.Total {
		if used, kills, ok := groups.memory(limit); ok {
			u.Used, u.Total, u.Limited, u.Kills = used, limit, true, kills
		}
	}
	u.Pressure = h.pressure(groups, "memory", u.Limited)
	return u, nil
}

func (h host) CPU(ctx context.Context) (CPUUsage, error) {
	groups := h.groups()
	u := CPUUsage{At: time.Now(), Load5: -1}
	if avg, err := load.AvgWithContext(ctx); err == nil {
		u.Load5 = avg.Load5
	}
	if q, ok := groups.cpu(); ok {
		u.Busy, u.Cores, u.Limited = q.usage, q.cores, true
		u.Periods, u.Throttled = q.periods, q.throttled
		u.Pressure = h.pressure(groups, "cpu", true)
		return u, nil
	}
	u.Pressure = h.pressure(groups, "cpu", false)
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return CPUUsage{}, unsupported(err)
	}
	cores, err := cpu.CountsWithContext(ctx, true)
	if err != nil {
		return CPUUsage{}, unsupported(err)
	}
	if len(times) == 0 || cores == 0 {
		return CPUUsage{}, errors.New("the system names no processor")
	}
	t := times[0] // guest time is already part of user time
	busy := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	u.Busy, u.Cores = time.Duration(busy*float64(time.Second)), float64(cores)
	return u, nil
}

func (h host) Files(context.Context) (FilesUsage, error) { return openFiles() }
