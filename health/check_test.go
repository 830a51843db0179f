package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// outcomeOf runs a check once through a registry, so that its numbers are
// graded.
func outcomeOf(t *testing.T, c Check) CheckState {
	t.Helper()
	r := newRegistry(t, nil, c)
	_, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return state(t, r, c.Name)
}

func TestBackups(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration, size int64) Backup { return Backup{Time: now.Add(-d), Size: size, Verified: now} }
	older := []Backup{ago(30*time.Hour, 100<<20), ago(54*time.Hour, 90<<20), ago(78*time.Hour, 110<<20)}
	for name, c := range map[string]struct {
		list []Backup
		want Status
		says string
	}{
		"fresh":           {append(older, ago(9*time.Hour, 100<<20)), Pass, "newest is 9 h old, 100.0 MiB"},
		"first one":       {[]Backup{ago(time.Hour, 2048)}, Pass, ""},
		"a day late":      {[]Backup{ago(27*time.Hour, 2048)}, Warn, "27 h"},
		"two days late":   {[]Backup{ago(51*time.Hour, 2048)}, Fail, "2 days"},
		"none":            {nil, Fail, "there is no backup"},
		"empty file":      {append(older, ago(time.Hour, 0)), Fail, "cannot be whole"},
		"half the size":   {append(older, ago(time.Hour, 40<<20)), Warn, "less than half of the usual"},
		"in the future":   {append(older, ago(-time.Hour, 100<<20)), Warn, "1 dated in the future"},
		"all in future":   {[]Backup{ago(-time.Hour, 100<<20)}, Fail, "check the clock"},
		"a little future": {[]Backup{ago(-time.Minute, 2048)}, Pass, ""},
		"unverified":      {[]Backup{{Time: now.Add(-time.Hour), Size: 2048}, {Time: now.Add(-8 * day), Size: 2048}}, Warn, "none verified for 8 days"},
		"not yet due":     {[]Backup{{Time: now.Add(-time.Hour), Size: 2048}, {Time: now.Add(-6 * day), Size: 2048}}, Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) { return c.list, nil }, nil))
			require.Equal(t, c.want, s.Status, s.Output)
			require.Contains(t, s.Output, c.says)
		})
	}
	s := outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) { return nil, errors.New("S3 is away") }, nil))
	require.Equal(t, Fail, s.Status)
	off := &BackupsOptions{VerifyWithin: -1}
	s = outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) {
		return []Backup{{Time: now, Size: 2048}, {Time: now.Add(-90 * day), Size: 2048}}, nil
	}, off))
	require.Equal(t, Pass, s.Status, s.Output)
}

func TestBackupFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pos-1.db.gz", "pos-2.db.gz", "pos-3.db.gz.tmp", ".pos-4.db.gz", "pos-5.db.gz.part", "other.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), make([]byte, 2000), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "pos-6.db.gz"), 0o700))
	list, err := BackupFiles(dir, "pos-*")(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.EqualValues(t, 2000, list[0].Size)
	_, err = BackupFiles(dir+"/nothing", "*")(t.Context())
	require.Error(t, err)
	_, err = BackupFiles(dir, "[")(t.Context())
	require.Error(t, err)
}

func TestGauge(t *testing.T) {
	read := func(v float64) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) { return v, nil }
	}
	o := &GaugeOptions{Limits: Limits{Warn: 100, Fail: 1000}, Unit: "mails"}
	for v, want := range map[float64]Status{0: Pass, 99: Pass, 100: Warn, 1000: Fail, nan(): Fail} {
		require.Equal(t, want, outcomeOf(t, Gauge("q", read(v), o)).Status)
	}
	require.Equal(t, "12000 mails", outcomeOf(t, Gauge("q", read(12000), o)).Output)
	_, err := New([]Check{Gauge("q", read(1), &GaugeOptions{Limits: Limits{Warn: 10, Fail: 5}})}, nil)
	require.ErrorContains(t, err, "fail at 5 before it warns at 10")
	s := outcomeOf(t, Goroutines("g", nil))
	require.Equal(t, Pass, s.Status)
	require.Positive(t, s.Observed[0].Value)
}
