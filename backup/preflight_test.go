package backup

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// pickySource refuses in its preflight.
type pickySource struct {
	*fakeSource
	refuses error
}

func (s pickySource) Abilities() driver.Abilities { return driver.Abilities{Preflight: s.preflight} }

func (s pickySource) preflight(context.Context) ([]string, error) {
	return []string{"MyISAM"}, s.refuses
}

// Preflight says what a run would say, and leaves everything as it is.
func TestPreflight(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, pickySource{newFake(1), nil}, &Options{Before: func(context.Context) error { return errors.New("called") }})
	warnings, err := j.Preflight(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"MyISAM"}, warnings)
	assert.Empty(t, files(t, folder))

	unlock, err := folder.Abilities().Lock(t.Context())
	require.NoError(t, err)
	_, err = j.Preflight(t.Context())
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, unlock())

	refused := errors.New("a grant is missing")
	picky, _ := newTestJob(t, pickySource{newFake(1), refused}, nil)
	_, err = picky.Preflight(t.Context())
	require.ErrorIs(t, err, refused)
	_, err = picky.Backup(t.Context())
	require.ErrorIs(t, err, refused)

	require.NoError(t, os.Chmod(folder.Path(), 0o777))
	_, err = j.Preflight(t.Context())
	require.ErrorContains(t, err, "chmod go-w")
}

// The clock jumps ahead and back: runs go on, say so, and delete nothing until the clock
// has caught up.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	j, _ := newTestJob(t, newFake(1), &Options{Retention: Policy{Last: 1, MinKeep: 1, Force: true}})
	now := retainNow
	j.now = func() time.Time { return now }
	mustBackup(t, j)
	now = retainNow.AddDate(5, 0, 0)
	ahead := mustBackup(t, j) // and the one before is gone, as it should be
	now = retainNow.Add(time.Hour)
	for range 3 {
		now = now.Add(24 * time.Hour)
		report, err := j.Backup(t.Context())
		require.ErrorIs(t, err, ErrSuspended)
		require.NotNil(t, report.Manifest)
		require.Empty(t, report.Deleted)
		require.Contains(t, strings.Join(report.Warnings, ";"), ahead.ID+", is from the future")
	}
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 4)
	_, err = j.Check(t.Context(), 26*time.Hour)
	require.ErrorContains(t, err, "check the clock")
	now = retainNow.AddDate(5, 0, 1)
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Len(t, report.Deleted, 4)
}

// The hooks of a run: Before after all that could fail early, After in any case.
func TestHooks(t *testing.T) {
	t.Parallel()
	var calls []string
	var refuse error
	source := newFake(1)
	j, folder := newTestJob(t, source, &Options{
		Before: func(context.Context) error { calls = append(calls, "before"); return refuse },
		After: func(ctx context.Context, r Run, err error) {
			calls = append(calls, "after")
			assert.Equal(t, err == nil, r.Manifest != nil)
			assert.NoError(t, ctx.Err())
		},
	})
	mustBackup(t, j)
	refuse = errors.New("the till is open")
	_, err := j.Backup(t.Context())
	require.ErrorIs(t, err, refuse)
	require.Equal(t, []string{"before", "after", "before", "after"}, calls)
	unlock, err := folder.Abilities().Lock(t.Context())
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, unlock())
	require.Len(t, calls, 4)
}
