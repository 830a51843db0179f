package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// edit changes a file of a folder.
func edit(t *testing.T, folder *Folder, name, from, to string) {
	t.Helper()
	path := filepath.Join(folder.Path(), name)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := bytes.Replace(data, []byte(from), []byte(to), 1)
	require.NotEqual(t, data, changed)
	require.NoError(t, os.WriteFile(path, changed, 0o600))
}

// A manifest with a wrong byte is damage for a run, for check and for a target, which gets a
// good one.
func TestRottenManifest(t *testing.T) {
	t.Parallel()
	for _, key := range [][]byte{nil, []byte("sixteen bytes at least")} {
		attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
		require.NoError(t, err)
		j, folder := newTestJob(t, newFake(1), &Options{ManifestKey: key, Targets: []Target{{Name: "attic", Storage: attic}}})
		now := clock(j)
		var all []*Manifest
		for range 3 {
			*now = now.Add(time.Hour)
			all = append(all, mustBackup(t, j))
		}
		edit(t, attic, all[0].ID+manifestSuffix, `"rows": 1`, `"rows": 7`)
		*now = now.Add(time.Hour)
		mustBackup(t, j)
		e, err := targetOf(t, j, "attic").Find(t.Context(), all[0].ID)
		require.NoError(t, err)
		require.Equal(t, Good, e.State, "replaced by the manifest of the good copy")

		edit(t, folder, all[1].ID+manifestSuffix, `"rows": 1`, `"rows": 7`)
		*now = now.Add(time.Hour)
		r, err := j.Backup(t.Context())
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, all[1].ID)
		require.NotNil(t, r.Manifest)
		_, err = j.Check(t.Context(), time.Hour)
		require.ErrorIs(t, err, ErrDamaged)
		_, err = j.Find(t.Context(), "")
		require.NoError(t, err)

		edit(t, folder, r.ID+manifestSuffix, `"rows": 1`, `"rows": 7`) // the newest
		_, err = j.Find(t.Context(), "")
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, "name a backup")
		require.NoError(t, j.Delete(t.Context(), r.ID))
		require.NoError(t, j.Delete(t.Context(), all[1].ID))
		_, err = j.Check(t.Context(), 2*time.Hour)
		require.NoError(t, err)

		// A newer version of the program wrote it.
		newer := *all[2]
		newer.Format = manifestFormat + 1
		data, err := newer.encode(key)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), newer.ID+manifestSuffix), data, 0o600))
		*now = now.Add(time.Hour)
		mustBackup(t, j)
		_, err = j.Check(t.Context(), time.Hour)
		require.NoError(t, err)
	}
}

// Manifests that cannot be read hide only their own backups, however many they are.
func TestUnreadableManifests(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	now := clock(j)
	bad := map[string]bool{}
	var last string
	for i := range 6 {
		*now = now.Add(time.Hour)
		last = mustBackup(t, j).ID
		if i < 4 {
			bad[last+manifestSuffix] = true
		}
	}
	j.storage = badBlocks{folder, bad}
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 6)
	_, err = j.Verify(t.Context(), last)
	require.NoError(t, err)
	*now = now.Add(time.Hour)
	r, err := j.Backup(t.Context())
	require.ErrorIs(t, err, syscall.EIO, "the run is not silent about them")
	require.NotNil(t, r.Manifest)

	for _, e := range entries { // nothing else is read for one backup
		bad[e.ID+manifestSuffix] = e.ID != last
	}
	_, err = j.Restore(t.Context(), last, "x", nil)
	require.NoError(t, err)
}

// No manifest is published that cannot be read back.
func TestLargeManifest(t *testing.T) {
	t.Parallel()
	source := newFake(1)
	j, folder := newTestJob(t, source, nil)
	name := strings.Repeat("x", 1<<20)
	for range 20 { // more than the former limit
		source.contents.Tables = append(source.contents.Tables, driver.Table{Name: name, Rows: 1})
	}
	m := mustBackup(t, j)
	_, err := j.Find(t.Context(), m.ID)
	require.NoError(t, err)
	before := files(t, folder)
	for range 50 {
		source.contents.Tables = append(source.contents.Tables, driver.Table{Name: name, Rows: 1})
	}
	_, err = j.Backup(t.Context())
	require.ErrorContains(t, err, "can be read back")
	require.Equal(t, before, files(t, folder))
}

// tampered is a storage that returns wrong bytes of some files.
type tampered struct {
	Storage
	wrong func(name string) bool
}

func (s tampered) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.Storage.Open(ctx, name)
	if err != nil || !s.wrong(name) {
		return r, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	data[len(data)/2] ^= 1
	return io.NopCloser(bytes.NewReader(data)), err
}

// A target keeps what it has until it has something better.
func TestTargetKeepsItsCopy(t *testing.T) {
	t.Parallel()
	attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
	require.NoError(t, err)
	wrong := false
	j, folder := newTestJob(t, newFake(1), &Options{Compression: None, Targets: []Target{{
		Name: "attic", Storage: tampered{attic, func(name string) bool { return wrong && strings.HasSuffix(name, ".bin") }},
	}}})
	now := clock(j)
	var first *Manifest
	for range 5 {
		*now = now.Add(time.Hour)
		first = mustBackup(t, j)
	}
	copied := targetOf(t, j, "attic")
	state := func() State {
		t.Helper()
		e, err := copied.Find(t.Context(), first.ID)
		require.NoError(t, err)
		return e.State
	}
	once := func() {
		t.Helper()
		wrong = true // a proxy returns wrong bytes once
		_, err := copied.Verify(t.Context(), first.ID)
		require.ErrorIs(t, err, ErrVerification)
		wrong = false
		require.Equal(t, Damaged, state())
	}
	once()
	*now = now.Add(time.Hour)
	mustBackup(t, j)
	require.Equal(t, Good, state(), "it was read once more")
	require.Contains(t, files(t, attic), first.File)

	// The local file is damaged, too.
	once()
	flip(t, folder, first.File)
	*now = now.Add(time.Hour)
	_, _ = j.Backup(t.Context())
	require.Equal(t, Good, state())
	_, err = copied.Verify(t.Context(), first.ID)
	require.NoError(t, err)

	// Both are damaged. The copy stays, and is replaced when the local one is right again.
	flip(t, attic, first.File)
	_, err = copied.Verify(t.Context(), first.ID)
	require.ErrorIs(t, err, ErrVerification)
	*now = now.Add(time.Hour)
	_, _ = j.Backup(t.Context())
	require.Contains(t, files(t, attic), first.File)
	flip(t, folder, first.File)
	_, err = j.Verify(t.Context(), first.ID)
	require.NoError(t, err)
	*now = now.Add(time.Hour)
	mustBackup(t, j)
	require.Equal(t, Good, state())
	require.NotContains(t, files(t, attic), first.File, "the right copy has another name")
	_, err = copied.Verify(t.Context(), first.ID)
	require.NoError(t, err)
	_, err = copied.Restore(t.Context(), first.ID, "x", nil)
	require.NoError(t, err)
}

// A backup whose verification cannot be read is not good before it was read again.
func TestUnreadableVerification(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), nil)
	m := mustBackup(t, j)
	for name, text := range map[string]string{"empty": "", "cut": `{"content":`, "forged": `{"content":{"id":"x","ok":true}}`} {
		require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), m.ID+verifySuffix), []byte(text), 0o600))
		e, err := j.Find(t.Context(), m.ID)
		require.NoError(t, err)
		require.Equal(t, Damaged, e.State, name)
		_, err = j.Check(t.Context(), time.Hour)
		require.ErrorIs(t, err, ErrDamaged, name)
		_, err = j.Restore(t.Context(), m.ID, "x", nil) // which reads it first
		require.NoError(t, err, name)
		_, err = j.Verify(t.Context(), m.ID)
		require.NoError(t, err, name)
		_, err = j.Check(t.Context(), time.Hour)
		require.NoError(t, err, name)
	}
	flip(t, folder, m.File)
	_, err := j.Verify(t.Context(), m.ID)
	require.ErrorIs(t, err, ErrVerification)
	require.NoError(t, os.Truncate(filepath.Join(folder.Path(), m.ID+verifySuffix), 0))
	_, err = j.Restore(t.Context(), m.ID, "x", nil)
	require.ErrorIs(t, err, ErrVerification)

	// A run reads such a backup again.
	second, err := j.Backup(t.Context())
	require.ErrorIs(t, err, ErrDamaged, "of the first")
	require.NoError(t, os.Truncate(filepath.Join(folder.Path(), second.ID+verifySuffix), 0))
	mustBackup(t, j)
	e, err := j.Find(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, Good, e.State)
}

// A scrub that began earlier forgets no restore test.
func TestRestoreTestDuringARun(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: -1}})
	first := mustBackup(t, j)
	source.restore = errors.New("syntax error")
	source.dump = func(w io.Writer) error {
		_, err := j.TestRestore(t.Context(), first.ID)
		require.ErrorIs(t, err, ErrVerification)
		_, err = w.Write([]byte("rows"))
		return err
	}
	_, _ = j.Backup(t.Context())
	e, err := j.Find(t.Context(), first.ID)
	require.NoError(t, err)
	require.NotNil(t, e.RestoreTest)
	_, err = j.Check(t.Context(), time.Hour)
	require.ErrorIs(t, err, ErrVerification)
}

// pinning is a storage during whose removals a function runs.
type pinning struct {
	Storage
	during func(name string)
}

func (s pinning) Remove(ctx context.Context, name string) error {
	s.during(name)
	return s.Storage.Remove(ctx, name)
}

// A backup that is pinned while others are deleted stays.
func TestPinDuringRetention(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), &Options{NoRetention: true})
	now := clock(j)
	var all []string
	for range 6 {
		*now = now.AddDate(0, 0, 40)
		all = append(all, mustBackup(t, j).ID)
	}
	pinned := ""
	j.storage = pinning{folder, func(name string) {
		id := strings.TrimSuffix(name, manifestSuffix)
		if pinned == "" && (id == all[0] || id == all[1]) {
			pinned = all[0]
			if id == all[0] {
				pinned = all[1]
			}
			require.NoError(t, j.Pin(t.Context(), pinned, true))
		}
	}}
	_, err := j.Prune(t.Context(), Policy{Days: 30, MinKeep: 3}, false)
	require.NoError(t, err)
	require.NotEmpty(t, pinned)
	_, err = j.Find(t.Context(), pinned)
	require.NoError(t, err)
}
