package client

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process that is killed leaves its password file. The next one removes it a day
// later, and nothing that is not its own.
func TestSecretFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows knows no TMPDIR")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	killed, err := NewSecretFile("pgpass", "s3cret")
	require.NoError(t, err)
	info, err := os.Stat(killed.Path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	folder, err := os.Stat(filepath.Dir(killed.Path))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), folder.Mode().Perm())

	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{secretFolder + "mine", "my-" + secretFolder + "1", "holiday"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
	second, err := NewSecretFile("pgpass", "s3cret")
	require.NoError(t, err)
	require.FileExists(t, killed.Path, "somebody may still use it")
	require.NoError(t, os.Chtimes(filepath.Dir(killed.Path), old, old))
	third, err := NewSecretFile("client.cnf", "s3cret")
	require.NoError(t, err)
	assert.NoFileExists(t, killed.Path)
	second.Remove()
	third.Remove()
	SecretFile{}.Remove()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 3)
}
