package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// TestMisspeltFolder: a command that only reads or deletes creates no folder, and names the one that it has not found.
func TestMisspeltFolder(t *testing.T) {
	t.Parallel()
	source := newFake(7)
	j, folder := newTestJob(t, source, nil)
	const id = "pos_20261123T020000Z_4f1c2a"
	for name, do := range map[string]func(context.Context) error{
		"list":    func(ctx context.Context) error { _, err := j.List(ctx); return err },
		"find":    func(ctx context.Context) error { _, err := j.Find(ctx, ""); return err },
		"find id": func(ctx context.Context) error { _, err := j.Find(ctx, id); return err },
		"check":   func(ctx context.Context) error { _, err := j.Check(ctx, time.Hour); return err },
		"prune":   func(ctx context.Context) error { _, err := j.Prune(ctx, Policy{}, false); return err },
		"verify":  func(ctx context.Context) error { _, err := j.Verify(ctx, ""); return err },
		"restore": func(ctx context.Context) error { _, err := j.Restore(ctx, "", "x", nil); return err },
		"pin":     func(ctx context.Context) error { return j.Pin(ctx, id, true) },
		"accept":  func(ctx context.Context) error { return j.Accept(ctx, id) },
		"delete":  func(ctx context.Context) error { return j.Delete(ctx, id) },
		"settle":  func(ctx context.Context) error { _, err := j.Settle(ctx, true); return err },
		"history": func(ctx context.Context) error { _, err := j.History(ctx, 3); return err },
	} {
		err := do(t.Context())
		if name != "list" && name != "settle" && name != "history" {
			require.ErrorContains(t, err, folder.Path(), name)
		}
		_, err = os.Lstat(folder.Path())
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

// unwritable is a storage that stores no result of a verification.
type unwritable struct{ Storage }

func (u unwritable) Abilities() Abilities {
	able := u.Storage.Abilities()
	able.Replace = func(context.Context, string, []byte) error { return syscall.ENOSPC }
	return able
}

// TestVerificationThatCannotBeRecorded: a full disk hides no damage, and makes no backup look damaged.
func TestVerificationThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, folder := newTestJob(t, source, nil)
	m := mustBackup(t, j)
	j.storage = unwritable{folder}

	_, err := j.Verify(t.Context(), m.ID)
	require.ErrorContains(t, err, m.ID+" is good, but that could not be recorded")
	require.NotErrorIs(t, err, ErrVerification)
	require.ErrorIs(t, err, syscall.ENOSPC)

	v, err := j.TestRestore(t.Context(), m.ID)
	require.ErrorContains(t, err, m.ID+" is good, but that could not be recorded")
	require.True(t, v.RestoreTest.OK, "the restore test was made")

	flip(t, folder, m.File)
	for _, verify := range []func(context.Context, string) (Verification, error){j.Verify, j.TestRestore} {
		v, err := verify(t.Context(), m.ID)
		require.ErrorIs(t, err, ErrVerification)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.False(t, v.OK)
	}
}

// TestAssertionOfATroubledServer: an assertion that the server could not answer accuses no backup.
func TestAssertionOfATroubledServer(t *testing.T) {
	t.Parallel()
	for name, untested := range map[string]bool{"the source says so": true, "it does not hold": false} {
		source := newScratch(7)
		source.asked = func(err error) error {
			if untested {
				err = errors.Join(driver.ErrUntested, err)
			}
			return err
		}
		j, _ := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1, Assertions: []Assertion{
			{Name: "all is well", Check: func(context.Context, driver.Queryer) error { return errors.New("the disk is full") }},
		}}})
		mustBackup(t, j)
		_, err := j.TestRestore(t.Context(), "")
		require.Equal(t, !untested, errors.Is(err, ErrVerification), "%s: %v", name, err)
		require.Equal(t, untested, errors.Is(err, driver.ErrUntested), "%s: %v", name, err)
		e, err := j.Find(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, untested, e.RestoreTest == nil, name)
	}
}

// TestChangedKeys: after a change of keys, old backups need the old identity, and the messages
// say so. A backup that no given identity opens is not damaged.
func TestChangedKeys(t *testing.T) {
	t.Parallel()
	var keys [3]*age.X25519Identity
	for i := range keys {
		var err error
		keys[i], err = age.GenerateX25519Identity()
		require.NoError(t, err)
	}
	before, after, wrong := keys[0], keys[1], keys[2]
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{Recipients: []age.Recipient{before.Recipient()}, RestoreTest: RestoreTestOptions{Every: -1}})
	older := mustBackup(t, j)
	j.opts.Recipients = []age.Recipient{after.Recipient()}
	newer := mustBackup(t, j)
	for _, c := range []struct {
		ids          []age.Identity
		older, newer bool
	}{{nil, false, false}, {[]age.Identity{wrong}, false, false}, {[]age.Identity{after}, false, true}, {[]age.Identity{after, before}, true, true}} {
		j.opts.Identities = c.ids
		for id, opens := range map[string]bool{older.ID: c.older, newer.ID: c.newer} {
			v, err := j.Verify(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, opens, v.Decoded)
			_, restored := j.Restore(t.Context(), id, "x", nil)
			_, tested := j.TestRestore(t.Context(), id)
			for _, err := range []error{restored, tested} {
				if opens {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, ErrNoIdentity)
				require.Equal(t, len(c.ids) > 0, strings.Contains(err.Error(), "the identity of that time"), err)
			}
		}
		_, err := j.Check(t.Context(), time.Hour)
		if len(c.ids) > 0 && !c.newer {
			require.ErrorIs(t, err, ErrNoIdentity)
			run, err := j.Backup(t.Context())
			require.NoError(t, err)
			require.Contains(t, run.Warnings[0], "the given identity does not open the new backup")
			continue
		}
		require.NoError(t, err)
	}
}

// TestRestoreIsNotPruned: retention keeps a backup that a restore reads, or that an interrupted
// one read. Without it, that restore could not be repeated.
func TestRestoreIsNotPruned(t *testing.T) {
	t.Parallel()
	source := &placed{fakeSource: newFake(7)}
	j, folder := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}, Retention: Policy{Last: 1, MinKeep: 1, Force: true}})
	first := mustBackup(t, j)
	marker := interrupted(t, folder, UnfinishedRestore{ID: first.ID, Database: copied, Left: []string{copied}, Seen: time.Now()})
	second := mustBackup(t, j)
	third := mustBackup(t, j)
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, []string{third.ID, first.ID}, []string{entries[0].ID, entries[1].ID})
	require.NotEqual(t, second.ID, third.ID)
	decisions, err := j.Prune(t.Context(), j.opts.Retention, false)
	require.NoError(t, err)
	require.Contains(t, decisions[1].Reasons, "a restore of it is running, or was interrupted")
	require.NoError(t, os.Remove(marker))
	_, err = j.Prune(t.Context(), j.opts.Retention, false)
	require.NoError(t, err)
	entries, err = j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// TestPruneReadsTheNewest: a backup that is broken, unnoticed, is not the last good one.
func TestPruneReadsTheNewest(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}, NoRetention: true})
	policy := Policy{Last: 1, MinKeep: 1, Force: true}
	oldest, good := mustBackup(t, j), mustBackup(t, j)
	broken := []*Manifest{mustBackup(t, j), mustBackup(t, j)}
	for _, m := range broken {
		flip(t, folder, m.File)
	}
	_, err := j.Prune(t.Context(), policy, false)
	require.NoError(t, err)
	e, err := j.Find(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, good.ID, e.ID)
	_, err = j.Find(t.Context(), oldest.ID)
	require.ErrorIs(t, err, ErrNotFound)
	for _, m := range broken {
		e, err := j.Find(t.Context(), m.ID)
		require.NoError(t, err)
		require.Equal(t, Damaged, e.State)
	}
	flip(t, folder, good.File) // no good one is left
	decisions, err := j.Prune(t.Context(), policy, false)
	require.NoError(t, err)
	require.Len(t, decisions, 3)
}

// vanishing is a storage whose backup is deleted when its file is opened.
type vanishing struct {
	Storage
	gone func()
}

func (v vanishing) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, ".json") {
		v.gone()
	}
	return v.Storage.Open(ctx, name)
}

// TestDeletedWhileItIsRead: a backup that retention deletes meanwhile is not damaged.
func TestDeletedWhileItIsRead(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newScratch(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	for _, read := range []func(context.Context, string) error{
		func(ctx context.Context, id string) error { _, err := j.Verify(ctx, id); return err },
		func(ctx context.Context, id string) error { _, err := j.TestRestore(ctx, id); return err },
		func(ctx context.Context, id string) error { _, err := j.Restore(ctx, id, "x", nil); return err },
	} {
		j.storage = folder
		mustBackup(t, j)
		m := mustBackup(t, j)
		j.storage = vanishing{folder, func() {
			for _, name := range []string{m.ID + manifestSuffix, m.File, m.ID + verifySuffix} {
				require.NoError(t, folder.Remove(t.Context(), name))
			}
		}}
		err := read(t.Context(), m.ID)
		require.ErrorIs(t, err, ErrNotFound)
		require.NotErrorIs(t, err, ErrVerification)
		require.ErrorContains(t, err, m.ID+" was deleted while it was read")
		require.NotContains(t, files(t, folder), m.ID+verifySuffix)
	}
}

// TestDeleteFromTheFuture: an operator can delete the backup of a wrong clock.
func TestDeleteFromTheFuture(t *testing.T) {
	t.Parallel()
	j, _ := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	now := clock(j)
	old := mustBackup(t, j)
	*now = now.AddDate(1, 0, 0)
	ahead := mustBackup(t, j)
	*now = now.AddDate(-1, 0, 1)
	last := suspendedBackup(t, j)
	_, err := j.Check(t.Context(), 26*time.Hour)
	require.ErrorContains(t, err, ahead.ID+", is from the future: check the clock; if it was wrong before, delete that backup")
	require.ErrorContains(t, j.Delete(t.Context(), last), "is the newest good backup")
	require.NoError(t, j.Delete(t.Context(), ahead.ID))
	_, err = j.Check(t.Context(), 26*time.Hour)
	require.NoError(t, err)
	_, err = j.Find(t.Context(), old.ID)
	require.NoError(t, err)
}

// suspendedBackup makes a backup while retention is suspended, and returns its id.
func suspendedBackup(t *testing.T, j *Job) string {
	t.Helper()
	report, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspended)
	return report.Manifest.ID
}

// unswept is a storage whose leftovers cannot be removed.
type unswept struct{ *Folder }

func (u unswept) Abilities() Abilities {
	able := u.Folder.Abilities()
	able.Sweep = func(context.Context, time.Time) ([]string, error) { return nil, errReadOnly }
	return able
}

// TestLeftoversThatStay: a leftover that cannot be removed prevents neither a backup nor a copy.
func TestLeftoversThatStay(t *testing.T) {
	t.Parallel()
	away, err := NewFolder(t.TempDir() + "/away")
	require.NoError(t, err)
	j, folder := newTestJob(t, newFake(7), &Options{Targets: []Target{{Name: "away", Storage: unswept{away}}}})
	j.storage = unswept{folder}
	r, err := j.Backup(t.Context())
	require.ErrorContains(t, err, "target away: leftovers of interrupted copies could not be removed: "+errReadOnly.Error())
	require.Equal(t, []string{r.ID}, r.Targets[0].Copied)
	require.Contains(t, r.Warnings, "leftovers of interrupted runs could not be removed: "+errReadOnly.Error())
	_, err = j.Find(t.Context(), r.ID)
	require.NoError(t, err)
}

// TestDiskThatIsNotMounted: an empty folder in which the history knows a backup is a warning.
func TestDiskThatIsNotMounted(t *testing.T) {
	t.Parallel()
	history, err := NewFolder(t.TempDir() + "/history")
	require.NoError(t, err)
	j, folder := newTestJob(t, newFake(7), &Options{History: history})
	r, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	require.NoError(t, os.Rename(folder.Path(), folder.Path()+".disk"))
	warnings, err := j.Preflight(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"the storage in " + folder.Path() + " holds no backup, and the history knows " + r.ID + " in it: was it removed, or is its disk not mounted?"}, warnings)
	again, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Equal(t, warnings, again.Warnings)
	r, err = j.Backup(t.Context())
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
}

// badBlocks is a storage that cannot read some files.
type badBlocks struct {
	Storage
	bad map[string]bool
}

// away is a storage that cannot read some files now.
type away struct{ badBlocks }

func (a away) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if a.bad[name] {
		return nil, errors.New("503 Slow Down")
	}
	return a.Storage.Open(ctx, name)
}

func (b badBlocks) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if b.bad[name] {
		return nil, syscall.EIO
	}
	return b.Storage.Open(ctx, name)
}

// TestUnreadableManifest: one manifest that the disk cannot read hides only its own backup.
func TestUnreadableManifest(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}, NoRetention: true})
	now := clock(j)
	var all []string
	for range 4 {
		*now = now.Add(time.Hour)
		all = append(all, mustBackup(t, j).ID)
	}
	bad := map[string]bool{all[1] + manifestSuffix: true}
	j.storage = badBlocks{folder, bad}
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 4)
	require.Equal(t, Unknown, entries[2].State)
	require.Contains(t, entries[2].Problem, "its manifest cannot be read: input/output error")
	_, err = j.Restore(t.Context(), "", "x", nil)
	require.NoError(t, err)
	_, err = j.Prune(t.Context(), Policy{Last: 1, MinKeep: 1, Force: true}, true)
	require.NoError(t, err)

	bad[all[3]+manifestSuffix] = true // the newest
	_, err = j.Restore(t.Context(), "", "x", nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "name a backup")
	_, err = j.Restore(t.Context(), all[2], "x", nil)
	require.NoError(t, err)

	for _, id := range all {
		bad[id+manifestSuffix] = true
	}
	_, err = j.List(t.Context())
	require.ErrorIs(t, err, syscall.EIO)
	r, err := j.Backup(t.Context())
	require.ErrorIs(t, err, syscall.EIO, "the run is not silent about them")
	require.NotNil(t, r.Manifest)
}

// TestUnreadableSmallFiles: a file beside the backups that the disk cannot read prevents no
// backup.
func TestUnreadableSmallFiles(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	mustBackup(t, j)
	bad := map[string]bool{statusFile: true}
	j.storage = badBlocks{folder, bad}
	_, err := j.Check(t.Context(), time.Hour)
	require.NoError(t, err)
	mustBackup(t, j)
	clear(bad)
	s, err := j.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Last.OK, "replaced by the run")

	bad[historyName] = true
	r, err := j.Backup(t.Context())
	require.NoError(t, err)
	require.Contains(t, strings.Join(r.Warnings, "\n"), "the disk cannot read the history")
	clear(bad)
	runs, err := j.History(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, runs, 1, "replaced by the run")

	m := j.newMark(UnfinishedRestore{ID: s.Newest.ID})
	require.NoError(t, m.creates(t.Context(), "shop_copy"))
	m.stop()
	bad[m.u.file] = true
	r, err = j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect)
	require.NotNil(t, r.Manifest)
	_, err = j.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, ErrHalfway)
	require.ErrorContains(t, err, m.u.file+" says no more: input/output error")
	_, err = j.Settle(t.Context(), false)
	require.NoError(t, err)
	require.NoError(t, j.Accept(t.Context(), r.ID))
	mustBackup(t, j)
	_, err = j.Check(t.Context(), time.Hour)
	require.NoError(t, err)
}

// TestMarkerOutOfReach: a marker that a remote storage does not return now is not settled, and
// the backup of its restore is not deleted.
func TestMarkerOutOfReach(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}, NoRetention: true})
	now := clock(j)
	var all []string
	for range 3 {
		*now = now.Add(time.Hour)
		all = append(all, mustBackup(t, j).ID)
	}
	m := j.newMark(UnfinishedRestore{ID: all[0], Database: "shop", Over: true})
	require.NoError(t, m.creates(t.Context(), "shop_copy"))
	m.stop()
	bad := map[string]bool{m.u.file: true}
	j.storage = away{badBlocks{folder, bad}}
	_, err := j.Settle(t.Context(), false)
	require.ErrorContains(t, err, "503")
	_, err = j.Prune(t.Context(), Policy{Last: 1, MinKeep: 1, Force: true}, false)
	require.ErrorContains(t, err, "503")
	r, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrSuspect, "of the database that the restore may have changed")
	clear(bad)
	require.NoError(t, j.Accept(t.Context(), r.ID))
	require.FileExists(t, filepath.Join(folder.Path(), m.u.file))
	_, err = j.Prune(t.Context(), Policy{Last: 1, MinKeep: 1, Force: true}, false)
	require.NoError(t, err)
	_, err = j.Find(t.Context(), all[0])
	require.NoError(t, err)
}

// TestMarkerOfAnotherProgram: a marker that this program cannot have written can be settled.
func TestMarkerOfAnotherProgram(t *testing.T) {
	t.Parallel()
	name := markPrefix + "pos.x" + markSuffix
	number, err := seal(name, 5, nil)
	require.NoError(t, err)
	for _, content := range [][]byte{nil, number, make([]byte, maxManifest+1)} {
		j, folder := newTestJob(t, newFake(7), nil)
		mustBackup(t, j)
		require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), name), content, 0o600))
		list, err := j.Settle(t.Context(), false)
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
}

// locked is a storage that deletes no manifest.
type locked struct{ Storage }

func (l locked) Remove(ctx context.Context, name string) error {
	if strings.HasSuffix(name, manifestSuffix) && !strings.HasSuffix(name, verifySuffix) {
		return ErrRetained
	}
	return l.Storage.Remove(ctx, name)
}

// TestPruneOfLockedBackups: prune reports as deleted only backups that are gone.
func TestPruneOfLockedBackups(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}, NoRetention: true})
	for range 3 {
		mustBackup(t, j)
	}
	j.storage = locked{folder}
	decisions, err := j.Prune(t.Context(), Policy{Last: 1, MinKeep: 1, Force: true}, false)
	require.NoError(t, err)
	require.Len(t, decisions, 3)
	for _, d := range decisions[1:] {
		require.True(t, d.Keep)
		require.Contains(t, d.Reasons[0], "the storage has it locked")
	}
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 3)
}
