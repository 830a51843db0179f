package backup

import (
	"context"
	"encoding/json"
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
			for _, name := range []string{"shop_second", "shop_before"} {
				if err := o.Creating(ctx, name); err != nil {
					return driver.Contents{}, err
				}
				s.there = append(s.there, name)
			}
			if err := o.Touch(ctx); err != nil {
				return driver.Contents{}, err
			}
			err := s.end(ctx, r, "shop_second")
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
	data, err := json.Marshal(u)
	require.NoError(t, err)
	path := filepath.Join(folder.Path(), "restoring.pos."+randomDigits()+".json")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestUnfinishedRestores(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7)}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	m := mustBackup(t, j)
	check := func() error { _, err := j.Check(t.Context(), time.Hour); return err }
	before := files(t, folder)

	// A restore that succeeds, or fails and cleans up, leaves no marker.
	_, err := j.Restore(t.Context(), m.ID, "copy", nil)
	require.NoError(t, err)
	source.fails = errors.New("a duplicate key")
	_, err = j.Restore(t.Context(), m.ID, "second", nil)
	require.ErrorIs(t, err, source.fails)
	require.NoError(t, check())
	assert.Equal(t, before, files(t, folder))
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
	require.ErrorContains(t, check(), "may have left shop_second, shop_before: repeat it, or settle it after you have checked shop")
	source.stuck = errors.New("the server is away")
	_, err = j.Settle(t.Context(), true)
	require.ErrorIs(t, err, source.stuck)
	require.ErrorIs(t, check(), ErrHalfway, "it is still there")

	// The next restore over the same database cleans up.
	source.fails, source.stuck = nil, nil
	source.there = append(source.there, "shop_second")
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
	source.there = []string{"left", "only"}
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Left: []string{"left"}, Seen: *now})
	require.ErrorContains(t, check(), "was interrupted before it changed shop, and may have left left")
	lost := interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Changed: true, Safety: "pos_20200101T000000Z_000000", Left: []string{"only"}, Seen: *now})
	out, err := j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.Len(t, out.Contents.Warnings, 1)
	assert.Contains(t, out.Contents.Warnings[0], "may have left only, and the backup of the state before is gone")
	require.ErrorIs(t, check(), ErrHalfway)
	require.NoError(t, os.Remove(lost))

	// Two that were interrupted one after the other. The backup in between may hold half a
	// database. Only the first safety backup holds the state before.
	*now = now.Add(time.Second)
	first := mustBackup(t, j)
	*now = now.Add(time.Second)
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "shop", Over: true, Changed: true, Safety: first.ID, Left: []string{"only"}, Seen: *now})
	half, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect)
	assert.Contains(t, half.Suspect, "was interrupted before this backup, so it may hold half of it (the state before is in "+first.ID)
	source.there, source.fails, source.keeps = []string{"only"}, driver.ErrHalfway, true
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
	interrupted(t, folder, UnfinishedRestore{ID: m.ID, Database: "copy", Left: []string{"copy"}, Seen: *now})
	_, err = j.Restore(t.Context(), m.ID, "copy", nil)
	require.ErrorContains(t, err, "an interrupted restore may have left copy: settle it")
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
	source := &placed{fakeSource: newFake(7), there: []string{"copy"}}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	mustBackup(t, j)
	others := &placed{fakeSource: newFake(7), there: []string{"copy"}}
	other, err := New("pos-archive", others, folder, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	require.NoError(t, err)
	interrupted(t, folder, UnfinishedRestore{ID: "pos_20260101T000000Z_abcdef", Database: "copy", Left: []string{"copy"}, Seen: time.Now()})
	_, err = other.Check(t.Context(), time.Hour)
	require.NotErrorIs(t, err, ErrHalfway)
	list, err := other.Settle(t.Context(), true)
	require.NoError(t, err)
	assert.Empty(t, list)
	assert.Equal(t, []string{"copy"}, others.there)
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
