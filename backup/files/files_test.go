package files

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// treeOf describes a folder: names, kinds, permissions, times, contents.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text = "link " + link // its own time and permissions cannot be set
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", data)
			fallthrough
		default:
			text += " " + info.ModTime().UTC().Format(time.RFC3339Nano)
		}
		tree[relative] = text
		return nil
	}))
	return tree
}

// randomTree fills a folder with what people have in theirs.
func randomTree(t *testing.T, r *rand.Rand, dir string, depth int) {
	t.Helper()
	for i := range 1 + r.IntN(5) {
		name := filepath.Join(dir, fmt.Sprintf("%s%d", []string{"a", ".hidden", "with blank", "ünï", "new\nline", "-rf", strings.Repeat("long", 40)}[r.IntN(7)], i))
		switch r.IntN(5) {
		case 0, 1:
			data := make([]byte, r.IntN(3000))
			for i := range data {
				data[i] = byte(r.IntN(3))
			}
			require.NoError(t, os.WriteFile(name, data, 0o600))
			require.NoError(t, os.Chmod(name, []fs.FileMode{0o600, 0o644, 0o755, 0o400}[r.IntN(4)]))
		case 2:
			require.NoError(t, os.Symlink([]string{"a0", "../..", "/etc/passwd", "nowhere"}[r.IntN(4)], name))
			continue
		default:
			require.NoError(t, os.Mkdir(name, 0o700))
			if depth > 0 {
				randomTree(t, r, name, depth-1)
			}
			require.NoError(t, os.Chmod(name, []fs.FileMode{0o700, 0o755, 0o777, 0o500}[r.IntN(4)]))
		}
		when := time.Unix(r.Int64N(2e9), r.Int64N(1e9)/100*100)
		require.NoError(t, os.Chtimes(name, when, when))
	}
}

func TestFilesComeBack(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("names and permissions of unix")
	}
	stock := testserver.Lookup(t, "tar", "tar")
	for seed := range uint64(15) {
		parent := t.TempDir()
		t.Cleanup(func() { removeTree(parent) })
		dir := filepath.Join(parent, "shop")
		require.NoError(t, os.Mkdir(dir, 0o755))
		randomTree(t, rand.New(rand.NewPCG(seed, 1)), dir, 3)
		source, err := New(dir, nil)
		require.NoError(t, err)
		j, folder := jobOf(t, source)
		m := backupOnce(t, j)
		assert.Empty(t, m.Warnings)
		require.Equal(t, "files", m.Engine)
		report, err := j.Restore(t.Context(), "", "", nil)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(report.Target, dir+"_restore_"), report.Target)
		want := treeOf(t, dir)
		require.Equal(t, want, treeOf(t, report.Target))
		require.EqualValues(t, len(want), report.Contents.Rows())

		_, err = j.Restore(t.Context(), "", report.Target, nil)
		require.ErrorContains(t, err, "exists")

		// Twice the same is the same archive.
		require.Equal(t, m.RawSHA256, backupOnce(t, j).RawSHA256)

		by := filepath.Join(parent, "by-hand")
		require.NoError(t, os.Mkdir(by, 0o700))
		out, err := exec.CommandContext(t.Context(), stock, "-xpf", filepath.Join(folder.Path(), m.File), "-C", by).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want, treeOf(t, by))
	}
}

func TestFilesLeaveOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "b.tmp", "cache/x", "in/cache/y", "in/keep.txt", "logs/1.log", "in/logs/2.log", "backups/old.tar"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	source, err := New(dir, &Options{Exclude: []string{"*.tmp", "cache", "logs/*.log"}})
	require.NoError(t, err)
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	require.NoError(t, err)
	j, err := backup.New("files", source, folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	for range 3 { // the backups do not grow by themselves
		m := backupOnce(t, j)
		require.Equal(t, []driver.Table{{Name: kindFiles, Rows: 3}, {Name: kindFolders, Rows: 4}, {Name: kindLinks}}, m.Tables)
	}
	report, err := j.Restore(t.Context(), "", filepath.Join(t.TempDir(), "r"), nil)
	require.NoError(t, err)
	var names []string
	for name := range treeOf(t, report.Target) {
		names = append(names, filepath.ToSlash(name))
	}
	require.ElementsMatch(t, []string{".", "a.txt", "in", "in/keep.txt", "in/logs", "in/logs/2.log", "logs"}, names)
	for _, bad := range []string{"", "["} {
		_, err := New(dir, &Options{Exclude: []string{bad}})
		require.Error(t, err)
	}
	_, err = New("", nil)
	require.Error(t, err)
}

// TestFilesThatChange: whatever happens to a file while it is read, the archive is whole.
func TestFilesThatChange(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for name, change := range map[string]func(path string) error{
		"shrinks":  func(path string) error { return os.Truncate(path, 10) },
		"grows":    func(path string) error { return os.WriteFile(path, make([]byte, 2*size), 0o600) },
		"vanishes": os.Remove,
		"the next is gone": func(path string) error {
			return os.Remove(filepath.Join(filepath.Dir(path), "z"))
		},
		"the next is a link outside": func(path string) error {
			z := filepath.Join(filepath.Dir(path), "z")
			if err := os.Remove(z); err != nil {
				return err
			}
			return os.Symlink("/etc/passwd", z)
		},
		"its folder is a link outside": func(path string) error {
			z := filepath.Join(filepath.Dir(path), "zz")
			if err := os.RemoveAll(z); err != nil {
				return err
			}
			return os.Symlink("/etc", z)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("data"), size/4), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "z"), []byte("z"), 0o600))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "zz"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "zz", "passwd"), []byte("mine"), 0o600))
			source, err := New(dir, nil)
			require.NoError(t, err)
			var out bytes.Buffer
			var once sync.Once
			counts, err := source.Dump(t.Context(), writerFunc(func(p []byte) (int, error) {
				if len(p) > 10_000 { // in the middle of a
					once.Do(func() {
						if err := change(path); err != nil {
							t.Error(err)
						}
					})
				}
				return out.Write(p)
			}))
			assert.NotContains(t, out.String(), "root:x:0")
			require.NoError(t, err)
			if name == "shrinks" || name == "grows" {
				require.Len(t, counts.Warnings, 1)
				assert.Contains(t, counts.Warnings[0], "1 files changed while they were read: a")
			}
			_, got, err := source.Restore(t.Context(), &out, driver.RestoreOptions{Target: filepath.Join(t.TempDir(), "r")})
			require.NoError(t, err)
			require.NoError(t, counts.Compare(got))
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	source, err := New(filepath.Join(t.TempDir(), "missing"), nil)
	require.NoError(t, err)
	_, err = source.Dump(t.Context(), &bytes.Buffer{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600))
	source, err = New(dir, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = source.Dump(ctx, &bytes.Buffer{})
	require.ErrorIs(t, err, context.Canceled)
}

// archive packs entries, and ends it only if whole.
func archive(t testing.TB, whole bool, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		h.Size = 0
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte("data"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Flush())
	if whole {
		require.NoError(t, w.Close())
	}
	return out.Bytes()
}

var hostileArchives = map[string][]tar.Header{
	"up":        {{Name: "../evil", Typeflag: tar.TypeReg}},
	"up within": {{Name: "a/../../evil", Typeflag: tar.TypeReg}},
	"absolute":  {{Name: "/tmp/evil", Typeflag: tar.TypeReg}},
	"through a link": {
		{Name: "a", Linkname: "..", Typeflag: tar.TypeSymlink},
		{Name: "a/evil", Typeflag: tar.TypeReg},
	},
	"over a link": {
		{Name: "a", Linkname: "../evil", Typeflag: tar.TypeSymlink},
		{Name: "a", Typeflag: tar.TypeReg},
	},
	"hard link": {{Name: "a", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}},
	"device":    {{Name: "a", Typeflag: tar.TypeChar}},
	"pipe":      {{Name: "a", Typeflag: tar.TypeFifo}},
	"twice":     {{Name: "a", Typeflag: tar.TypeReg}, {Name: "a", Typeflag: tar.TypeReg}},
	"no folder": {{Name: "a/b", Typeflag: tar.TypeReg}},
	"empty":     {{Name: "./a/.//b", Typeflag: tar.TypeReg}},
}

func TestHostileArchives(t *testing.T) {
	t.Parallel()
	source, err := New(t.TempDir(), nil)
	require.NoError(t, err)
	check := func(name string, data []byte) {
		parent := t.TempDir()
		_, _, err := source.Restore(t.Context(), bytes.NewReader(data), driver.RestoreOptions{Target: filepath.Join(parent, "r")})
		require.Error(t, err, name)
		left, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Empty(t, left, name)
	}
	for name, entries := range hostileArchives {
		check(name, archive(t, true, entries...))
	}
	check("nothing", nil)
	whole := archive(t, true, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg})
	for size := 0; size <= len(whole)-512; size += 256 {
		check(fmt.Sprintf("the first %d bytes", size), whole[:size])
	}
	// What was set with setuid comes back without.
	target := filepath.Join(t.TempDir(), "r")
	_, _, err = source.Restore(t.Context(), bytes.NewReader(archive(t, true, tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o4755})), driver.RestoreOptions{Target: target})
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(target, "a"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode())
}

// FuzzUnpack: no archive writes outside of its folder.
func FuzzUnpack(f *testing.F) {
	for _, entries := range hostileArchives {
		f.Add(archive(f, true, entries...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(parent, "evil"), []byte("as it was"), 0o600))
		source, err := New(parent, nil)
		require.NoError(t, err)
		target := filepath.Join(parent, "r")
		_, _, err = source.Restore(t.Context(), bytes.NewReader(data), driver.RestoreOptions{Target: target})
		entries, readErr := os.ReadDir(parent)
		require.NoError(t, readErr)
		if err != nil {
			require.Len(t, entries, 1, "a restore that failed left something")
		} else {
			require.Len(t, entries, 2)
			require.NoError(t, removeTree(target))
		}
		kept, err := os.ReadFile(filepath.Join(parent, "evil"))
		require.NoError(t, err)
		require.Equal(t, "as it was", string(kept))
	})
}

func jobOf(t *testing.T, source *Source) (*backup.Job, *backup.Folder) {
	t.Helper()
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	require.NoError(t, err)
	j, err := backup.New("pos", source, folder, &backup.Options{Compression: backup.None, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return j, folder
}

func backupOnce(t *testing.T, j *backup.Job) *backup.Manifest {
	t.Helper()
	report, err := j.Backup(t.Context())
	require.NoError(t, err)
	return report.Manifest
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
