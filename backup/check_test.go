package backup

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clock gives a job a time that a test sets.
func clock(j *Job) *time.Time {
	now := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	j.now = func() time.Time { return now }
	return &now
}

func TestCheckAsksForRestoreTests(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	source := newScratch(7)
	j, _ := newTestJob(t, source, nil)
	now := clock(j)
	check := func() error { _, err := j.Check(t.Context(), 26*time.Hour); return err }

	source.create = errors.New("permission denied to create database")
	m := mustBackup(t, j)
	require.ErrorIs(t, check(), ErrUnproven, "no test could be made")

	source.create = nil
	_, err := j.TestRestore(t.Context(), m.ID)
	require.NoError(t, err)
	require.NoError(t, check())

	// The tests fail from now on: at once, and until one passes.
	source.restore = errors.New("the view refers to a table that is not there")
	*now = now.Add(7 * day)
	_, err = j.Backup(t.Context())
	require.ErrorIs(t, err, ErrVerification)
	require.ErrorIs(t, check(), ErrVerification)
	require.ErrorContains(t, check(), "the view refers to")
	*now = now.Add(day)
	_, err = j.Backup(t.Context())
	require.ErrorIs(t, err, ErrVerification, "it is due until one passes")
	source.restore = nil
	*now = now.Add(day)
	mustBackup(t, j)
	require.NoError(t, check())

	// The right to test is lost: check fails when the last one is too long ago.
	source.create = errors.New("permission denied to create database")
	for range 28 {
		*now = now.Add(day)
		mustBackup(t, j)
		require.NoError(t, check())
	}
	*now = now.Add(day)
	mustBackup(t, j)
	require.ErrorIs(t, check(), ErrUnproven)
	j.opts.RestoreTest.Within = 40 * day
	require.NoError(t, check())

	// Who asks for no tests needs none.
	never, _ := newTestJob(t, newScratch(1), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	mustBackup(t, never)
	_, err = never.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	cannot, _ := newTestJob(t, newFake(1), nil)
	mustBackup(t, cannot)
	_, err = cannot.Check(t.Context(), time.Hour)
	require.NoError(t, err)
}

func TestCheckTellsAll(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newScratch(1), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	now := clock(j)
	first := mustBackup(t, j)
	*now = now.Add(24 * time.Hour)
	mustBackup(t, j)
	flip(t, folder, first.File)
	_, err := j.Verify(t.Context(), first.ID)
	require.ErrorIs(t, err, ErrVerification)
	*now = now.Add(48 * time.Hour)
	_, err = j.Check(t.Context(), 26*time.Hour)
	require.ErrorIs(t, err, ErrStale)
	require.ErrorIs(t, err, ErrDamaged)
	assert.NotContains(t, err.Error(), "\n")
	assert.NotContains(t, err.Error(), "; backup: ")

	mustBackup(t, j)
	require.ErrorContains(t, j.Delete(t.Context(), ""), "name the backup")
	newest, err := j.Find(t.Context(), "")
	require.NoError(t, err)
	require.ErrorContains(t, j.Delete(t.Context(), newest.ID), "newest good")
	require.NoError(t, j.Pin(t.Context(), first.ID, true))
	require.ErrorContains(t, j.Delete(t.Context(), first.ID), "pinned")
	require.NoError(t, j.Pin(t.Context(), first.ID, false))
	require.NoError(t, j.Delete(t.Context(), first.ID))
	_, err = j.Check(t.Context(), 26*time.Hour)
	require.NoError(t, err)
	for _, name := range files(t, folder) {
		assert.NotContains(t, name, first.ID)
	}
}
