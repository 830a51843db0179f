package files

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
)

// write creates a file and its parent folders.
func write(t *testing.T, text string, elements ...string) {
	t.Helper()
	name := filepath.Join(elements...)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

// An overwriting restore is refused while the folder holds the backups, their copies or the
// history.
func TestOverwriteOfAFolderWithBackups(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"storage", "target", "history", "link"} {
		dir := t.TempDir()
		root := filepath.Join(dir, "shop")
		write(t, "a", root, "a.txt")
		storage, target, history := filepath.Join(dir, "backups"), filepath.Join(dir, "target"), filepath.Join(dir, "history")
		inside := filepath.Join(root, "deep", "inside")
		switch where {
		case "storage":
			storage = inside
		case "target":
			target = inside
		case "history":
			history = inside
		case "link":
			require.NoError(t, os.Symlink(root, filepath.Join(dir, "link")))
			storage = filepath.Join(dir, "link", "deep", "inside")
		}
		var folders []*backup.Folder
		for _, path := range []string{storage, target, history} {
			folder, err := backup.NewFolder(path)
			require.NoError(t, err)
			folders = append(folders, folder)
		}
		source, err := New(root, nil)
		require.NoError(t, err)
		j, err := backup.New("pos", source, folders[0], &backup.Options{
			Targets: []backup.Target{{Name: "attic", Storage: folders[1]}}, History: folders[2], Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		backupOnce(t, j)
		m := backupOnce(t, j)
		require.EqualValues(t, 1, m.Tables[0].Rows, "%s: no backup holds backups", where)
		before := treeOf(t, root)
		_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
		require.ErrorContains(t, err, "inside", where)
		require.Equal(t, before, treeOf(t, root), where)
	}
}

// A folder of backups cannot be the source.
func TestFolderOfItsOwnBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, err := New(filepath.Join(dir, "shop", "part"), nil)
	require.NoError(t, err)
	folder, err := backup.NewFolder(filepath.Join(dir, "shop"))
	require.NoError(t, err)
	write(t, "a", dir, "shop", "part", "a.txt")
	j, err := backup.New("pos", source, folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	backupOnce(t, j) // the folder of the backups holds the source

	source, err = New(folder.Path(), nil)
	require.NoError(t, err)
	j, err = backup.New("pos", source, folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorContains(t, err, "holds the backups")
}

// An overwriting restore keeps the files that a backup leaves out.
func TestOverwriteKeepsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("sockets and links of unix")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "shop")
	write(t, "a", root, "a.txt")
	write(t, "precious", root, "cache", "deep", "precious")
	require.NoError(t, os.Symlink("precious", filepath.Join(root, "cache", "deep", "link")))
	require.NoError(t, os.Chmod(filepath.Join(root, "cache", "deep"), 0o711))
	write(t, "log", root, "logs", "now.log")
	source, err := New(root, &Options{Exclude: []string{"cache", "*.log"}})
	require.NoError(t, err)
	j, _ := jobOf(t, source)
	m := backupOnce(t, j)

	write(t, "b", root, "a.txt")
	write(t, "new", root, "fresh", "new.log") // its folder is in no backup
	write(t, "x", root, "fresh", "x")
	socket, err := net.Listen("unix", filepath.Join(root, "s"))
	require.NoError(t, err)
	defer socket.Close()
	want := treeOf(t, root)
	open, err := os.OpenFile(filepath.Join(root, "logs", "now.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer open.Close()

	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	got := treeOf(t, root)
	for _, name := range []string{"cache/deep/precious", "cache/deep/link", "cache/deep", "cache", "logs/now.log", "fresh/new.log", "s"} {
		require.Equal(t, want[name], got[name], name)
	}
	require.NotContains(t, got, "fresh/x")
	data, err := os.ReadFile(filepath.Join(root, "a.txt"))
	require.NoError(t, err)
	require.Equal(t, "a", string(data))
	_, err = open.WriteString("!")
	require.NoError(t, err)
	data, err = os.ReadFile(filepath.Join(root, "logs", "now.log"))
	require.NoError(t, err)
	require.Equal(t, "log!", string(data), "a process that has the file open still writes to it")
	left, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	require.NoError(t, err)
	require.Empty(t, left)

	// A link in the way leads the files nowhere else.
	outside := t.TempDir()
	require.NoError(t, os.RemoveAll(filepath.Join(root, "fresh")))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "fresh")))
	m = backupOnce(t, j)
	require.NoError(t, os.Remove(filepath.Join(root, "fresh")))
	write(t, "new", root, "fresh", "new.log")
	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.ErrorContains(t, err, "fresh")
	require.FileExists(t, filepath.Join(root, "fresh", "new.log"))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// Names need not be UTF-8.
func TestNamesInLatin1(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other systems accept no such names")
	}
	root := filepath.Join(t.TempDir(), "shop")
	write(t, "a", root, "caf\xe9", "men\xfc.txt")
	source, err := New(root, &Options{Exclude: []string{"*.log"}})
	require.NoError(t, err)
	write(t, "a", root, "caf\xe9", "men\xfc.log")
	j, _ := jobOf(t, source)
	m := backupOnce(t, j)
	report, err := j.Restore(t.Context(), m.ID, "", nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(report.Target, "caf\xe9", "men\xfc.txt"))
	_, err = j.RestoreOver(t.Context(), m.ID, "shop", nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "caf\xe9", "men\xfc.log"))
}
