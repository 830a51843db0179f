package backup

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who looks at the outcome of the last run while the next one ends finds one of the two.
func TestFolderReplaces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	folder, err := NewFolder(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, folder.replace(ctx, statusFile, []byte("run 0\n")))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			if err := folder.replace(ctx, statusFile, fmt.Appendf(nil, "run %d\n", i+1)); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		file, err := folder.Open(ctx, statusFile)
		require.NoError(t, err)
		data, err := io.ReadAll(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Regexp(t, `^run \d+\n$`, string(data))
	}
	objects, err := folder.List(ctx)
	require.NoError(t, err)
	require.Len(t, objects, 1, "nothing else is left")
	require.Error(t, folder.replace(ctx, "../status.json", nil))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, folder.replace(ended, statusFile, []byte("too late")), context.Canceled)
}

// A link could be turned elsewhere between two backups.
func TestFolderIsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "real"), link); err != nil {
		t.Skip(err)
	}
	folder, err := NewFolder(link)
	require.NoError(t, err)
	j, err := New("pos", newFake(1), folder, &Options{Logger: silent})
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorContains(t, err, "is a symbolic link")
	left, err := os.ReadDir(filepath.Join(dir, "real"))
	require.NoError(t, err)
	require.Empty(t, left)

	// Further up it is the administrator's affair.
	folder, err = NewFolder(filepath.Join(link, "backups"))
	require.NoError(t, err)
	_, err = folder.Put(t.Context(), "pos.json", func(w io.Writer) error { _, err := w.Write([]byte("x")); return err })
	require.NoError(t, err)
}
