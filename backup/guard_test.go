package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// A panic is the error of its stage: it is recorded and reported.
func TestPanics(t *testing.T) {
	t.Parallel()
	boom := func() { panic("boom") }
	attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
	require.NoError(t, err)
	source := newFake(1)
	for name, o := range map[string]*Options{
		"preflight": {Before: func(context.Context) error { boom(); return nil }},
		"dump":      {Trace: &Trace{Progress: func(_ context.Context, p Progress) { panicIn("dump", p.Stage) }}},
		"verify":    {Trace: &Trace{Stage: func(_ context.Context, e StageEvent) { panicIn("verify", e.Stage) }}},
		"replicate": {Targets: []Target{{Name: "attic", Storage: tampered{attic, func(string) bool { boom(); return false }}}}},
	} {
		var told error
		o.After = func(_ context.Context, _ Run, err error) { told = err; boom() }
		j, _ := newTestJob(t, source, o)
		_, err := j.Backup(t.Context())
		var stage *StageError
		require.ErrorAs(t, err, &stage, name)
		require.Equal(t, name, stage.Stage)
		require.ErrorContains(t, err, "boom")
		require.ErrorIs(t, told, err)
		require.Equal(t, name, mustHistory(t, j, 1)[0].Stage)
		require.False(t, j.Stats().Running)
		o.Before, o.Trace, o.After = nil, nil, nil
		j.opts.Before, j.opts.Trace, j.opts.After, j.targets = nil, &Trace{}, nil, nil
		mustBackup(t, j) // the locks are free
	}
}

func panicIn(want, stage string) {
	if stage == want {
		panic("boom")
	}
}

// overwritten is a source with a lock and an overwriting restore.
type overwritten struct {
	*fakeSource
	held, during bool
	lost         error // when the lock is given back
}

func (s *overwritten) Abilities() driver.Abilities {
	able := s.fakeSource.Abilities()
	able.Lock = func(context.Context, string) (func() error, error) {
		if s.held {
			return nil, ErrLocked
		}
		s.held = true
		return func() error { s.held = false; return s.lost }, nil
	}
	able.Original = func(context.Context) (string, error) { return "shop", nil }
	able.Overwrite = func(_ context.Context, r io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
		s.during = s.held
		_, err := io.Copy(io.Discard, r)
		return o.Want, err
	}
	return able
}

// An overwriting restore holds the locks of a run, and no older backup prevents it.
func TestOverwriteIsARun(t *testing.T) {
	t.Parallel()
	source := &overwritten{fakeSource: newFake(1)}
	j, folder := newTestJob(t, source, nil)
	now := clock(j)
	first := mustBackup(t, j)
	*now = now.Add(time.Hour)
	last := mustBackup(t, j)
	*now = now.Add(time.Hour)
	j.storage = badBlocks{folder, map[string]bool{first.File: true}}
	_, err := j.RestoreOver(t.Context(), last.ID, "shop", nil)
	require.NoError(t, err)
	require.True(t, source.during)
	require.False(t, source.held)
	j.storage = badBlocks{folder, map[string]bool{first.ID + manifestSuffix: true}}
	_, err = j.RestoreOver(t.Context(), last.ID, "shop", nil)
	require.NoError(t, err)
	source.held = true // by a run of another host
	_, err = j.RestoreOver(t.Context(), last.ID, "shop", nil)
	require.ErrorIs(t, err, ErrLocked)
}

// A lock of the database that was lost during a run is a warning of the run.
func TestLostLock(t *testing.T) {
	t.Parallel()
	j, _ := newTestJob(t, &overwritten{fakeSource: newFake(1), lost: errors.New("the connection is gone")}, nil)
	r, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Len(t, r.Warnings, 1)
	require.Contains(t, r.Warnings[0], "the connection is gone")
	require.Equal(t, r.Warnings, mustHistory(t, j, 1)[0].Warnings)
}

// otherEngine is a source of another engine.
type otherEngine struct{ *scratchSource }

func (otherEngine) Describe() driver.Description {
	return driver.Description{Engine: "other", Extension: ".bin"}
}

// A backup of another engine is not damaged.
func TestOtherEngine(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newScratch(1), nil)
	m := mustBackup(t, j)
	o := j.opts
	o.RestoreTest = RestoreTestOptions{Every: -1}
	other, err := New("pos", otherEngine{newScratch(1)}, folder, &o)
	require.NoError(t, err)
	_, err = other.Restore(t.Context(), m.ID, "x", nil)
	require.ErrorContains(t, err, "it is a backup of fake, and the source is other")
	_, err = other.TestRestore(t.Context(), m.ID)
	require.ErrorIs(t, err, driver.ErrUntested)
	require.NotErrorIs(t, err, ErrVerification)
	_, err = other.Check(t.Context(), time.Hour)
	require.NoError(t, err)
}

// One night with a wrong clock does not postpone the next read of any copy.
func TestReadAfterAWrongClock(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), &Options{NoRetention: true, Compression: None})
	now := clock(j)
	var first *Manifest
	for range 4 {
		first = mustBackup(t, j)
		*now = now.Add(24 * time.Hour)
	}
	right := *now
	*now = now.AddDate(1, 0, 0)
	wrong := mustBackup(t, j)
	*now = right
	require.NoError(t, j.Delete(t.Context(), wrong.ID))
	flip(t, folder, first.File)
	found := false
	for range 35 {
		_, err := j.Backup(t.Context())
		found = found || errors.Is(err, ErrDamaged)
		*now = now.Add(24 * time.Hour)
	}
	require.True(t, found)
}

// A folder that others may write to is refused by a restore, too.
func TestReadFromAFolderOfOthers(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), nil)
	m := mustBackup(t, j)
	require.NoError(t, os.Chmod(folder.Path(), 0o777))
	_, err := j.Restore(t.Context(), m.ID, "x", nil)
	require.ErrorContains(t, err, "others may write")
	_, err = j.Check(t.Context(), time.Hour)
	require.ErrorContains(t, err, "others may write")
	_, err = folder.Open(t.Context(), m.File)
	require.ErrorContains(t, err, "others may write")
}

// A manifest that is a link is not read, and its artefact stays.
func TestLinkedManifest(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), nil)
	m := mustBackup(t, j)
	path := filepath.Join(folder.Path(), m.ID+manifestSuffix)
	elsewhere := filepath.Join(t.TempDir(), "m.json")
	for _, target := range []string{elsewhere, "nowhere"} {
		if target == elsewhere {
			require.NoError(t, os.Rename(path, elsewhere))
		} else {
			require.NoError(t, os.Remove(path))
		}
		require.NoError(t, os.Symlink(target, path))
		old := time.Now().Add(-48 * time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(folder.Path(), m.File), old, old))
		r, err := j.Backup(t.Context())
		require.NoError(t, err)
		require.Empty(t, r.Swept)
		require.Contains(t, r.Warnings[0], "is no regular file")
		require.FileExists(t, filepath.Join(folder.Path(), m.File))
	}
}

// uncomparable is a storage of a type whose values cannot be compared.
type uncomparable struct {
	Storage
	_ []syscall.Errno
}

func TestUncomparableStorage(t *testing.T) {
	t.Parallel()
	folder, err := NewFolder(filepath.Join(t.TempDir(), "backups"))
	require.NoError(t, err)
	for _, history := range []Storage{nil, uncomparable{Storage: folder}} {
		j, err := New("pos", newFake(1), uncomparable{Storage: folder}, &Options{Logger: silent, History: history})
		require.NoError(t, err)
		mustBackup(t, j)
		require.NotEmpty(t, mustHistory(t, j, 1))
	}
}
