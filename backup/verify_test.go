package backup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flip changes one byte in the middle of a file.
func flip(t *testing.T, folder *Folder, name string) {
	t.Helper()
	path := filepath.Join(folder.Path(), name)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// Whatever the rhythm of the runs, no copy goes unread for longer than 30 days.
func TestEveryCopyIsReadWithin30Days(t *testing.T) {
	t.Parallel()
	for name, rhythm := range map[string]struct {
		every time.Duration
		keep  Policy
	}{
		"daily, kept for a year": {24 * time.Hour, Policy{Daily: 30, Weekly: 20, Monthly: 12}},
		"hourly":                 {time.Hour, Policy{Last: 200}},
		"weekly":                 {7 * 24 * time.Hour, Policy{Last: 60}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The order of reading alone: the stored entries are made up.
			now := time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC)
			var entries []Entry
			most := 0
			for range 300 {
				turn := unreadLongest(entries, now)
				most = max(most, len(turn))
				for _, e := range turn {
					for i := range entries {
						if entries[i].ID == e.ID {
							entries[i].Verified = now
						}
					}
				}
				entries = append([]Entry{{ID: newID("pos", now), State: Good, Verified: now, Manifest: &Manifest{Started: now, Size: 1}}}, entries...)
				policy := rhythm.keep
				require.NoError(t, policy.validate())
				decisions, err := plan(now, entries, policy)
				require.NoError(t, err)
				entries = entries[:0]
				for _, d := range decisions {
					if d.Keep {
						entries = append(entries, d.Entry)
					}
				}
				for _, e := range entries {
					require.LessOrEqual(t, now.Sub(e.Verified), readEvery)
				}
				now = now.Add(rhythm.every)
			}
			assert.Less(t, most, len(entries)/2+2, "no run reads all of them")
		})
	}
}

// A byte that changed in an old copy is found by a run, without a command.
func TestRunsFindDamage(t *testing.T) {
	t.Parallel()
	attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
	require.NoError(t, err)
	j, folder := newTestJob(t, newFake(1), &Options{Targets: []Target{{Name: "attic", Storage: attic}}})
	now := clock(j)
	first := mustBackup(t, j)
	for range 9 {
		*now = now.Add(24 * time.Hour)
		mustBackup(t, j)
	}
	flip(t, attic, first.File)
	var repaired time.Time
	for day := 1; day <= 30 && repaired.IsZero(); day++ {
		*now = now.Add(24 * time.Hour)
		report, err := j.Backup(t.Context())
		require.NoError(t, err, "a damaged copy in a target is replaced by the good one")
		if len(report.Targets[0].Copied) > 1 {
			repaired = *now
		}
	}
	require.False(t, repaired.IsZero(), "the copy in the target was never read")

	flip(t, folder, first.File)
	found := false
	for day := 1; day <= 20 && !found; day++ {
		*now = now.Add(24 * time.Hour)
		if _, err := j.Backup(t.Context()); err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, first.ID)
			stage := new(StageError)
			require.ErrorAs(t, err, &stage)
			require.True(t, stage.Published)
			found = true
		}
	}
	require.True(t, found)
	_, err = j.Check(t.Context(), 26*time.Hour)
	require.ErrorIs(t, err, ErrDamaged)
	*now = now.Add(24 * time.Hour)
	mustBackup(t, j) // a run tells of it once
}
