package hostcheck

import (
	"context"
	"errors"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Probe measures the machine. The checks take one, so that they can be tested
// with any number; [Host] is the real one. It must be safe for concurrent use. An
// error that wraps errors.ErrUnsupported means that the system does not tell; the
// check passes and says so.
type Probe interface {
	Disk(ctx context.Context, path string) (DiskUsage, error)
	Memory(ctx context.Context) (MemoryUsage, error)
	CPU(ctx context.Context) (CPUUsage, error)
	Files(ctx context.Context) (FilesUsage, error)
}

// DiskUsage is the state of the file system that holds a path. Sizes in bytes.
type DiskUsage struct {
	Total uint64
	// Used and Free are what an ordinary user sees: blocks that are kept for
	// root are in neither.
	Used, Free uint64
	// Inodes and InodesFree are 0 where the file system does not count them.
	Inodes, InodesFree uint64
	ReadOnly           bool
}

// MemoryUsage is the memory that matters for this process: that of its
// container if it has a limit, else that of the host.
type MemoryUsage struct {
	// Used is what the kernel cannot take back: page cache does not count.
	Used, Total uint64
	// Limited tells whether Total is the limit of a container.
	Limited bool
	// Kills counts the processes of the group that the kernel killed for want of
	// memory.
	Kills uint64
	// Pressure is the share of the last 60 s, in percent, in which some task of the
	// own group waited for memory. Negative if it is not known.
	Pressure float64
}

// CPUUsage is the processor time that matters for this process.
type CPUUsage struct {
	// At is when it was read; Busy is processor time since some fixed moment.
	// Two readings make a utilization.
	At   time.Time
	Busy time.Duration
	// Cores is how many processors can be used, a fraction under a quota.
	Cores float64
	// Limited tells whether Cores is the quota of a container.
	Limited bool
	// Periods and Throttled count the intervals of the quota and those in
	// which it was used up.
	Periods, Throttled uint64
	// Load5 is the load average of five minutes. Negative if it is not known.
	Load5 float64
	// Pressure is the share of the last 60 s, in percent, in which some task of the
	// own group waited for a processor. Negative if it is not known.
	Pressure float64
}

// FilesUsage is the open files of this process.
type FilesUsage struct {
	// Limit is 0 if there is none.
	Open, Limit uint64
}

// unmeasured is the result when a Probe returned an error.
func unmeasured(err error) health.Result {
	if errors.Is(err, errors.ErrUnsupported) {
		return health.Passed("this system does not tell")
	}
	return health.Failed("cannot be measured", err)
}
