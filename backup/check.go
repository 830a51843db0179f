package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
)

// Problem is one result of [Job.Check]. It wraps Kind.
type Problem struct {
	// Kind is one of the errors that Check lists.
	Kind error
	// Text names the backups, databases or targets, and the next step.
	Text string
}

func (p Problem) Error() string { return p.Kind.Error() + ": " + p.Text }

// Unwrap returns the kind.
func (p Problem) Unwrap() error { return p.Kind }

// Problems is the error of [Job.Check]: at least one problem, at most one of each kind, the
// most urgent first. [errors.Is] with a kind reports whether a problem of that kind is among
// them, and not that it is the only one.
type Problems []Problem

func (p Problems) Error() string {
	var text []string
	for i, one := range p {
		if t := one.Error(); i > 0 {
			text = append(text, strings.TrimPrefix(t, "backup: "))
		} else {
			text = append(text, t)
		}
	}
	return strings.Join(text, "; ")
}

// Unwrap returns the problems.
func (p Problems) Unwrap() []error {
	var list []error
	for _, one := range p {
		list = append(list, one)
	}
	return list
}

// add adds a problem, if there are texts.
func (p *Problems) add(kind error, texts ...string) {
	if len(texts) > 0 {
		*p = append(*p, Problem{kind, strings.Join(texts, "; ")})
	}
}

// clockSlack is the difference between clocks that is no problem.
const clockSlack = time.Minute

// Check returns nil if the newest good backup is not older than maxAge and all configured
// checks have passed. Otherwise its error is of type [Problems], with these kinds:
//
//   - ErrHalfway: a restore was interrupted. [Job.Settle] cleans up after it.
//   - ErrStale: the newest good backup is too old, or there is none.
//   - ErrVerification: the newest restore test failed.
//   - ErrDamaged: a stored backup or its manifest is damaged. [Job.Delete] removes it.
//   - ErrNoIdentity: no identity in the options opens the newest good backup.
//   - ErrUnproven: no restore test has passed within RestoreTestOptions.Within.
//   - ErrSuspect: the newest backup is suspect. [Job.Accept] makes it a good one.
//   - ErrTarget: the last run did not bring a target up to date.
//
// Any other error means that the storage could not be read. Check looks at stored files. It
// does not check whether a process runs.
func (j *Job) Check(ctx context.Context, maxAge time.Duration) (Status, error) {
	s, entries, err := j.status(ctx)
	if err != nil {
		return s, err
	}
	now := j.now()
	var found Problems
	var unfinished []string
	for i := range s.Unfinished {
		unfinished = append(unfinished, s.Unfinished[i].String())
	}
	found.add(ErrHalfway, unfinished...)
	age, ok := s.Age(now)
	switch {
	case !ok:
		found.add(ErrStale, "there is none"+in(j.storage))
	case age > maxAge:
		found.add(ErrStale, fmt.Sprintf("the newest good one, %s, is %v old", s.Newest.ID, age.Truncate(time.Minute)))
	case age < -clockSlack:
		found.add(ErrStale, fmt.Sprintf("the newest one, %s, is from the future: check the clock; if it was wrong before, delete that backup", s.Newest.ID))
	}
	if tested := newest(entries, Entry.tested); tested != nil && !tested.RestoreTest.OK {
		found.add(ErrVerification, fmt.Sprintf("%s failed its restore test: %s", tested.ID, tested.RestoreTest.Problem))
	}
	found.add(ErrDamaged, brokenOnes(entries)...)
	if ok && !j.opens(ctx, s.Newest.Manifest) {
		found.add(ErrNoIdentity, "the given identity does not open "+s.Newest.ID)
	}
	if within, asked := j.opts.RestoreTest.limit(); asked && ok {
		switch since := now.Sub(s.Restored); {
		case s.Restored.IsZero():
			found.add(ErrUnproven, "none has passed yet: see the warnings of the last run, or make one (verify --restore)")
		case since > within:
			found.add(ErrUnproven, fmt.Sprintf("the last one that passed was %d days ago, and %d are allowed", int(since.Hours()/24), int(within.Hours()/24)))
		}
	}
	if first := newest(entries, func(e Entry) bool { return e.Manifest != nil }); first != nil && first.State == Suspect {
		found.add(ErrSuspect, first.ID+": "+first.Problem)
	}
	found.add(ErrTarget, j.behind(s)...)
	if len(found) == 0 {
		return s, nil
	}
	return s, found
}

// brokenOnes describes the damaged backups.
func brokenOnes(entries []Entry) (list []string) {
	for _, e := range entries {
		if e.broken() {
			list = append(list, e.ID+": "+strings.TrimPrefix(e.Problem, "backup: "))
		}
	}
	return list
}

// behind describes the targets that the last run did not bring up to date.
func (j *Job) behind(s Status) (list []string) {
	if s.Last == nil {
		return nil
	}
	for _, o := range s.Last.Targets {
		if o.OK || !slices.Contains(j.Targets(), o.Name) { // removed from the options
			continue
		}
		text := "target " + o.Name
		if !o.FailingSince.IsZero() {
			text += ", since " + o.FailingSince.Format(time.RFC3339)
		}
		list = append(list, text+": "+o.Error)
	}
	return list
}

// opens reports whether the identities open a backup, as far as they are given. It reads the
// beginning of the artefact.
func (j *Job) opens(ctx context.Context, m *Manifest) bool {
	if m.Encryption == "" || len(j.opts.Identities) == 0 {
		return true
	}
	file, err := j.storage.Open(ctx, m.File)
	if err != nil {
		return true // another problem, which the next read of the artefact reports
	}
	defer file.Close()
	_, err = age.Decrypt(file, j.opts.Identities...)
	return !errors.As(err, new(*age.NoIdentityMatchError))
}
