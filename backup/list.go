package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// State says whether a listed backup can be used.
type State string

// The states.
const (
	Good    State = "good"
	Suspect State = "suspect" // complete, but unlike earlier backups; see Manifest.Suspect
	Damaged State = "damaged" // the artefact is missing or has another size
	Unknown State = "unknown" // the manifest cannot be read, or has a newer version
)

// Entry is a backup in a storage.
type Entry struct {
	ID       string
	State    State
	Problem  string    // the reason of a bad state; "" for a good backup
	Manifest *Manifest // nil if State is Unknown
	Pinned   bool      // never deleted by retention
	Accepted bool      // was suspect, and an operator accepted it
	Verified time.Time // when it last passed a verification; zero if never
	Drill    *Drill    // the latest restore test; nil without one

	restoring bool  // a restore reads it, or was interrupted and can be repeated
	unread    error // of the storage, when it read the manifest
}

func (e Entry) good() bool { return e.State == Good }

// Restored returns when the backup last passed a restore test. It is zero if it never did.
func (e Entry) Restored() time.Time {
	if e.Drill == nil || !e.Drill.OK {
		return time.Time{}
	}
	return e.Drill.Time
}

// Time returns the start time of the backup. For an unknown backup it is exact to the
// second.
func (e Entry) Time() time.Time {
	if e.Manifest != nil {
		return e.Manifest.Started
	}
	return idTime(e.ID)
}

// List returns the backups of the job, the newest first. It leaves out leftovers of
// crashes.
func (j *Job) List(ctx context.Context) ([]Entry, error) {
	objects, err := j.objects(ctx)
	if err != nil {
		return nil, err
	}
	return j.entries(ctx, objects)
}

// objects lists the storage.
func (j *Job) objects(ctx context.Context) ([]Object, error) {
	objects, err := j.storage.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup: list: %w", err)
	}
	return objects, nil
}

func (j *Job) entries(ctx context.Context, objects []Object) ([]Entry, error) {
	files := make(map[string]Object, len(objects))
	for _, o := range objects {
		files[o.Name] = o
	}
	var entries []Entry
	unread, known := 0, false
	for _, o := range objects {
		id := stem(j.name, o.Name)
		if id == "" || o.Name != id+manifestSuffix {
			continue
		}
		e, err := j.entry(ctx, id, files)
		if errors.Is(err, ErrNotFound) {
			continue // deleted since the listing
		}
		if err != nil {
			// One bad block hides one backup. A storage that is away fails for all.
			if unread++; unread > 2 || ctx.Err() != nil {
				return nil, err
			}
			e.State, e.Problem, e.unread = Unknown, "its manifest cannot be read: "+strings.TrimPrefix(err.Error(), "backup: "), err
		}
		known = known || err == nil
		entries = append(entries, e)
	}
	if !known && unread > 0 {
		return nil, entries[0].unread
	}
	sort.Slice(entries, func(a, b int) bool { return entries[a].Time().After(entries[b].Time()) })
	return entries, nil
}

func (j *Job) entry(ctx context.Context, id string, files map[string]Object) (Entry, error) {
	e := Entry{ID: id, State: Good}
	_, e.Pinned = files[id+pinSuffix]
	data, err := j.readFile(ctx, id+manifestSuffix)
	if err != nil {
		return e, err
	}
	if e.Manifest, err = parseManifest(j.name, id, data, j.opts.ManifestKey); err != nil {
		e.State, e.Problem = Unknown, err.Error()
		return e, nil //nolint:nilerr // an unreadable manifest is a result of List, not an error
	}
	artefact, found := files[e.Manifest.File]
	switch {
	case !found:
		e.State, e.Problem = Damaged, "the artefact is missing"
	case artefact.Size != e.Manifest.Size:
		e.State, e.Problem = Damaged, fmt.Sprintf("the artefact has %d bytes instead of %d", artefact.Size, e.Manifest.Size)
	case e.Manifest.Suspect != "":
		if _, e.Accepted = files[id+acceptSuffix]; !e.Accepted {
			e.State, e.Problem = Suspect, e.Manifest.Suspect
		}
	}
	if _, ok := files[id+verifySuffix]; ok {
		if v, err := j.readVerification(ctx, id); err == nil {
			e.Drill = v.Drill
			if v.OK {
				e.Verified = v.Time
			} else {
				e.State, e.Problem = Damaged, v.Problem
			}
		}
	}
	return e, nil
}

// Find returns the backup with this id. "" means the newest good backup.
func (j *Job) Find(ctx context.Context, id string) (Entry, error) {
	if id != "" {
		if err := checkID(j.name, id); err != nil {
			return Entry{}, err
		}
	}
	entries, err := j.List(ctx)
	if err != nil {
		return Entry{}, err
	}
	found := newest(entries, func(e Entry) bool { return e.ID == id || id == "" && e.good() })
	if found == nil {
		if id == "" {
			return Entry{}, fmt.Errorf("%w: there is no good backup yet%s", ErrNotFound, in(j.storage))
		}
		return Entry{}, fmt.Errorf("%w: no backup %s%s", ErrNotFound, id, in(j.storage))
	}
	for _, e := range entries {
		if id == "" && e.unread != nil && !e.Time().Before(found.Time().Truncate(time.Second)) {
			return Entry{}, fmt.Errorf("backup: which backup is the newest is unknown, because the manifest of %s cannot be read: name a backup: %w", e.ID, e.unread)
		}
	}
	return *found, nil
}

// newest returns the first entry for which wanted is true.
func newest(entries []Entry, wanted func(Entry) bool) *Entry {
	for i := range entries {
		if wanted(entries[i]) {
			return &entries[i]
		}
	}
	return nil
}

// Pin protects a backup from deletion, or ends the protection if pinned is false.
func (j *Job) Pin(ctx context.Context, id string, pinned bool) error {
	if err := checkID(j.name, id); err != nil {
		return err
	}
	if _, err := j.Find(ctx, id); err != nil {
		return err
	}
	if pinned {
		return j.mark(ctx, id+pinSuffix)
	}
	return j.storage.Remove(ctx, id+pinSuffix)
}

// Accept turns a suspect backup into a good one. An operator must have examined it.
func (j *Job) Accept(ctx context.Context, id string) error {
	e, err := j.Find(ctx, id)
	if err != nil {
		return err
	}
	if e.State != Suspect {
		return fmt.Errorf("backup: %s is not suspect but %s", e.ID, e.State)
	}
	return j.mark(ctx, e.ID+acceptSuffix)
}

// maxSmallFile is the size limit of files that are read into memory. A manifest names every
// table.
const maxSmallFile = 16 << 20

// Policy says which backups to keep. A backup is kept if at least one rule keeps it. Rules
// count only good backups. Their age is counted from the newest good backup, not from now.
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

func (p *Policy) validate() error {
	for name, n := range map[string]int{"Days": p.Days, "Last": p.Last, "Daily": p.Daily, "Weekly": p.Weekly, "Monthly": p.Monthly, "Yearly": p.Yearly, "MinKeep": p.MinKeep} {
		if n < 0 {
			return fmt.Errorf("backup: the retention's %s is negative", name)
		}
	}
	if p.MaxBytes < 0 {
		return errors.New("backup: the retention's MaxBytes is negative")
	}
	if p.Days+p.Last+p.Daily+p.Weekly+p.Monthly+p.Yearly == 0 {
		p.Days = 30
	}
	if p.MinKeep == 0 {
		p.MinKeep = 3
	}
	if p.Zone == nil {
		p.Zone = time.Local
	}
	return nil
}

// Decision is the decision of retention about one backup, with the reason.
type Decision struct {
	Entry   Entry
	Keep    bool
	Reasons []string
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
	decisions := make([]Decision, len(entries))
	last := newest(entries, func(e Entry) bool { return e.good() && !e.Time().After(now) })
	restored := newest(entries, func(e Entry) bool { return e.good() && !e.Restored().IsZero() && !e.Time().After(now) })
	var suspended error
	switch first := newest(entries, func(e Entry) bool { return e.Manifest != nil }); {
	case last == nil:
		suspended = suspend("there is no good backup")
	case first.State == Suspect:
		suspended = suspend("the newest backup is suspect (%s): look at it, then accept or delete it", first.Problem)
	case first.Time().After(now):
		suspended = suspend("the newest backup, %s, is from the future: check the clock; if it was wrong before, delete that backup", first.ID)
	}

	buckets := []struct {
		name string
		keep int
		of   func(time.Time) string
		seen map[string]bool
	}{
		{"daily", p.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }, map[string]bool{}},
		{"weekly", p.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-W", w) }, map[string]bool{}},
		{"monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }, map[string]bool{}},
		{"yearly", p.Yearly, func(t time.Time) string { return t.Format("2006") }, map[string]bool{}},
	}
	good, deleted := 0, 0
	ruled := make([]bool, len(entries)) // kept only by a rule
	for i, e := range entries {
		d := &decisions[i]
		d.Entry = e
		keep := func(reason string) { d.Keep, d.Reasons = true, append(d.Reasons, reason) }
		rule := func(reason string) {
			ruled[i] = ruled[i] || !d.Keep
			keep(reason)
		}
		if suspended != nil {
			keep(suspended.Error()[len("backup: "):])
		}
		switch {
		case e.State == Unknown:
			keep("its manifest cannot be read")
			continue
		case e.State == Damaged:
			keep("damaged: look at it before it goes")
			continue
		case e.Time().After(now):
			keep("from the future")
			continue
		}
		if e.Pinned {
			keep("pinned")
		}
		if e.restoring {
			keep("a restore of it is running, or was interrupted")
		}
		if !e.good() {
			// A suspect backup counts for no rule. It is deleted when good ones of its age
			// are.
			if last != nil && last.Time().Sub(e.Time()) <= time.Duration(p.Days)*24*time.Hour {
				rule("suspect, and not old")
			}
			continue
		}
		if good++; good <= p.MinKeep {
			keep(fmt.Sprintf("one of the newest %d", p.MinKeep))
		}
		if restored != nil && e.ID == restored.ID {
			keep("the newest that was restored")
		}
		if good <= p.Last {
			rule(fmt.Sprintf("last %d", p.Last))
		}
		if p.Days > 0 && last != nil && last.Time().Sub(e.Time()) <= time.Duration(p.Days)*24*time.Hour {
			rule(fmt.Sprintf("within %d days of the newest good one", p.Days))
		}
		for b := range buckets {
			bucket := &buckets[b]
			if label := bucket.of(e.Time().In(p.Zone)); len(bucket.seen) < bucket.keep && !bucket.seen[label] {
				bucket.seen[label] = true
				rule(bucket.name + " " + label)
			}
		}
		if !d.Keep {
			deleted++
		}
	}
	if suspended == nil && p.MaxBytes > 0 {
		deleted += fit(decisions, ruled, p.MaxBytes)
	}
	if suspended == nil && deleted > 0 && 2*deleted > good && !p.Force {
		suspended = suspend("%d of %d good backups would go at once: check the policy, then force it", deleted, good)
		for i := range decisions {
			if !decisions[i].Keep {
				decisions[i].Keep, decisions[i].Reasons = true, []string{suspended.Error()[len("backup: "):]}
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
		if d.Entry.good() {
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
					d.Keep, d.Reasons = true, []string{"not deleted: the storage has it locked, or could not delete it"}
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
		if last == nil && e.good() && !e.Time().After(j.now()) {
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
	return false, j.keep(ctx, Verification{ID: last.ID, Time: j.now().UTC(), Problem: broken.Error(), Drill: last.Drill})
}

// delete carries out the decisions. A failure does not stop the others. It deletes the
// manifest first. A crash then leaves an artefact without a manifest, and never a backup
// without its artefact.
func (j *Job) delete(ctx context.Context, decisions []Decision) (deleted []string, err error) {
	var errs []error
	for _, d := range decisions {
		if d.Keep {
			continue
		}
		id := d.Entry.ID
		if err := j.storage.Remove(ctx, id+manifestSuffix); err != nil {
			if !errors.Is(err, ErrRetained) {
				errs = append(errs, err)
			}
			continue
		}
		for _, name := range []string{d.Entry.Manifest.File, id + verifySuffix, id + acceptSuffix} {
			if err := j.storage.Remove(ctx, name); err != nil && !errors.Is(err, ErrRetained) {
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

// unreadLongest returns the copies that are due, the longest unread first. It returns as
// many as are needed to read all copies within readEvery at the current interval of runs.
// It returns at least one, and every copy that would be overdue before the run after the
// next.
func unreadLongest(entries []Entry, now time.Time) []Entry {
	var all []Entry
	var last time.Time // the previous run
	for _, e := range entries {
		if e.Time().After(last) && !e.Time().After(now) {
			last = e.Time()
		}
		if e.Manifest != nil && e.State != Damaged {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil
	}
	sort.SliceStable(all, func(a, b int) bool {
		if !all[a].Verified.Equal(all[b].Verified) {
			return all[a].Verified.Before(all[b].Verified)
		}
		return all[a].Time().Before(all[b].Time())
	})
	gap := min(max(0, now.Sub(last)), readEvery)
	share := int(float64(len(all))*float64(gap)/float64(readEvery)) + 1
	overdue := now.Add(2*gap - readEvery)
	n := 0
	for n < len(all) && (n < share || all[n].Verified.Before(overdue)) {
		n++
	}
	return all[:n]
}

// idTime returns the time in a valid id.
func idTime(id string) time.Time {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil {
		return time.Time{}
	}
	t, _ := time.Parse(stampLayout, parts[2]) // zero for a date that does not exist
	return t
}
