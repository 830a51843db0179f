package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Options configure a [Job]. The zero value and nil are valid.
type Options struct {
	// Compression of the artefacts. Default: Zstd.
	Compression Compression
	// Recipients encrypt the artefacts with age. This host then needs no key that opens
	// them. Default: not encrypted.
	Recipients []age.Recipient
	// Identities open encrypted artefacts, to verify and restore them. Default: nil.
	// Without them, only the checksum of an encrypted artefact is verified.
	Identities []age.Identity
	// ManifestKey authenticates the manifests. An attacker with write access to a storage
	// then cannot add or change a backup unnoticed. A manifest with another key or without
	// one is listed as unknown, never restored and never deleted. Set the key from the
	// first backup on, and store a copy elsewhere. It has at least 16 bytes. Default: not
	// authenticated.
	ManifestKey []byte
	// Retention says which backups to keep. Default: the last 30 days, and at least 3.
	Retention Policy
	// NoRetention keeps all backups. Default: false.
	NoRetention bool
	// SkipVerify turns off three checks: reading a new backup back, restoring it, and
	// reading older backups again. Default: false.
	SkipVerify bool
	// RestoreTest says when and how to test backups by restoring them into a scratch database.
	// Default: weekly, if the source can, by counting the rows.
	RestoreTest RestoreTestOptions
	// Targets are additional storages. Every good backup is copied to each of them. An
	// unreachable target stops neither the backup nor the retention of the job's own
	// storage. The next run copies the missing backups. Default: nil.
	Targets []Target
	// History is the storage of the job's history. No other job may use it. A folder of
	// this host also records a run that fails because of the job's own storage. Default:
	// the job's own storage.
	History Storage
	// Before is called in each run between the preflight and the dump. Its error ends the
	// run. Default: nil.
	Before func(ctx context.Context) error
	// After is called at the end of each run, good or failed, except when another run holds
	// the lock. The lock is still held during the call. Default: nil.
	After func(ctx context.Context, r Run, err error)
	// Timeout is the maximum duration of a run. Default: 6 h.
	Timeout time.Duration
	// Logger receives a message for each stage. Default: slog.Default().
	Logger *slog.Logger
	// Trace receives events of the run. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks. A nil hook is skipped. Hooks run in the goroutine of the run.
type Trace struct {
	// Stage is called when a stage ends.
	Stage func(context.Context, StageEvent)
	// Progress is called when a stage starts, and at most five times a second while a dump
	// is written.
	Progress func(context.Context, Progress)
	// Target is called after the replicate stage has finished with a target, whether or not
	// it failed.
	Target func(context.Context, TargetOutcome)
}

// StageEvent describes the end of one stage of a run.
type StageEvent struct {
	ID    string        // of the backup
	Stage string        // as in StageError
	Took  time.Duration // duration of the stage
	Err   error         // nil if the stage succeeded
}

// Job backs up one source into one storage. Its methods are safe for concurrent use. Only
// one backup runs at a time: among all processes that share the storage if it has
// [Abilities].Lock, and among all hosts that share the source if the source can lock.
type Job struct {
	name    string
	source  driver.Source
	storage Storage
	targets []*target
	opts    Options
	home    *Job             // the original job, if this job is for a target; nil otherwise
	safety  bool             // the job of a safety backup, which reads no older copies
	now     func() time.Time // set by tests, for clock changes
	pause   time.Duration    // before a dump is retried

	counters *counters
}

// New returns a job. name is a letter or digit, followed by up to 62 letters, digits and
// dashes. Each storage holds the files of one job. A run rejects a storage with files of
// another job. opts may be nil.
func New(name string, source driver.Source, storage Storage, opts *Options) (*Job, error) {
	j := &Job{name: name, source: source, storage: storage, now: time.Now, pause: dumpPause, counters: &counters{}}
	if opts != nil {
		j.opts = *opts
	}
	var err error
	if j.opts.Compression, err = ParseCompression(string(j.opts.Compression)); err != nil {
		return nil, err
	}
	j.opts.Timeout = cmp.Or(j.opts.Timeout, 6*time.Hour)
	j.opts.Logger = cmp.Or(j.opts.Logger, slog.Default())
	j.opts.Trace = cmp.Or(j.opts.Trace, &Trace{})
	switch {
	case !jobName.MatchString(name):
		return nil, fmt.Errorf("backup: the job's name %q must be of a-z, 0-9 and dashes, at most 63, and begin with no dash", name)
	case source == nil || storage == nil:
		return nil, errors.New("backup: New needs a source and a storage")
	case j.opts.ManifestKey != nil && len(j.opts.ManifestKey) < 16:
		return nil, errors.New("backup: a ManifestKey of less than 16 bytes can be guessed; leave it nil for manifests that are not authenticated")
	case j.opts.Timeout < 0:
		return nil, errors.New("backup: Timeout is negative")
	}
	if err := j.opts.Retention.validate(); err != nil {
		return nil, err
	}
	if err := j.opts.RestoreTest.validate(source); err != nil {
		return nil, err
	}
	if j.targets, err = newTargets(j.opts.Targets); err != nil {
		return nil, err
	}
	j.excludeStorages()
	return j, nil
}

// excludeStorages leaves the folders of all storages out of the dumps.
func (j *Job) excludeStorages() {
	exclude := j.source.Abilities().Exclude
	if exclude == nil {
		return
	}
	storages := []Storage{j.storage}
	for _, t := range j.targets {
		storages = append(storages, t.Storage)
	}
	if j.opts.History != nil {
		storages = append(storages, j.opts.History)
	}
	for _, s := range storages {
		if folder := s.Abilities().Folder; folder != "" {
			exclude(folder)
		}
	}
}

// Name returns the job's name.
func (j *Job) Name() string { return j.name }

// StageError reports the stage in which a run failed, and whether a backup was published.
type StageError struct {
	Stage     string // a field of StageCounts in lower case, such as "dump"
	Published bool   // the new backup exists
	Err       error  // the cause, never nil
}

func (e *StageError) Error() string {
	cause := strings.TrimPrefix(e.Err.Error(), "backup: ")
	if e.Published {
		return fmt.Sprintf("backup: the backup is published, but %s failed: %s", e.Stage, cause)
	}
	return fmt.Sprintf("backup: %s failed, and nothing was published: %s", e.Stage, cause)
}

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// ErrSuspect means that the published backup differs unusually from earlier ones. Retention
// is suspended until an operator accepts it with [Job.Accept].
var ErrSuspect = errors.New("backup: the new backup is suspect")

// Backup makes one backup. Its stages are lock, sweep, preflight, dump, publish, verify,
// scrub, replicate and retain. A failed stage ends the run, except scrub and replicate. The
// run continues after a failure of these two, and the error says that the backup is
// published.
//
// The scrub stage reads a share of the older copies again, so that regular runs read each
// copy once in 30 days. It compares checksums and needs no identity.
//
// Errors are of type *StageError. The Run is also valid if there is an error.
func (j *Job) Backup(ctx context.Context) (Run, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, j.opts.Timeout, fmt.Errorf("backup: it took longer than %v", j.opts.Timeout))
	defer cancel()
	run := &run{Job: j, id: newID(j.name, j.now()), started: j.now()}
	run.report.ID, run.report.Time = run.id, run.started.UTC()
	if hook := j.opts.Trace.Progress; hook != nil {
		run.progress = &progress{hook: func(p Progress) { hook(ctx, p) }, now: Progress{ID: run.id}}
	}
	j.counters.begin()
	err := run.locked(ctx)
	return run.report, err
}

// run is the state of one running backup.
type run struct {
	*Job
	id      string
	started time.Time
	report  Run
	before  []Entry
	dumped  *Manifest // complete and stored, before publication

	stages   []RunStage
	progress *progress // nil without a hook
}

func (r *run) locked(ctx context.Context) error {
	var held locks
	err := r.guard(ctx, func(ctx context.Context) (err error) { held, err = r.lock(ctx); return err })
	if err != nil {
		err := r.stage(ctx, "lock", r.started, err)
		r.record(ctx, err)
		return err
	}
	defer held.release(ctx, r.Job)
	err = r.all(ctx)
	// A lock of the database that was lost concerns this run. The lock of the storage protects
	// the record.
	if lost := held.releaseSource(); lost != nil {
		r.warn(ctx, "a lock could not be given back: "+strings.TrimPrefix(oneLine(lost), "backup: "))
	}
	r.record(ctx, err)
	if r.opts.After != nil {
		_ = r.guard(ctx, func(ctx context.Context) error {
			r.opts.After(context.WithoutCancel(ctx), r.report, err)
			return nil
		})
	}
	return err
}

// guard turns a panic of a source, a storage or a hook into an error, so that the run is
// recorded and reported.
func (r *run) guard(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("it panicked: %v", v)
			r.opts.Logger.ErrorContext(ctx, "backup: a panic", "job", r.name, "id", r.id, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return do(ctx)
}

// warn adds a warning to the report.
func (r *run) warn(ctx context.Context, text string) {
	r.report.Warnings = append(r.report.Warnings, text)
	r.opts.Logger.WarnContext(ctx, "backup: "+text, "job", r.name, "id", r.id)
}

// record stores the outcome of the run for other processes.
func (r *run) record(ctx context.Context, outcome error) {
	ctx = context.WithoutCancel(ctx)
	r.finish(outcome)
	if errors.Is(outcome, errShared) && sameStorage(r.historyStorage(), r.storage) { // the files are those of the other job
		r.counters.end(r.report, false)
		return
	}
	r.note(ctx, r, outcome)
	r.remember(ctx, errors.Is(outcome, ErrLocked))
}

func (r *run) all(ctx context.Context) error {
	var late *StageError // error of a stage that does not end the run
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"sweep", r.sweep},
		{"preflight", r.preflight},
		{"dump", r.dump},
		{"publish", r.publish},
		{"verify", r.verify},
		{"scrub", r.scrub},
		{"replicate", r.replicate},
		{"retain", r.retain},
	} {
		start := time.Now()
		err := r.stage(ctx, s.name, start, r.guard(ctx, func(ctx context.Context) error {
			r.progress.stage(s.name)
			return s.do(ctx)
		}))
		switch {
		case err == nil:
		case ctx.Err() == nil && late == nil && (s.name == "scrub" || s.name == "replicate"):
			late = err
		case late != nil:
			late.Err = errors.Join(late.Err, fmt.Errorf("%s: %w", s.name, err.Err))
			if s.name != "replicate" || ctx.Err() != nil {
				return late
			}
		default:
			return err
		}
	}
	if late != nil {
		return late
	}
	return nil
}

// locks are the locks of a run. A nil function is no lock.
type locks struct{ storage, source func() error }

// lock takes the lock of the storage, and then of the source, which other hosts may use.
func (j *Job) lock(ctx context.Context) (held locks, err error) {
	if held.storage, err = j.lockStorage(ctx); err != nil {
		return locks{}, err
	}
	err = j.alone(ctx)
	if lock := j.source.Abilities().Lock; err == nil && lock != nil {
		held.source, err = lock(ctx, j.name)
	}
	if err != nil {
		held.source = nil
		held.release(ctx, j)
		return locks{}, err
	}
	return held, nil
}

func (l *locks) releaseSource() error {
	if l.source == nil {
		return nil
	}
	unlock := l.source
	l.source = nil
	return unlock()
}

// release gives all locks back. The end of the process also frees them.
func (l *locks) release(ctx context.Context, j *Job) {
	err := l.releaseSource()
	if l.storage != nil {
		err = errors.Join(err, l.storage())
		l.storage = nil
	}
	if err != nil {
		j.opts.Logger.WarnContext(ctx, "backup: a lock could not be given back", "job", j.name, "error", err)
	}
}

// errShared means that the storage holds files of another job.
var errShared = errors.New("backup: two jobs in one storage would overwrite each other's status and history")

// alone rejects a storage with files of another job.
func (j *Job) alone(ctx context.Context) error {
	objects, err := j.objects(ctx)
	if err != nil {
		return err
	}
	var ids []string
	if last := j.lastAttempt(ctx); last != nil {
		ids = append(ids, last.ID)
	}
	for _, o := range objects {
		id, _, _ := strings.Cut(o.Name, ".")
		ids = append(ids, id)
	}
	for _, id := range ids {
		if other := j.other(id); other != "" {
			return fmt.Errorf("%w: the storage%s holds files of the job %s: give the job %s its own storage, or move these files", errShared, in(j.storage), other, j.name)
		}
	}
	return nil
}

// other returns the name of another job that an id belongs to, or "".
func (j *Job) other(id string) string {
	if parts := idForm.FindStringSubmatch(id); parts != nil && parts[1] != j.name {
		return parts[1]
	}
	return ""
}

func (r *run) stage(ctx context.Context, name string, start time.Time, err error) *StageError {
	took := time.Since(start)
	r.stages = append(r.stages, RunStage{name, err == nil, took.Milliseconds()})
	if hook := r.opts.Trace.Stage; hook != nil {
		failed := r.guard(ctx, func(ctx context.Context) error {
			hook(ctx, StageEvent{ID: r.id, Stage: name, Took: took, Err: err})
			return nil
		})
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		published := r.report.Manifest != nil
		r.opts.Logger.ErrorContext(ctx, "backup: a stage failed", "job", r.name, "id", r.id, "stage", name, "published", published, "error", err)
		return &StageError{Stage: name, Published: published, Err: err}
	}
	r.opts.Logger.DebugContext(ctx, "backup: stage done", "job", r.name, "id", r.id, "stage", name, "took", took)
	return nil
}

// leftoverAge is the age after which a leftover is removed.
const leftoverAge = 24 * time.Hour

// sweep removes leftovers of crashes: partial files, and artefacts without a manifest. The
// lock keeps other writers out. A leftover that cannot be removed prevents no backup.
func (r *run) sweep(ctx context.Context) error {
	swept, err := r.sweepBefore(ctx, r.started.Add(-leftoverAge))
	r.report.Swept = append(r.report.Swept, swept...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.warn(ctx, "leftovers of interrupted runs could not be removed: "+strings.TrimPrefix(oneLine(err), "backup: "))
	return nil
}

func (j *Job) sweepBefore(ctx context.Context, before time.Time) (swept []string, err error) {
	if sweep := j.storage.Abilities().Sweep; sweep != nil {
		if swept, err = sweep(ctx, before); err != nil {
			return swept, err
		}
	}
	objects, err := j.storage.List(ctx)
	if err != nil {
		return swept, err
	}
	manifests := make(map[string]bool)
	for _, o := range objects {
		if id := stem(j.name, o.Name); id != "" && o.Name == id+manifestSuffix {
			manifests[id] = true
		}
	}
	var unsure []error
	for _, o := range objects {
		id := stem(j.name, o.Name)
		if id == "" || manifests[id] || !o.Modified.Before(before) {
			continue
		}
		// The listing may leave out a manifest that exists, for example a link.
		if _, err := j.readFile(ctx, id+manifestSuffix); !errors.Is(err, ErrNotFound) {
			unsure = append(unsure, fmt.Errorf("%s: its manifest is not listed: %w", o.Name, cmp.Or(err, errors.New("it exists"))))
			continue
		}
		if err := j.storage.Remove(ctx, o.Name); err != nil {
			return swept, err
		}
		swept = append(swept, o.Name)
	}
	return swept, errors.Join(unsure...)
}

func (c *counters) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

// lockStorage takes the lock of the storage, if it has one.
func (j *Job) lockStorage(ctx context.Context) (unlock func() error, err error) {
	if lock := j.storage.Abilities().Lock; lock != nil {
		return lock(ctx)
	}
	return func() error { return nil }, nil
}

var jobName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// newID returns the name of a new backup: the job, the time, and six random digits. Two
// runs within one second therefore have two names.
func newID(job string, now time.Time) string {
	return job + "_" + now.UTC().Format(server.Stamp) + "_" + server.RandomDigits()
}

var idForm = regexp.MustCompile(`^([a-z0-9][a-z0-9-]{0,62})_(\d{8}T\d{6}Z)_([0-9a-f]{6})$`)

// checkID rejects an id that is not a valid backup name of the job, because it becomes part
// of file names.
func checkID(job, id string) error {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil || parts[1] != job {
		return fmt.Errorf("%w: %q is not a backup of the job %s", ErrNotFound, id, job)
	}
	return nil
}

// The files of one backup start with its id.
const (
	manifestSuffix = ".json"
	verifySuffix   = ".verify.json"
	testSuffix     = ".restoretest.json"
	pinSuffix      = ".pin"
	acceptSuffix   = ".accepted"
)

// stem returns the id of the backup that a file belongs to, or "".
func stem(job, name string) string {
	id, _, _ := strings.Cut(name, ".")
	if checkID(job, id) != nil {
		return ""
	}
	return id
}
