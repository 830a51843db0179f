package files

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// asNobody lets this thread use files as a user without rights.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	_, err := unix.SetfsuidRetUid(nobody)
	require.NoError(t, err)
	defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	do()
}

// TestUnreadableFile: a file and a folder that the process may not read cost only themselves.
func TestUnreadableFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "uploads")
	write(t, "a", root, "a.txt")
	write(t, "b", root, "closed", "b.txt")
	write(t, "c", root, "secret.txt")
	for _, name := range []string{filepath.Dir(root), filepath.Dir(filepath.Dir(root)), root, filepath.Join(root, "a.txt")} {
		require.NoError(t, os.Chmod(name, 0o755)) //nolint:gosec // nobody reads it
	}
	require.NoError(t, os.Chmod(filepath.Join(root, "closed"), 0))
	require.NoError(t, os.Chmod(filepath.Join(root, "secret.txt"), 0))
	t.Cleanup(func() { _ = removeTree(root) })
	source, err := New(root, nil)
	require.NoError(t, err)
	var archive bytes.Buffer
	var got driver.Contents
	asNobody(t, func() { got, err = source.Dump(t.Context(), &archive) })
	require.NoError(t, err)
	require.Equal(t, []driver.Skipped{{Object: "file closed", Reason: "permission denied"}, {Object: "file secret.txt", Reason: "permission denied"}}, got.Skipped)
	text := archive.Bytes()
	target, back, err := source.Restore(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Want: got})
	require.NoError(t, err)
	require.NoError(t, got.Compare(back))
	require.FileExists(t, filepath.Join(target, "a.txt"))

	if os.Geteuid() != 0 {
		return // this user cannot add files to a folder without permissions
	}
	// An overwriting restore by a user who may read them does not delete them.
	require.NoError(t, os.Chmod(filepath.Join(root, "closed"), 0o700)) //nolint:gosec // a folder
	require.NoError(t, os.Chmod(filepath.Join(root, "secret.txt"), 0o600))
	write(t, "d", root, "closed", "deep", "d.txt")
	write(t, "e", root, "since.txt")
	_, err = source.Overwrite(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Want: got})
	require.NoError(t, err)
	for _, name := range []string{"a.txt", "secret.txt", "closed/b.txt", "closed/deep/d.txt"} {
		require.FileExists(t, filepath.Join(root, name))
	}
	require.NoFileExists(t, filepath.Join(root, "since.txt"))
}

// TestOverwriteWithClosedFolder restores, as a user without rights, a folder that this user may not
// read.
func TestOverwriteWithClosedFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(name, 0o777)) //nolint:gosec // nobody writes in it
	}
	root := filepath.Join(dir, "uploads")
	source, err := New(root, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = removeTree(root) })
	asNobody(t, func() {
		write(t, "b", root, "closed", "b.txt")
		require.NoError(t, os.Chmod(filepath.Join(root, "closed"), 0))
		var archive bytes.Buffer
		want, err := source.Dump(t.Context(), &archive)
		require.NoError(t, err)
		text := archive.Bytes()
		over := func() error {
			_, err := source.Overwrite(t.Context(), bytes.NewReader(text), driver.RestoreOptions{Want: want})
			return err
		}
		require.ErrorContains(t, over(), "closed: permission denied: this user may not keep files that the backup does not hold: restore as root")
		require.NoError(t, removeTree(root))
		write(t, "a", root, "a.txt")
		require.NoError(t, over())
		require.DirExists(t, filepath.Join(root, "closed"))
	})
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left behind")
}

// TestFailingRead: the disk fails in the middle of a file.
func TestFailingRead(t *testing.T) {
	t.Parallel()
	from := &failing{from: io.MultiReader(bytes.NewReader([]byte("abc")), failingReader{unix.EIO})}
	read, err := io.ReadAll(from)
	require.Equal(t, "abc", string(read))
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, unreadable(from.err))
	require.False(t, unreadable(unix.EMFILE), "it concerns all files")
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// TestOverwriteKeepsUnreadableFiles: a file that cannot be read stays, unless the backup has it.
func TestOverwriteKeepsUnreadableFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read all files")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "uploads")
	write(t, "a", root, "a.txt")
	write(t, "b", root, "b.txt")
	require.NoError(t, os.Chmod(filepath.Join(root, "b.txt"), 0))
	source, err := New(root, nil)
	require.NoError(t, err)
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	require.NoError(t, err)
	job, err := backup.New("uploads", source, folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	run, err := job.Backup(t.Context())
	require.ErrorIs(t, err, backup.ErrSuspect)
	require.NoError(t, os.Chmod(filepath.Join(root, "a.txt"), 0))
	_, err = job.RestoreOver(t.Context(), run.ID, "uploads", nil)
	require.NoError(t, err)
	for _, name := range []string{"a.txt", "b.txt"} {
		require.NoError(t, os.Chmod(filepath.Join(root, name), 0o600))
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.Equal(t, name[:1], string(text))
	}
}
