package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Target is an additional storage that the good backups of a [Job] are copied to: another
// disk, another host, a bucket. It has its own retention. Its backups do not depend on
// those of the job's own storage: a backup that is deleted or damaged in one stays in the
// other.
type Target struct {
	// Name is the name of the target, in the same form as the name of a job: "s3", "attic".
	Name string
	// Storage holds the files of the target. No other job may use it.
	Storage Storage
	// Retention says which backups the target keeps, and so which ones are copied to it.
	// Default: the last 30 days, and at least 3.
	Retention Policy
	// NoRetention deletes nothing there. Use it for access keys that may only write.
	// Default: false.
	NoRetention bool
	// SkipVerify skips reading a new copy back before its manifest is written. Use it where
	// reading is too expensive. The copy is then only as reliable as the storage. Its size
	// is still checked. Default: false.
	SkipVerify bool
	// Timeout is the maximum time that one run spends on the target. Complete copies stay,
	// and the next run makes the others. Default: 2 h.
	Timeout time.Duration
}

// TargetOutcome describes the work of a run on one [Target].
type TargetOutcome struct {
	Name    string   `json:"name"`              // as in Target.Name
	OK      bool     `json:"ok"`                // the target holds all backups that it should
	Error   string   `json:"error,omitempty"`   // the cause in one line; "" if OK
	Newest  string   `json:"newest,omitempty"`  // the id of its newest good backup, if known
	Copied  []string `json:"copied,omitempty"`  // ids of backups that this run copied there
	Deleted []string `json:"deleted,omitempty"` // ids of backups that its retention removed
	Pending int      `json:"pending"`           // missing copies; -1 if unknown
	// FailingSince is the start of the first of the latest consecutive runs that failed for
	// the target. It is zero if the last run did not fail.
	FailingSince time.Time `json:"failing_since,omitzero"`
}

// target is a Target with its state.
type target struct {
	Target
	busy chan struct{} // holds one element while a goroutine works on the target
}

func newTargets(list []Target) ([]*target, error) {
	var targets []*target
	names := map[string]bool{}
	for _, t := range list {
		switch {
		case !jobName.MatchString(t.Name):
			return nil, fmt.Errorf("backup: the target's name %q must be of a-z, 0-9 and dashes, at most 63, and begin with no dash", t.Name)
		case names[t.Name]:
			return nil, fmt.Errorf("backup: there are two targets %q: give each its own name", t.Name)
		case t.Storage == nil:
			return nil, fmt.Errorf("backup: the target %q needs a storage", t.Name)
		case t.Timeout < 0:
			return nil, fmt.Errorf("backup: the Timeout of the target %q is negative", t.Name)
		}
		t.Timeout = cmp.Or(t.Timeout, 2*time.Hour)
		if err := t.Retention.validate(); err != nil {
			return nil, fmt.Errorf("%w (target %s)", err, t.Name)
		}
		names[t.Name] = true
		targets = append(targets, &target{t, make(chan struct{}, 1)})
	}
	return targets, nil
}

// Target returns the job for the copies in one of its targets. List, Verify, Restore,
// Prune, Pin, Accept, Status and Check of that job work on these copies.
func (j *Job) Target(name string) (*Job, error) {
	for _, t := range j.targets {
		if t.Name == name {
			return j.over(t), nil
		}
	}
	return nil, fmt.Errorf("%w: the job %s has no target %q", ErrNotFound, j.name, name)
}

// Targets returns the names of the job's targets.
func (j *Job) Targets() []string {
	var names []string
	for _, t := range j.targets {
		names = append(names, t.Name)
	}
	return names
}

func (j *Job) over(t *target) *Job {
	opts := j.opts
	opts.Retention, opts.NoRetention, opts.Targets = t.Retention, t.NoRetention, nil
	return &Job{name: j.name, source: j.source, storage: t.Storage, opts: opts, home: j, now: j.now, counters: j.counters}
}

// targetGrace is the time that a storage has to return after its context has ended. A
// storage that takes longer is abandoned. A mount that hangs forever therefore blocks
// neither the run nor the other targets.
var targetGrace = 10 * time.Second

// replicate copies the missing backups to all targets at the same time. The local backup is
// good regardless of the outcome.
func (r *run) replicate(ctx context.Context) error {
	if len(r.targets) == 0 {
		return nil
	}
	entries, err := r.List(ctx)
	if err != nil {
		return err
	}
	results := make([]chan TargetOutcome, len(r.targets))
	for i, t := range r.targets {
		results[i] = make(chan TargetOutcome, 1)
		go func() { results[i] <- r.attend(ctx, t, entries) }()
	}
	var problems []string
	for i, result := range results {
		o := <-result
		o.Name = r.targets[i].Name
		if o.OK = o.Error == ""; !o.OK {
			problems = append(problems, "target "+o.Name+": "+o.Error)
			r.opts.Logger.WarnContext(ctx, "backup: a target was not brought up to date; the next run tries again", "job", r.name, "target", o.Name, "pending", o.Pending, "error", o.Error)
		}
		if hook := r.opts.Trace.Target; hook != nil {
			if err := r.guard(ctx, func(ctx context.Context) error { hook(ctx, o); return nil }); err != nil {
				problems = append(problems, "Trace.Target: "+err.Error())
			}
		}
		r.report.Targets = append(r.report.Targets, o)
	}
	if len(problems) == 0 {
		return nil
	}
	// Return only the text. Otherwise a locked target would make this run look locked.
	return errors.New(strings.Join(problems, "; "))
}

// attend works on one target within its time limit, and abandons it if it takes longer.
func (r *run) attend(ctx context.Context, t *target, local []Entry) TargetOutcome {
	select {
	case t.busy <- struct{}{}:
	default:
		return TargetOutcome{Pending: -1, Error: "an earlier run is still waiting for it: see whether it hangs"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("it took longer than %v", t.Timeout))
	result := make(chan TargetOutcome, 1)
	go func() {
		defer func() { cancel(); <-t.busy }()
		c := copier{from: r.Job, to: r.over(t), opts: t.Target}
		err := r.guard(ctx, func(ctx context.Context) error { return c.all(ctx, local) })
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w (%w)", err, cause)
			}
			c.out.Error = oneLine(err)
		}
		result <- c.out
	}()
	select {
	case o := <-result:
		return o
	case <-ctx.Done():
	}
	timer := time.NewTimer(targetGrace)
	defer timer.Stop()
	select {
	case o := <-result:
		return o
	case <-timer.C:
		return TargetOutcome{Pending: -1, Error: fmt.Sprintf("it hangs: %v", context.Cause(ctx))}
	}
}
