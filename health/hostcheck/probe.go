package hostcheck

import (
	"context"
	"errors"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Probe measures the machine. The checks take a Probe, so that tests can use any
// number. [Host] is the real one. It must be safe for concurrent use. An error that
// wraps errors.ErrUnsupported means that the system does not report the value. The
// check then passes and says so.
type Probe interface {
	Disk(ctx context.Context, path string) (DiskUsage, error)
	Memory(ctx context.Context) (MemoryUsage, error)
	CPU(ctx context.Context) (CPUUsage, error)
	Files(ctx context.Context) (FilesUsage, error)
}

// DiskUsage is the state of the file system that holds a path. Sizes are in bytes.
type DiskUsage struct {
	// Total is the size of the file system.
	Total uint64
	// Used and Free are the values for an ordinary user. Blocks that are reserved for
	// root are in neither.
	Used, Free uint64
	// Inodes and InodesFree are 0 if the file system does not count them.
	Inodes, InodesFree uint64
	// ReadOnly reports whether the file system is mounted read-only.
	ReadOnly bool
}

// MemoryUsage is the memory that limits this process: the memory of its container if it
// has a limit, otherwise that of the host.
type MemoryUsage struct {
	// Used is the memory that the kernel cannot reclaim. Page cache does not count.
	Used, Total uint64
	// Limited reports whether Total is the limit of a container.
	Limited bool
	// Kills counts the processes of the group that the kernel killed because of memory
	// shortage.
	Kills uint64
	// Pressure is the share of the last 60 s, in percent, in which a task of the own
	// group waited for memory. It is negative if it is not known.
	Pressure float64
}

// CPUUsage is the processor time that limits this process.
type CPUUsage struct {
	// At is the time of the reading.
	At time.Time
	// Busy is the processor time since a fixed moment, of all cores together. Two
	// readings give a utilization.
	Busy time.Duration
	// Cores is how many processors can be used. Under a quota it may be a fraction.
	Cores float64
	// Limited reports whether Cores is the quota of a container.
	Limited bool
	// Periods counts the intervals of the quota. Throttled counts the intervals in
	// which it was exhausted.
	Periods, Throttled uint64
	// Load5 is the load average of five minutes. It is negative if it is not known.
	Load5 float64
	// Pressure is the share of the last 60 s, in percent, in which a task of the own
	// group waited for a processor. It is negative if it is not known.
	Pressure float64
}

// FilesUsage is the open files of this process.
type FilesUsage struct {
	// Limit is 0 if there is no limit.
	Open, Limit uint64
}

// unmeasured is the result when a Probe returned an error.
func unmeasured(err error) health.Result {
	if errors.Is(err, errors.ErrUnsupported) {
		return health.Passed("this system does not tell")
	}
	return health.Failed("cannot be measured", err)
}
