package hostcheck_test

import (
	"context"
	"fmt"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/hostcheck"
)

// nearlyFull is a machine whose disk is 90 % full.
type nearlyFull struct{ hostcheck.Probe }

func (nearlyFull) Disk(context.Context, string) (hostcheck.DiskUsage, error) {
	return hostcheck.DiskUsage{Total: 100 << 30, Used: 90 << 30, Free: 10 << 30}, nil
}

func ExampleDisk() {
	disk := hostcheck.Disk("disk", "/var/lib/pos", &hostcheck.DiskOptions{Probe: nearlyFull{hostcheck.Host()}})
	disk.Critical = true // this service cannot live without its data
	reg, err := health.New([]health.Check{disk}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	snap, err := reg.RunOnce(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(snap.Status, "-", snap.Checks[0].Output)
	// Output: fail - 90.0 % used, 10.0 GiB free
}
