package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// The names of the databases of an overwriting restore, of a killed one, and of a restore
// beside the original.
const (
	second = "shop_scratch_20260101t000000_abcdef"
	before = "shop_replaced_20260101t000000_abcdef"
	left   = "shop_scratch_20260101t000000_000000"
	only   = "shop_replaced_20260101t000000_000000"
	copied = "shop_restore_20260101t000000"
)

// placed is a source whose restores create databases.
type placed struct {
	*fakeSource
	there []string // the databases
	fails error    // of a restore
	keeps bool     // a failed restore cannot drop its database
	stuck error    // of Discard
}

func (s *placed) Abilities() driver.Abilities {
	return driver.Abilities{
		Restore: func(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
			if err := o.Creating(ctx, o.Target); err != nil {
				return "", driver.Contents{}, err
			}
			s.there = append(s.there, o.Target)
			return o.Target, s.contents, s.end(ctx, r, o.Target)
		},
		Discard:  func(ctx context.Context, name string) error { return s.drop(name) },
		Original: func(context.Context) (string, error) { return "shop", nil },
		Overwrite: func(ctx context.Context, r io.Reader, o driver.RestoreOptions) (driver.Contents, error) {
			for _, name := range []string{second, before} {
				if err := o.Creating(ctx, name); err != nil {
					return driver.Contents{}, err
				}
				s.there = append(s.there, name)
			}
			if err := o.Touch(ctx); err != nil {
				return driver.Contents{}, err
			}
			err := s.end(ctx, r, second)
			if err == nil {
				s.there = nil
			}
			return s.contents, err
		},
	}
}

func (s *placed) end(_ context.Context, r io.Reader, name string) error {
	if s.fails != nil {
		if s.keeps {
			return errors.Join(s.fails, driver.ErrLeft)
		}
		return errors.Join(s.fails, s.drop(name))
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

func (s *placed) drop(name string) error {
	if s.stuck != nil {
		return s.stuck
	}
	s.there = slices.DeleteFunc(s.there, func(n string) bool { return n == name })
	return nil
}

// interrupted stores the marker of a process that was killed.
func interrupted(t *testing.T, folder *Folder, u UnfinishedRestore) string {
	t.Helper()
	host, err := os.Hostname()
	require.NoError(t, err)
	if u.Host == "" {
		u.Host, u.PID = host, 1<<30
	}
	u.Time = u.Seen
	name := "restoring.pos." + server.RandomDigits() + ".json"
	data, err := seal(name, u, nil)
	require.NoError(t, err)
	path := filepath.Join(folder.Path(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestUnfinishedRestores(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7)}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	m := mustBackup(t, j)
	check := func() error { _, err := j.Check(t.Context(), time.Hour); return err }
	listed := files(t, folder)

	// A restore that succeeds, or fails and cleans up, leaves no marker.
	_, err := j.Restore(t.Context(), m.ID, "copy", nil)
	require.NoError(t, err)
	source.fails = errors.New("a duplicate key")
	_, err = j.Restore(t.Context(), m.ID, "second", nil)
	require.ErrorIs(t, err, source.fails)
	require.NoError(t, check())
	assert.Equal(t, listed, files(t, folder))
	assert.Equal(t, []string{"copy"}, source.there)

	// One that cannot clean up is reported until it is settled.
	source.keeps = true
	_, err = j.Restore(t.Context(), m.ID, "second", nil)
	require.ErrorIs(t, err, driver.ErrLeft)
	require.ErrorIs(t, check(), ErrHalfway)
	require.ErrorContains(t, check(), "so second is incomplete: settle it")
	list, err := j.Settle(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, []string{"second"}, list[0].Left)
	require.NoError(t, check())
	assert.Equal(t, []string{"copy", "second"}, source.there, "nothing was removed")

	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.ErrorIs(t, err, driver.ErrLeft)
	require.ErrorContains(t, check(), "may have left "+second+", "+before+": repeat it, or settle it after you have checked shop")
	source.stuck = errors.New("the server is away")
	_, err = j.Settle(t.Context(), true)
	require.ErrorIs(t, err, source.stuck)
	require.ErrorIs(t, check(), ErrHalfway, "it is still there")

	// The next restore over the same database cleans up.
	source.fails, source.stuck = nil, nil
	source.there = append(source.there, second)
	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.NotErrorIs(t, check(), ErrHalfway)
	require.ErrorIs(t, check(), ErrSuspect, "the newest backup is of the time between the two")
	mustBackup(t, j)
	require.NoError(t, check())
	assert.Empty(t, source.there)
}

func TestMarkersOfOtherProcesses(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7)}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	now := clock(j)
	m := mustBackup(t, j)
	check := func() error { _, err := j.Check(t.Context(), 100*time.Hour); return err }
	host, err := os.Hostname()
	require.NoError(t, err)

	// A living process of this host restores, and so does one of another host.
	running := interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "a", Left: []string{"a"}, Host: host, PID: os.Getpid(), Seen: *now})
	elsewhere := interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "b", Left: []string{"b"}, Host: host + "-other", PID: 1, Seen: *now})
	require.NoError(t, check())
	list, err := j.Settle(t.Context(), true)
	require.NoError(t, err)
	assert.Empty(t, list)
	*now = now.Add(markLimit + time.Second)
	require.ErrorContains(t, check(), "so a is incomplete")
	require.ErrorContains(t, check(), "so b is incomplete")
	require.NoError(t, errors.Join(os.Remove(running), os.Remove(elsewhere)))

	// An interrupted restore over the database, and one whose earlier state is in no backup.
	source.there = []string{left, only}
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Left: []string{left}, Seen: *now})
	require.ErrorContains(t, check(), "was interrupted before it changed shop, and may have left "+left)
	lost := interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Changed: true, Safety: "pos_20200101T000000Z_000000", Left: []string{only}, Seen: *now})
	out, err := j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.Len(t, out.Contents.Warnings, 1)
	assert.Contains(t, out.Contents.Warnings[0], "may have left "+only+", and the backup of the state before is gone")
	require.ErrorIs(t, check(), ErrHalfway)
	require.NoError(t, os.Remove(lost))

	// Two that were interrupted one after the other. The backup in between may hold half a
	// database. Only the first safety backup holds the state before.
	*now = now.Add(time.Second)
	first := mustBackup(t, j)
	*now = now.Add(time.Second)
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Changed: true, Safety: first.ID, Left: []string{only}, Seen: *now})
	half, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect)
	assert.Contains(t, half.Suspect, "was interrupted before this backup, so it may hold half of it (the state before is in "+first.ID)
	source.there, source.fails, source.keeps = []string{only}, driver.ErrHalfway, true
	*now = now.Add(time.Second)
	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.ErrorIs(t, err, driver.ErrHalfway)
	list, err = j.Unfinished(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, first.ID, list[1].Safety)
	source.fails, source.keeps = nil, false
	out, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.Len(t, out.Contents.Warnings, 1)
	assert.Contains(t, out.Contents.Warnings[0], "the state before that one is in "+first.ID)
	require.NotErrorIs(t, check(), ErrHalfway)
	*now = now.Add(time.Second)
	mustBackup(t, j)
	require.NoError(t, check())

	// An incomplete database is in the way of the next restore.
	source.fails = errors.New("the database exists")
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: copied, Left: []string{copied}, Seen: *now})
	_, err = j.Restore(t.Context(), m.ID, copied, nil)
	require.ErrorContains(t, err, "an interrupted restore may have left "+copied+": settle it")
	source.fails = nil
	_, err = j.Settle(t.Context(), true)
	require.NoError(t, err)

	// A marker that cannot be read is one.
	require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), "restoring.pos.x.json"), []byte("{"), 0o600))
	require.ErrorIs(t, check(), ErrHalfway)
	list, err = j.Settle(t.Context(), true)
	require.NoError(t, err)
	assert.Len(t, list, 1)
	require.NoError(t, check())
}

// A job neither reports nor removes what a restore of another job in its storage left.
func TestMarkersOfOtherJobs(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7), there: []string{copied}}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	mustBackup(t, j)
	others := &placed{fakeSource: newFake(7), there: []string{copied}}
	other, err := New("pos-archive", others, folder, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	require.NoError(t, err)
	interrupted(t, folder, UnfinishedRestore{ID: "pos_20260101T000000Z_abcdef", Database: copied, Left: []string{copied}, Seen: time.Now()})
	_, err = other.Check(t.Context(), time.Hour)
	require.NotErrorIs(t, err, ErrHalfway)
	list, err := other.Settle(t.Context(), true)
	require.NoError(t, err)
	assert.Empty(t, list)
	assert.Equal(t, []string{copied}, others.there)
	_, err = j.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, ErrHalfway)
	list, err = j.Settle(t.Context(), true)
	require.NoError(t, err)
	assert.Len(t, list, 1)
	assert.Empty(t, source.there)
}

// A storage that accepts no marker prevents no restore beside the original.
func TestRestoreFromAReadOnlyStorage(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7)}
	j, _ := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	m := mustBackup(t, j)
	j.storage = readOnly{j.storage}
	_, err := j.Restore(t.Context(), m.ID, "copy", nil)
	require.NoError(t, err)
	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.ErrorIs(t, err, errReadOnly)
	assert.Equal(t, []string{"copy"}, source.there)
}

var errReadOnly = errors.New("this key may not write")

type readOnly struct{ Storage }

func (readOnly) Put(context.Context, string, func(io.Writer) error) (int64, error) {
	return 0, errReadOnly
}

func (readOnly) Abilities() Abilities {
	return Abilities{Replace: func(context.Context, string, []byte) error { return errReadOnly }}
}

// A marker is believed no more than its author.
func TestForgedMarkers(t *testing.T) {
	t.Parallel()
	key := []byte("sixteen bytes at least")
	for _, keyed := range []bool{false, true} {
		o := &Options{RestoreTest: RestoreTestOptions{Every: -1}}
		if keyed {
			o.ManifestKey = key
		}
		source := &placed{fakeSource: newFake(7)}
		j, folder := newTestJob(t, source, o)
		m := mustBackup(t, j)
		own := "shop_restore_20260101t000000"
		source.there = []string{"payroll", own}
		at := time.Now().Add(-time.Hour)
		marker := interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Left: []string{"payroll", own}, Seen: at})
		_, err := j.RestoreOver(t.Context(), m.ID, "shop", nil)
		require.NoError(t, err)
		require.FileExists(t, marker)
		source.there = []string{"payroll", own}
		_, err = j.Check(t.Context(), time.Hour)
		require.ErrorIs(t, err, ErrHalfway)
		_, err = j.Settle(t.Context(), true)
		if keyed { // nothing of it counts
			require.NoError(t, err)
			require.Equal(t, []string{"payroll", own}, source.there)
			continue
		}
		require.ErrorContains(t, err, "payroll has a name that an operator chose")
		require.Equal(t, []string{"payroll"}, source.there)
		_, err = j.Settle(t.Context(), false)
		require.NoError(t, err)
	}

	// With the key, a marker may name the database that the operator chose.
	source := &placed{fakeSource: newFake(7), fails: driver.ErrLeft, keeps: true}
	j, _ := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}, ManifestKey: key})
	m := mustBackup(t, j)
	_, err := j.Restore(t.Context(), m.ID, "shop2", nil)
	require.ErrorIs(t, err, driver.ErrLeft)
	_, err = j.Settle(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, source.there)
}

// A marker from the future hides no interrupted restore.
func TestMarkerFromTheFuture(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), nil)
	m := mustBackup(t, j)
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Host: "container-1", PID: 1, Seen: time.Now().AddDate(1, 0, 0)})
	_, err := j.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, ErrHalfway)
}

// Without the key, an attacker accepts no suspect backup and proves no damaged one.
func TestForgedMarks(t *testing.T) {
	t.Parallel()
	source := newFake(1000)
	j, folder := newTestJob(t, source, &Options{ManifestKey: []byte("sixteen bytes at least")})
	mustBackup(t, j)
	source.contents.Tables[0].Rows = 10
	r, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect)
	for _, text := range [][]byte{nil, []byte("2026-01-01T00:00:00Z"), must(seal(r.ID+acceptSuffix, mark{}, nil)), must(seal("pos_20260101T000000Z_abcdef"+acceptSuffix, mark{}, j.opts.ManifestKey))} {
		require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), r.ID+acceptSuffix), text, 0o600))
		e, err := j.Find(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, Suspect, e.State)
	}
	require.NoError(t, j.Accept(t.Context(), r.ID))
	e, err := j.Find(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, Good, e.State)

	flip(t, folder, r.Manifest.File)
	_, err = j.Verify(t.Context(), r.ID)
	require.ErrorIs(t, err, ErrVerification)
	text := must(seal(r.ID+verifySuffix, Verification{ID: r.ID, Time: time.Now(), OK: true}, nil))
	require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), r.ID+verifySuffix), text, 0o600))
	e, err = j.Find(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, Damaged, e.State)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
