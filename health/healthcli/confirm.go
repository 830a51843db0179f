package healthcli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// confirm runs the checks. If a mail may follow or the user asked for it, it runs the
// bad checks again, and also the checks that were reported as bad. One lost packet is
// then no outage, and one successful run is no recovery. The returned snapshot has the
// states that all runs agree on.
func confirm(ctx context.Context, reg *health.Registry, f flags, names, told []string) (*health.Snapshot, error) {
	first, err := runOnce(ctx, reg, f.timeout, names)
	if err != nil {
		return nil, err
	}
	if !f.notify && !f.retriesSet {
		return first, nil
	}
	seen := map[string][]health.CheckState{}
	var again []string
	for _, c := range first.Checks {
		seen[c.Name] = []health.CheckState{c}
		if c.Status != health.Pass || slices.Contains(told, c.Name) {
			again = append(again, c.Name)
		}
	}
	for try := 0; try < f.retries && len(again) > 0; try++ {
		if err := sleep(ctx, f.retryWait); err != nil {
			return nil, err
		}
		snap, err := runOnce(ctx, reg, f.timeout, again)
		if err != nil {
			return nil, err
		}
		for _, c := range snap.Checks {
			seen[c.Name] = append(seen[c.Name], c)
		}
		again = slices.DeleteFunc(again, func(name string) bool { return settled(seen[name], slices.Contains(told, name)) })
	}
	return agreed(first, seen, told), nil
}

// settled reports whether a check needs no further runs. An unreported check is well as
// soon as it passes once. A reported check stays bad as soon as it fails, and is well
// after it has passed twice.
func settled(runs []health.CheckState, told bool) bool {
	n := len(runs)
	if !told {
		return runs[n-1].Status == health.Pass
	}
	return runs[n-1].Status != health.Pass || runs[max(n-2, 0)].Status == health.Pass
}

// agreed gives every check the state that its runs agree on.
func agreed(first *health.Snapshot, seen map[string][]health.CheckState, told []string) *health.Snapshot {
	snap := *first
	snap.Checks = nil
	var names []string
	confirmed := map[string]health.Status{}
	for _, c := range first.Checks {
		runs := seen[c.Name]
		last := runs[len(runs)-1]
		last.Status = verdict(runs, slices.Contains(told, c.Name))
		last.Confirmed, last.ConfirmedSince = last.Status, c.Since
		if last.Status == health.Pass {
			last.Output = ""
		}
		confirmed[c.Name] = last.Status
		names = append(names, c.Name)
		snap.Checks = append(snap.Checks, last)
	}
	for i := range snap.Checks {
		c := &snap.Checks[i]
		c.Blocked = slices.DeleteFunc(slices.Clone(c.DependsOn), func(p string) bool { return confirmed[p] != health.Fail })
	}
	return snap.Only(names...) // computes the state of the service again
}

// verdict is the mildest state of all runs. A reported check is well only if the last
// two runs, or the only one, passed.
func verdict(runs []health.CheckState, told bool) health.Status {
	mildest, mildestBad := health.Fail, health.Fail
	for _, c := range runs {
		mildest = min(mildest, c.Status)
		if c.Status > health.Pass {
			mildestBad = min(mildestBad, c.Status)
		}
	}
	n := len(runs)
	if told && (runs[n-1].Status != health.Pass || runs[max(n-2, 0)].Status != health.Pass) {
		return mildestBad
	}
	return mildest
}

// runOnce runs the checks. A check without a result within the timeout fails. The other
// results count.
func runOnce(ctx context.Context, reg *health.Registry, timeout time.Duration, names []string) (*health.Snapshot, error) {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	snap, err := reg.RunOnce(limited, names...)
	if err == nil || limited.Err() == nil || ctx.Err() != nil {
		return snap, err
	}
	snap = reg.Snapshot()
	if names == nil {
		names = reg.Names()
	}
	checks := slices.Clone(snap.Checks)
	for i := range checks {
		c := &checks[i]
		if !c.LastRun.IsZero() && !c.LastRun.Before(start) {
			continue
		}
		if c.Status != health.Fail {
			c.Since, c.ConfirmedSince = start, start
		}
		c.Status, c.Confirmed, c.Kind, c.Observed = health.Fail, health.Fail, health.KindTimeout, nil
		c.Output, c.Took = fmt.Sprintf("no answer within --timeout %v", timeout), time.Since(start)
	}
	snap.Checks = checks
	return snap.Only(names...), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
