package sqlite_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/bundle"
	"github.com/mainstay-go/mainstay/backup/files"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// blocks returns the shell blocks of the section "Without this program" of docs/backup.md, as
// they are printed there except the name of the backup.
func blocks(t *testing.T, id string) []string {
	t.Helper()
	data, err := os.ReadFile("../../../../docs/backup.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(data), "### Without this program\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n### ")
	var all []string
	for i, part := range strings.Split(text, "```") {
		if block, shell := strings.CutPrefix(part, "sh\n"); shell && i%2 == 1 {
			all = append(all, strings.ReplaceAll(block, "pos_20261123T020000Z_4f1c2a", id))
		}
	}
	require.Len(t, all, 3)
	return all
}

func typeIn(t *testing.T, dir, text string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
	shell.Dir = dir
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s\n%s", text, out)
	return string(out)
}

// TestRunbook types in docs/backup.md on another host: one that has only the files.
func TestRunbook(t *testing.T) {
	t.Parallel()
	testserver.Lookup(t, "sqlite3", "sqlite3")
	testserver.Lookup(t, "zstd", "zstd")
	testserver.Lookup(t, "age", "age")
	db, path := open(t, books)
	source := sqlite.New(db)
	before := script(t, path)
	uploads := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(uploads, "a.txt"), []byte("a file"), 0o600))
	folderOf, err := files.New(uploads, nil)
	require.NoError(t, err)
	both, err := bundle.New(bundle.Part{Name: "database", Source: source}, bundle.Part{Name: "uploads", Source: folderOf})
	require.NoError(t, err)
	// copied is what another host gets of a backup.
	copied := func(job *backup.Job, folder *backup.Folder) (dir string, m *backup.Manifest) {
		run, err := job.Backup(t.Context())
		require.NoError(t, err)
		dir = t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "backups", "pos"), os.DirFS(folder.Path())))
		return dir, run.Manifest
	}
	dir, m := copied(jobOf(t, source, &backup.Options{SkipVerify: true}))
	folder := filepath.Join(dir, "backups", "pos")
	typed := blocks(t, m.ID)
	out := typeIn(t, dir, typed[0])
	assert.Equal(t, 2, strings.Count(out, m.SHA256), out)
	assert.True(t, strings.HasSuffix(out, "\nok\n"), out)
	restored := filepath.Join(folder, "restored.db")
	assert.Equal(t, before, script(t, restored))

	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "key.txt"), []byte(identity.String()+"\n"), 0o600))
	typeIn(t, folder, fmt.Sprintf("age -r %s -o %[2]s.age %[2]s; zstd -dc %[2]s | gzip > %s.gz", identity.Recipient(), m.File, strings.TrimSuffix(m.File, ".zst")))
	lines := strings.Split(strings.TrimSpace(typed[1]), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines[:2] {
		require.NoError(t, os.Remove(restored))
		typeIn(t, folder, line)
		assert.Equal(t, before, script(t, restored), line)
	}
	dir, m = copied(jobOf(t, folderOf, &backup.Options{SkipVerify: true}))
	folder = filepath.Join(dir, "backups", "pos")
	typeIn(t, folder, strings.Split(strings.TrimSpace(blocks(t, m.ID)[1]), "\n")[2])
	assert.FileExists(t, filepath.Join(folder, "restored", "a.txt"))

	dir, m = copied(jobOf(t, both, &backup.Options{SkipVerify: true}))
	folder = filepath.Join(dir, "backups", "pos")
	assert.Contains(t, typeIn(t, folder, blocks(t, m.ID)[2]), "database.db\nuploads.tar\n")
	assert.Equal(t, before, script(t, filepath.Join(folder, "restored.db")))
	assert.FileExists(t, filepath.Join(folder, "uploads", "a.txt"))
}
