package hostcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// DiskOptions tune [Disk]. The zero value and nil work.
type DiskOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// WarnPercent and FailPercent limit the used space. Default: 80 and 90.
	WarnPercent, FailPercent float64
	// WarnFree and FailFree limit the free space in bytes. On a disk of less
	// than 50 GiB they are scaled down with it. Default: 5 GiB and 1 GiB.
	WarnFree, FailFree uint64
	// WarnInodes and FailInodes limit the used inodes, in percent. Default: 80
	// and 90.
	WarnInodes, FailInodes float64
	// FullWithin warns if the disk will be full in less than this time at the growth
	// rate of the last 6 hours. The rate is that of the slowest hour, so growth that
	// has ended is not extrapolated. Negative never warns. Default: 24 h.
	FullWithin time.Duration
	// FullFrom is the used space, in percent, from which FullWithin counts.
	// Default: 60.
	FullFrom float64
	// AllowReadOnly is for a file system that is meant to be read-only. Default: false,
	// and a read-only file system fails.
	AllowReadOnly bool
	// Probe does the measurements. Default: Host().
	Probe Probe
}

const (
	gib       = 1 << 30
	smallDisk = 50 * gib
	clearBy   = 2 // points under a threshold at which a level is left
)

// Disk returns a check of the file system that holds path: used and free space, inodes,
// read-only state, and the time until it is full. A file system that does not respond,
// such as a dead NFS mount, is reported as stuck and costs one goroutine.
func Disk(name, path string, opts *DiskOptions) health.Check {
	var o DiskOptions
	if opts != nil {
		o = *opts
	}
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.WarnPercent = cmp.Or(o.WarnPercent, 80)
	o.FailPercent = cmp.Or(o.FailPercent, 90)
	o.WarnFree = cmp.Or(o.WarnFree, 5*gib)
	o.FailFree = cmp.Or(o.FailFree, 1*gib)
	o.WarnInodes = cmp.Or(o.WarnInodes, 80)
	o.FailInodes = cmp.Or(o.FailInodes, 90)
	o.FullWithin = cmp.Or(o.FullWithin, 24*time.Hour)
	o.FullFrom = cmp.Or(o.FullFrom, 60)
	if o.Probe == nil {
		o.Probe = Host()
	}
	return health.Check{
		Name: name, Type: "system", Timeout: o.Timeout,
		Checker: &diskCheck{path: path, opts: o},
	}
}

type diskCheck struct {
	path string
	opts DiskOptions
	remembered[trend]
}

func (d *diskCheck) Validate() error {
	o := d.opts
	if d.path == "" {
		return errors.New("the path is empty")
	}
	if err := validPercents(o.WarnPercent, o.FailPercent); err != nil {
		return err
	}
	if err := validPercents(o.WarnInodes, o.FailInodes); err != nil {
		return err
	}
	if !(o.FullFrom >= 0 && o.FullFrom <= 100) {
		return fmt.Errorf("FullFrom %v is not a percentage", o.FullFrom)
	}
	if o.FailFree > o.WarnFree {
		return fmt.Errorf("FailFree %d is more than WarnFree %d", o.FailFree, o.WarnFree)
	}
	return nil
}

func validPercents(warn, fail float64) error {
	if !(warn > 0 && warn <= fail && fail <= 100) {
		return fmt.Errorf("limits %v and %v: use percentages, the second not smaller", warn, fail)
	}
	return nil
}

func (d *diskCheck) Check(ctx context.Context) health.Result {
	u, err := d.opts.Probe.Disk(ctx, d.path)
	if err != nil {
		return unmeasured(err)
	}
	if u.Total == 0 || u.Used+u.Free == 0 {
		return health.Failed("reports a size of 0", nil)
	}
	return d.judge(u, time.Now())
}

func (d *diskCheck) judge(u DiskUsage, now time.Time) health.Result {
	used := 100 * float64(u.Used) / float64(u.Used+u.Free)
	res := health.Result{
		Status:  health.Pass,
		Summary: fmt.Sprintf("%.1f %% used, %s free", used, bytesText(u.Free)),
	}
	warnFree, failFree := scaled(d.opts.WarnFree, u.Total), scaled(d.opts.FailFree, u.Total)
	res.Observed = []health.Measurement{
		{
			Name: "utilization", Component: d.path, Value: used, Unit: "percent",
			Limits: health.Limits{Warn: d.opts.WarnPercent, Fail: d.opts.FailPercent, Clear: clearBy},
		},
		{
			Name: "free", Component: d.path, Value: float64(u.Free), Unit: "bytes",
			Limits: health.Limits{Warn: warnFree, Fail: failFree, Below: true, Clear: float64(u.Total) * clearBy / 100},
		},
	}
	if u.Inodes > 0 {
		inodes := 100 * (1 - float64(u.InodesFree)/float64(u.Inodes))
		res.Observed = append(res.Observed, health.Measurement{
			Name: "inodes", Component: d.path, Value: inodes, Unit: "percent",
			Limits: health.Limits{Warn: d.opts.WarnInodes, Fail: d.opts.FailInodes, Clear: clearBy},
		})
		if inodes >= d.opts.WarnInodes {
			res.Summary += fmt.Sprintf(", %.1f %% of the inodes used", inodes)
		}
	}
	if left, ok := d.fullIn(now, u); ok {
		res.Observed = append(res.Observed, health.Measurement{
			Name: "timeToFull", Component: d.path, Value: left.Hours(), Unit: "h",
		})
		if left < d.opts.FullWithin && used >= d.opts.FullFrom {
			res.Status = health.Warn
			res.Summary += fmt.Sprintf(", full in about %s", hoursText(left))
		}
	}
	if u.ReadOnly && !d.opts.AllowReadOnly {
		res.Status = health.Fail
		res.Summary = "mounted read-only, " + res.Summary
	}
	return res
}

// scaled is the limit for free bytes on a disk of this size.
func scaled(limit, total uint64) float64 {
	if total >= smallDisk {
		return float64(limit)
	}
	return float64(limit) * float64(total) / smallDisk
}

func (d *diskCheck) fullIn(now time.Time, u DiskUsage) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.add(now, float64(u.Used))
	perSecond, ok := d.state.slope()
	if !ok || perSecond <= 0 {
		return 0, false
	}
	seconds := float64(u.Free) / perSecond
	if seconds > (30 * 24 * time.Hour).Seconds() {
		return 0, false // too far in the future to be meaningful
	}
	return time.Duration(seconds * float64(time.Second)), true
}
