package hostcheck

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// FilesOptions tune [Files]. The zero value and nil work.
type FilesOptions struct {
	// Timeout of a run. Default: 2 s.
	Timeout time.Duration
	// WarnPercent and FailPercent limit the open files as a share of the
	// process's limit. Default: 80 and 95.
	WarnPercent, FailPercent float64
	// Probe does the measurements. Default: Host().
	Probe Probe
}

// Files returns a check of the open files and connections of this process against its
// limit (ulimit -n). At the limit, the process can accept and open no more connections.
func Files(name string, opts *FilesOptions) health.Check {
	var o FilesOptions
	if opts != nil {
		o = *opts
	}
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.WarnPercent = cmp.Or(o.WarnPercent, 80)
	o.FailPercent = cmp.Or(o.FailPercent, 95)
	if o.Probe == nil {
		o.Probe = Host()
	}
	return health.Check{
		Name: name, Type: "system", Timeout: o.Timeout,
		Checker: &filesCheck{opts: o},
	}
}

type filesCheck struct{ opts FilesOptions }

func (f *filesCheck) Validate() error {
	return validPercents(f.opts.WarnPercent, f.opts.FailPercent)
}

func (f *filesCheck) Check(ctx context.Context) health.Result {
	u, err := f.opts.Probe.Files(ctx)
	if err != nil {
		return unmeasured(err)
	}
	if u.Limit == 0 {
		return health.Passed(fmt.Sprintf("%d open, no limit", u.Open))
	}
	used := 100 * float64(u.Open) / float64(u.Limit)
	return health.Result{
		Summary: fmt.Sprintf("%d of %d open", u.Open, u.Limit),
		Observed: []health.Measurement{{
			Name: "utilization", Value: used, Unit: "percent",
			Limits: health.Limits{Warn: f.opts.WarnPercent, Fail: f.opts.FailPercent, Clear: clearBy},
		}},
	}
}
