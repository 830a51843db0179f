package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// smallDisk mounts a file system in memory that can be filled.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options+",mode=0700"); err != nil {
		t.Skipf("cannot mount a small disk, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillBytes leaves no byte free, fillInodes no room for one more file.
func fillBytes(t *testing.T, dir string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer file.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
}

func fillInodes(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "fillers"), 0o700))
	var err error
	for i := 0; err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, "fillers", fmt.Sprint(i)), nil, 0o600)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, errors.Join(os.RemoveAll(filepath.Join(dir, "filler")), os.RemoveAll(filepath.Join(dir, "fillers"))))
}

// disturbed is a source during whose dump something happens once.
type disturbed struct {
	driver.Source
	happens func()
}

func (s disturbed) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	var once sync.Once
	return s.Source.Dump(ctx, writerFunc(func(p []byte) (int, error) {
		n, err := w.Write(p)
		once.Do(s.happens)
		return n, err
	}))
}

// checkFullDisk has the disk fill up at each moment of a run. The dump must take between
// half a megabyte and eight.
func checkFullDisk(t *testing.T, source driver.Source) {
	t.Helper()
	for name, fill := range map[string]func(*testing.T, string){"bytes": fillBytes, "inodes": fillInodes} {
		dir := smallDisk(t, "size=20m,nr_inodes=100")
		folder, err := NewFolder(filepath.Join(dir, "backups"))
		require.NoError(t, err)
		var at string
		var happens func()
		// Nothing may be rotated after a run that failed, whatever the policy.
		opts := &Options{
			Compression: None, Logger: silent, RestoreTest: RestoreTestOptions{Every: -1}, Retention: Policy{Last: 1, MinKeep: 1, Force: true},
			Trace: &Trace{Stage: func(_ context.Context, e StageEvent) {
				if e.Stage == at {
					happens()
				}
			}},
		}
		j, err := New("pos", disturbed{source, func() {
			if at == "middle" {
				happens()
			}
		}}, folder, opts)
		require.NoError(t, err)
		first := mustBackup(t, j)
		require.Greater(t, first.RawSize, int64(512<<10), "the dump is too small to be in the middle of")
		before := files(t, folder)

		happens = func() { fill(t, dir) }
		for _, at = range []string{"preflight", "middle", "dump"} {
			if at == "middle" && name == "inodes" {
				continue // the file is there already
			}
			report, err := j.Backup(t.Context())
			empty(t, dir)
			require.Error(t, err, "%s, %s", name, at)
			require.ErrorIs(t, err, syscall.ENOSPC, "%s, %s", name, at)
			require.Nil(t, report.Manifest)
			assert.Empty(t, report.Deleted)
			require.Equal(t, before, files(t, folder), "%s, %s", name, at)
			_, err = j.Verify(t.Context(), first.ID)
			require.NoError(t, err)
		}
		// Published, and no room to say that it was read back: nothing goes either.
		at = "publish"
		report, err := j.Backup(t.Context())
		empty(t, dir)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NotNil(t, report.Manifest)
		assert.Empty(t, report.Deleted)
		_, err = j.Find(t.Context(), first.ID)
		require.NoError(t, err)

		at = ""
		last := mustBackup(t, j)
		e, err := j.Find(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, last.ID, e.ID)
		require.Equal(t, Good, e.State)
	}
}

// TestNoRoom: what would not fit is refused before the dump, and nothing goes for it.
func TestNoRoom(t *testing.T) {
	dir := smallDisk(t, "size=20m")
	folder, err := NewFolder(filepath.Join(dir, "backups"))
	require.NoError(t, err)
	source, dumps := newFake(7), 0
	source.dump = func(w io.Writer) error {
		dumps++
		_, err := w.Write(make([]byte, 5<<20))
		return err
	}
	j, err := New("pos", source, folder, &Options{Compression: None, Logger: silent, Retention: Policy{Last: 1, MinKeep: 1, Force: true}})
	require.NoError(t, err)
	first := mustBackup(t, j)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 10<<20), 0o600))
	_, err = j.Preflight(t.Context())
	require.ErrorContains(t, err, "free some space")
	_, err = j.Backup(t.Context())
	var stage *StageError
	require.ErrorAs(t, err, &stage)
	require.Equal(t, "preflight", stage.Stage)
	require.ErrorContains(t, err, "free some space")
	require.Equal(t, 1, dumps)
	empty(t, dir)
	warnings, err := j.Preflight(t.Context())
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.NotEqual(t, first.ID, mustBackup(t, j).ID)
}

// TestReadOnlyDisk: a disk that turns read-only in the middle, as one does whose errors
// the kernel has seen.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "size=20m")
	folder, err := NewFolder(filepath.Join(dir, "backups"))
	require.NoError(t, err)
	remount := func(flags uintptr) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "mode=0700")
	}
	j, err := New("pos", newFake(7), folder, &Options{Logger: silent, Trace: &Trace{Stage: func(_ context.Context, e StageEvent) {
		if e.Stage == "dump" {
			if err := remount(syscall.MS_RDONLY); err != nil {
				t.Error(err)
			}
		}
	}}})
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorIs(t, err, syscall.EROFS)
	require.NoError(t, remount(0))
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, entries, "an artefact without a manifest is none")
	j.opts.Trace = &Trace{}
	mustBackup(t, j)
}

func TestFullDisk(t *testing.T) {
	source := newFake(7)
	source.dump = func(w io.Writer) error {
		for range 32 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
		return nil
	}
	checkFullDisk(t, source)
}
