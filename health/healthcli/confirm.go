package healthcli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// confirm runs the checks and, where a mail may follow or the user asks for it,
// runs those again that are bad, and those that people believe to be bad: one
// lost packet is no outage, and one that gets through is no recovery. The states
// of the returned snapshot are those that all runs agree on.
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

// settled tells whether further runs are not needed: what nobody was told of is
// well as soon as it passes once; what people believe to be bad stays so as soon
// as it fails, and is well when it has passed twice.
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
	return snap.Only(names...) // computes the state of the whole anew
}

// verdict is as bad as all runs were at least; one that people were told is bad
// is well only if the last two runs, or the only one, passed.
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

func runOnce(ctx context.Context, reg *health.Registry, timeout time.Duration, names []string) (*health.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	snap, err := reg.RunOnce(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("%w (--timeout %v)", err, timeout)
	}
	return snap, nil
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
