package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Policy says which backups to keep. A backup is kept if at least one rule keeps it. Rules
// count only good backups that have not failed their restore test. Their age is counted from the newest good backup, not from now.
type Policy struct {
	// Days keeps all backups that are at most this many days older than the newest good
	// backup. Default: 30, if no other rule is set.
	Days int
	// Last keeps this many newest backups. Default: 0.
	Last int
	// Daily, Weekly, Monthly and Yearly keep the newest backup of each day, ISO week, month
	// and year, for this many periods that have a backup. Default: 0.
	Daily, Weekly, Monthly, Yearly int
	// MinKeep is the number of newest good backups that are never deleted. Default: 3.
	MinKeep int
	// MaxBytes is the maximum size of all stored backups. Above it, the oldest backups that
	// only a rule keeps are deleted. It does not make space for a coming backup. Default:
	// no limit.
	MaxBytes int64
	// Zone is the time zone of days. Default: time.Local.
	Zone *time.Location
	// Force allows one run to delete more than half of the good backups. Default: false.
	Force bool
}

// maxDays is the largest number of days that is not the same as all backups.
const maxDays = 4_000_000

func (p *Policy) validate() error {
	for name, n := range map[string]int{"Days": p.Days, "Last": p.Last, "Daily": p.Daily, "Weekly": p.Weekly, "Monthly": p.Monthly, "Yearly": p.Yearly, "MinKeep": p.MinKeep} {
		if n < 0 {
			return fmt.Errorf("backup: the retention's %s is negative", name)
		}
	}
	if p.MaxBytes < 0 {
		return errors.New("backup: the retention's MaxBytes is negative")
	}
	if max(p.Days, p.Last, p.Daily, p.Weekly, p.Monthly, p.Yearly) == 0 {
		p.Days = 30
	}
	p.MinKeep = cmp.Or(p.MinKeep, 3)
	p.Zone = cmp.Or(p.Zone, time.Local)
	return nil
}

// Decision is the decision of retention about one backup, with the reason.
type Decision struct {
	Entry   Entry    // the backup
	Keep    bool     // false: the backup was deleted, or would be without dryRun
	Reasons []string // why it is kept or deleted; never empty
}

// ErrSuspended means that retention deletes no backup for now, because of a possible
// problem.
var ErrSuspended = errors.New("backup: nothing is deleted")

func suspend(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSuspended, fmt.Sprintf(format, args...))
}

// plan decides about entries, the newest first. It always keeps the newest good MinKeep
// backups, and backups that are pinned, damaged, unknown or from the future. If there is a
// possible problem, it keeps all.
func plan(now time.Time, entries []Entry, p Policy) ([]Decision, error) {
	entries = append([]Entry(nil), entries...)
	sort.SliceStable(entries, func(a, b int) bool { return entries[a].Time().After(entries[b].Time()) })
	r := newRetention(now, entries, p)
	suspended := r.problem(entries)
	decisions := make([]Decision, len(entries))
	ruled := make([]bool, len(entries)) // kept only by a rule
	deleted := 0
	for i, e := range entries {
		d := &decisions[i]
		d.Entry = e
		if suspended != nil {
			d.keep(suspended.Error()[len("backup: "):])
		}
		for _, reason := range r.always(e) {
			d.keep(reason)
		}
		for _, reason := range r.rules(e) {
			ruled[i] = ruled[i] || !d.Keep
			d.keep(reason)
		}
		if !d.Keep && e.usable() {
			deleted++
		}
	}
	if suspended == nil && p.MaxBytes > 0 {
		deleted += fit(decisions, ruled, p.MaxBytes)
	}
	if suspended == nil && deleted > 0 && 2*deleted > r.good && !p.Force {
		suspended = suspend("%d of %d good backups would go at once: check the policy, then force it", deleted, r.good)
		for i := range decisions {
			if d := &decisions[i]; !d.Keep {
				d.Reasons = nil
				d.keep(suspended.Error()[len("backup: "):])
			}
		}
	}
	for i := range decisions {
		if !decisions[i].Keep && decisions[i].Reasons == nil {
			decisions[i].Reasons = []string{"no rule keeps it"}
		}
	}
	return decisions, suspended
}

func (d *Decision) keep(reason string) { d.Keep, d.Reasons = true, append(d.Reasons, reason) }

// retention counts what a policy keeps, from the newest backup to the oldest.
type retention struct {
	Policy
	now            time.Time
	last, restored *Entry // the newest usable one, and the newest that passed a restore test
	tested         *Entry // the newest with a restore test
	good           int    // usable backups so far
	periods        []period
}

// period is a rule that keeps the newest backup of each day, week, month or year.
type period struct {
	name string
	keep int
	of   func(time.Time) string
	seen map[string]bool
}

func newRetention(now time.Time, entries []Entry, p Policy) *retention {
	return &retention{
		Policy: p, now: now,
		last:     newest(entries, func(e Entry) bool { return e.usable() && !e.Time().After(now) }),
		restored: newest(entries, func(e Entry) bool { return e.usable() && !e.Restored().IsZero() && !e.Time().After(now) }),
		tested:   newest(entries, Entry.tested),
		periods: []period{
			{"daily", p.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }, map[string]bool{}},
			{"weekly", p.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-W", w) }, map[string]bool{}},
			{"monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }, map[string]bool{}},
			{"yearly", p.Yearly, func(t time.Time) string { return t.Format("2006") }, map[string]bool{}},
		},
	}
}

// problem returns why nothing may be deleted, or nil.
func (r *retention) problem(entries []Entry) error {
	switch first := newest(entries, func(e Entry) bool { return e.Manifest != nil }); {
	case r.tested != nil && !r.tested.RestoreTest.OK:
		return suspend("the newest restore test, of %s, failed (%s): older backups may be the only ones that can be restored; test it again when the cause is fixed", r.tested.ID, r.tested.RestoreTest.Problem)
	case r.last == nil:
		return suspend("there is no good backup")
	case first.State == Suspect:
		return suspend("the newest backup is suspect (%s): look at it, then accept or delete it", first.Problem)
	case first.Time().After(r.now):
		return suspend("the newest backup, %s, is from the future: check the clock; if it was wrong before, delete that backup", first.ID)
	}
	return nil
}

// always returns the reasons to keep a backup under every policy. It counts good backups.
func (r *retention) always(e Entry) (reasons []string) {
	switch {
	case e.State == Unknown:
		return []string{"its manifest cannot be read"}
	case e.State == Damaged:
		return []string{"damaged: look at it before it goes"}
	case e.Time().After(r.now):
		return []string{"from the future"}
	}
	if e.Pinned {
		reasons = append(reasons, "pinned")
	}
	if e.restoring {
		reasons = append(reasons, "a restore of it is running, or was interrupted")
	}
	if !e.usable() {
		return reasons
	}
	if r.good++; r.good <= r.MinKeep {
		reasons = append(reasons, fmt.Sprintf("one of the newest %d", r.MinKeep))
	}
	if r.restored != nil && e.ID == r.restored.ID {
		reasons = append(reasons, "the newest that was restored")
	}
	return reasons
}

// rules returns the rules that keep a backup.
func (r *retention) rules(e Entry) (reasons []string) {
	if e.State == Unknown || e.State == Damaged || e.Time().After(r.now) {
		return nil
	}
	// Dates reach further than a time.Duration, whose limit is 292 years.
	young := r.last != nil && !e.Time().Before(r.last.Time().AddDate(0, 0, -min(r.Days, maxDays)))
	if !e.usable() {
		// A suspect backup, or one that failed its restore test, counts for no rule. It is
		// deleted when good ones of its age are.
		switch {
		case young && e.good():
			return []string{"it failed its restore test, and is not old"}
		case young:
			return []string{"suspect, and not old"}
		}
		return nil
	}
	if r.good <= r.Last {
		reasons = append(reasons, fmt.Sprintf("last %d", r.Last))
	}
	if r.Days > 0 && young {
		reasons = append(reasons, fmt.Sprintf("within %d days of the newest good one", r.Days))
	}
	for _, p := range r.periods {
		if label := p.of(e.Time().In(r.Zone)); len(p.seen) < p.keep && !p.seen[label] {
			p.seen[label] = true
			reasons = append(reasons, p.name+" "+label)
		}
	}
	return reasons
}

// fit drops the oldest backups that only rules keep, until the rest takes no more than
// limit bytes. It returns the number of good backups that it dropped.
func fit(decisions []Decision, ruled []bool, limit int64) (good int) {
	var total int64
	for _, d := range decisions {
		if d.Keep && d.Entry.Manifest != nil {
			total += d.Entry.Manifest.Size
		}
	}
	for i := len(decisions) - 1; i >= 0 && total > limit; i-- {
		d := &decisions[i]
		if !d.Keep || !ruled[i] {
			continue
		}
		total -= d.Entry.Manifest.Size
		d.Keep, d.Reasons = false, []string{fmt.Sprintf("all together take more than %d bytes", limit)}
		if d.Entry.usable() {
			good++
		}
	}
	return good
}

// Prune applies a policy. With dryRun it only returns the decisions. If retention is
// suspended, it returns the decisions together with the error. A backup that the storage has
// locked is kept.
func (j *Job) Prune(ctx context.Context, policy Policy, dryRun bool) ([]Decision, error) {
	if err := policy.validate(); err != nil {
		return nil, err
	}
	entries, err := j.List(ctx)
	if err != nil {
		return nil, err
	}
	if !dryRun && len(entries) > 0 { // a lock would create a folder whose name was misspelt
		unlock, err := j.lockStorage(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock() //nolint:errcheck // the end of the process also frees the lock
		if entries, err = j.List(ctx); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 {
		return nil, suspend("there is no backup%s", in(j.storage))
	}
	for {
		if err := j.restored(ctx, entries); err != nil {
			return nil, err
		}
		decisions, suspended := plan(j.now(), entries, policy)
		if dryRun || suspended != nil {
			return decisions, suspended
		}
		sound, err := j.soundNewest(ctx, decisions)
		if err != nil {
			return nil, err
		}
		if sound {
			deleted, err := j.delete(ctx, decisions)
			for i := range decisions {
				if d := &decisions[i]; !d.Keep && !slices.Contains(deleted, d.Entry.ID) {
					d.Keep, d.Reasons = true, []string{"not deleted: it was pinned meanwhile, or the storage has it locked, or could not delete it"}
				}
			}
			return decisions, err
		}
		if entries, err = j.List(ctx); err != nil {
			return nil, err
		}
	}
}

// restored marks the backups that a restore reads, and those that a restore read that was
// interrupted. An operator can then repeat it.
func (j *Job) restored(ctx context.Context, entries []Entry) error {
	home := j.atHome()
	objects, err := home.objects(ctx)
	if err != nil {
		return err
	}
	marks, err := home.marksOf(ctx, objects)
	if err != nil {
		return err
	}
	for i := range entries {
		entries[i].restoring = slices.ContainsFunc(marks, func(u UnfinishedRestore) bool { return u.ID == entries[i].ID })
	}
	return nil
}

// soundNewest reads the newest good backup before others are deleted. If it is damaged,
// soundNewest marks it, and the others must be judged again. A run has read its new backup
// before.
func (j *Job) soundNewest(ctx context.Context, decisions []Decision) (bool, error) {
	deletes := false
	var last *Entry
	for i := range decisions {
		e := &decisions[i].Entry
		deletes = deletes || !decisions[i].Keep
		if last == nil && e.usable() && !e.Time().After(j.now()) {
			last = e
		}
	}
	if !deletes || last == nil || j.opts.SkipVerify {
		return true, nil
	}
	err := j.readStored(ctx, last.Manifest)
	var broken brokenError
	if !errors.As(err, &broken) {
		if err != nil {
			err = fmt.Errorf("%w: the newest good backup, %s, could not be read: %w", ErrSuspended, last.ID, err)
		}
		return err == nil, err
	}
	return false, j.keep(ctx, Verification{ID: last.ID, Time: j.now().UTC(), Problem: broken.Error()})
}

// delete carries out the decisions. A failure does not stop the others. It deletes the
// manifest first. A crash then leaves an artefact without a manifest, and never a backup
// without its artefact.
func (j *Job) delete(ctx context.Context, decisions []Decision) (deleted []string, err error) {
	if !slices.ContainsFunc(decisions, func(d Decision) bool { return !d.Keep }) {
		return nil, nil
	}
	objects, err := j.objects(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, d := range decisions {
		if d.Keep {
			continue
		}
		id := d.Entry.ID
		if pinned, err := j.pinned(ctx, id); pinned || err != nil { // since the decision
			errs = append(errs, err)
			continue
		}
		if err := j.storage.Remove(ctx, id+manifestSuffix); err != nil {
			if !errors.Is(err, ErrRetained) {
				errs = append(errs, err)
			}
			continue
		}
		for _, o := range objects {
			if stem(j.name, o.Name) != id || o.Name == id+manifestSuffix {
				continue
			}
			if err := j.storage.Remove(ctx, o.Name); err != nil && !errors.Is(err, ErrRetained) {
				errs = append(errs, err)
			}
		}
		deleted = append(deleted, id)
	}
	return deleted, errors.Join(errs...)
}

// retain is the last stage of a run. It runs only after a new backup was published and read
// back.
func (r *run) retain(ctx context.Context) error {
	if r.dumped.Suspect != "" {
		return fmt.Errorf("%w: %s", ErrSuspect, r.dumped.Suspect)
	}
	if r.opts.NoRetention {
		return nil
	}
	entries, err := r.List(ctx)
	if err != nil {
		return err
	}
	if err := r.restored(ctx, entries); err != nil {
		return err
	}
	decisions, err := plan(r.now(), entries, r.opts.Retention)
	if err != nil {
		return err
	}
	r.report.Deleted, err = r.delete(ctx, decisions)
	return err
}
