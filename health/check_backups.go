package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Backup is the information about one backup that [Backups] needs.
type Backup struct {
	// Time is when the backup was made.
	Time time.Time
	// Size is in bytes.
	Size int64
	// Verified is when it was last read back without an error; zero = never.
	Verified time.Time
	// Restored is when it was last restored in a restore test; zero = never.
	Restored time.Time
}

// BackupsOptions tune [Backups]. The zero value and nil work.
type BackupsOptions struct {
	// Timeout of a run. Default: 10 s.
	Timeout time.Duration
	// WarnAge and FailAge are limits for the age of the newest backup.
	// Default: 26 h and 50 h, which suit a daily backup.
	WarnAge, FailAge time.Duration
	// MinSize is the smallest plausible size of the newest backup. Default: 1 KiB.
	MinSize int64
	// VerifyWithin is the time without a verified backup that warns. Negative never
	// warns. Default: 7 days.
	VerifyWithin time.Duration
	// RestoreWithin is the time without a restore test that warns. Default: 0, which
	// never warns. Use 35 days for weekly tests.
	RestoreWithin time.Duration
}

const clockTolerance = 5 * time.Minute

// Backups returns a check of the backups that list returns. It checks that there is a
// backup, its age, its size against the median of the five before it, and the age of
// the last verification. It is not critical, because a service without a fresh backup
// still serves. It runs every 5 minutes.
func Backups(name string, list func(ctx context.Context) ([]Backup, error), opts *BackupsOptions) Check {
	var o BackupsOptions
	if opts != nil {
		o = *opts
	}
	o.WarnAge = cmp.Or(o.WarnAge, 26*time.Hour)
	o.FailAge = cmp.Or(o.FailAge, 50*time.Hour)
	o.MinSize = cmp.Or(o.MinSize, 1<<10)
	o.VerifyWithin = cmp.Or(o.VerifyWithin, 7*24*time.Hour)
	return Check{
		Name: name, Type: "component", Shared: true,
		Timeout: cmp.Or(o.Timeout, 10*time.Second), Interval: 5 * time.Minute,
		Checker: &backupsCheck{list: list, opts: o},
	}
}

// BackupFiles returns a list for [Backups]. It lists the files of a folder whose names
// match a pattern of path/filepath ("*" for all). Hidden files and unfinished files
// (.tmp, .part, .partial) do not count.
func BackupFiles(dir, pattern string) func(ctx context.Context) ([]Backup, error) {
	return func(context.Context) ([]Backup, error) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		var found []Backup
		for _, e := range entries {
			name := e.Name()
			matched, err := filepath.Match(pattern, name)
			if err != nil {
				return nil, err
			}
			if !matched || strings.HasPrefix(name, ".") ||
				slices.Contains([]string{".tmp", ".part", ".partial"}, filepath.Ext(name)) {
				continue
			}
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue // rotated away since the listing, or not a backup
			}
			found = append(found, Backup{Time: info.ModTime(), Size: info.Size()})
		}
		return found, nil
	}
}

type backupsCheck struct {
	list func(ctx context.Context) ([]Backup, error)
	opts BackupsOptions
}

func (b *backupsCheck) Validate() error {
	switch {
	case b.list == nil:
		return errors.New("the function that lists the backups is nil")
	case b.opts.WarnAge < 0 || b.opts.FailAge < b.opts.WarnAge:
		return fmt.Errorf("WarnAge %v and FailAge %v: use positive ages, the second not smaller", b.opts.WarnAge, b.opts.FailAge)
	case b.opts.MinSize < 0 || b.opts.RestoreWithin < 0:
		return errors.New("MinSize and RestoreWithin must not be negative")
	}
	return nil
}

func (b *backupsCheck) Check(ctx context.Context) Result {
	all, err := b.list(ctx)
	if err != nil {
		return Failed("cannot list the backups", err)
	}
	return b.judge(all, time.Now())
}

func (b *backupsCheck) judge(all []Backup, now time.Time) Result {
	past := slices.DeleteFunc(slices.Clone(all), func(x Backup) bool { return x.Time.After(now.Add(clockTolerance)) })
	future := len(all) - len(past)
	if len(past) == 0 {
		if future > 0 {
			return Failed(fmt.Sprintf("all %d backups are dated in the future: check the clock", future), nil)
		}
		return Failed("there is no backup", nil)
	}
	slices.SortFunc(past, func(x, y Backup) int { return y.Time.Compare(x.Time) })
	newest := past[0]
	age := max(0, now.Sub(newest.Time))
	res := Result{
		Status:  Pass,
		Summary: fmt.Sprintf("newest is %s old, %s", roughly(age), bytesText(newest.Size)),
		Observed: []Measurement{
			{Name: "age", Value: age.Hours(), Unit: "h", Limits: Limits{Warn: b.opts.WarnAge.Hours(), Fail: b.opts.FailAge.Hours()}},
			{Name: "size", Value: float64(newest.Size), Unit: "bytes"},
			{Name: "count", Value: float64(len(past)), Unit: "backups"},
		},
	}
	worsen := func(s Status, why string) {
		res.Status = max(res.Status, s)
		res.Summary += "; " + why
	}
	if newest.Size < b.opts.MinSize {
		worsen(Fail, fmt.Sprintf("smaller than %s, so it cannot be whole", bytesText(b.opts.MinSize)))
	} else if median := medianSize(past[1:]); float64(newest.Size) < float64(median)/2 {
		worsen(Warn, fmt.Sprintf("less than half of the usual %s", bytesText(median)))
	}
	if future > 0 {
		worsen(Warn, fmt.Sprintf("%d dated in the future: check the clock", future))
	}
	if since := longestSince(past, now, func(x Backup) time.Time { return x.Verified }); b.opts.VerifyWithin > 0 && since > b.opts.VerifyWithin {
		worsen(Warn, "none verified for "+roughly(since))
	}
	if since := longestSince(past, now, func(x Backup) time.Time { return x.Restored }); b.opts.RestoreWithin > 0 && since > b.opts.RestoreWithin {
		worsen(Warn, "none restored for a trial for "+roughly(since))
	}
	return res
}

// medianSize is the median of at most five older backups. It is 0 without older
// backups.
func medianSize(older []Backup) int64 {
	var sizes []int64
	for _, x := range older[:min(5, len(older))] {
		sizes = append(sizes, x.Size)
	}
	if len(sizes) == 0 {
		return 0
	}
	slices.Sort(sizes)
	return sizes[len(sizes)/2]
}

// longestSince is the time since the last event of this kind, or since the oldest
// backup if there was no such event.
func longestSince(past []Backup, now time.Time, of func(Backup) time.Time) time.Duration {
	last := past[len(past)-1].Time
	for _, x := range past {
		if of(x).After(last) {
			last = of(x)
		}
	}
	return now.Sub(last)
}

// bytesText writes a size in binary units: "12.3 GiB".
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 5 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}
