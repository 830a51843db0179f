package postgres_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestRunbook types docs/backup-postgres.md into a shell, on a second server.
func TestRunbook(t *testing.T) {
	t.Parallel()
	testserver.Lookup(t, "zstd", "zstd")
	ageProgram := testserver.Lookup(t, "age", "age")
	server := guardedServer(t)
	dir := t.TempDir()
	folder, err := backup.NewFolder(filepath.Join(dir, "backups", "pos"))
	require.NoError(t, err)
	job, err := backup.New("pos", source(t, server.DSN("two"), nil), folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	m := report.Manifest
	require.True(t, report.Restored)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), "key.txt"), []byte(identity.String()+"\n"), 0o600))
	require.NoError(t, exec.CommandContext(t.Context(), ageProgram, "-r", identity.Recipient().String(), "-o", filepath.Join(folder.Path(), m.File+".age"), filepath.Join(folder.Path(), m.File)).Run())

	data, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "backup-postgres.md"))
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(data), "# Restoring without this program\n")
	_, block, found := strings.Cut(text, "```sh\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	block = strings.ReplaceAll(block, "pos_20261123T020000Z_4f1c2a", m.ID)

	other := testserver.Postgres(t)
	host, port, _ := strings.Cut(other.Addr(), ":")
	shell := exec.CommandContext(t.Context(), testserver.Lookup(t, "sh", "dash"), "-e", "-c", block)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+filepath.Dir(testserver.Lookup(t, "pg_restore", "postgresql-client"))+":"+os.Getenv("PATH"),
		"PGHOST="+host, "PGPORT="+port, "PGUSER="+other.User(), "PGPASSWORD="+other.Password())
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s\n%s", block, out)
	assert.Equal(t, 2, strings.Count(string(out), m.SHA256), string(out))
	assert.Equal(t, script(t, server.DSN("two")), script(t, other.DSN("pos_restored")))

	// The program brings the same, under any name, there too.
	there, err := backup.New("pos", source(t, other.DSN("pos"), nil), folder, &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	restored, err := there.Restore(t.Context(), m.ID, "again", nil)
	require.NoError(t, err)
	assert.Empty(t, restored.Contents.Warnings)
	assert.Equal(t, script(t, server.DSN("two")), script(t, other.DSN("again")))
}
