//go:build engines

package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// runbook returns the shell blocks of a document's section, as they are printed there
// but for the name of the backup.
func runbook(t *testing.T, document, section, id string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", document))
	require.NoError(t, err)
	_, text, found := strings.Cut(string(data), "# "+section+"\n")
	require.True(t, found, section)
	text, _, _ = strings.Cut(text, "\n## ")
	text, _, _ = strings.Cut(text, "\n### ")
	var blocks []string
	for i, part := range strings.Split(text, "```") {
		if block, shell := strings.CutPrefix(part, "sh\n"); shell && i%2 == 1 {
			blocks = append(blocks, strings.ReplaceAll(block, "pos_20261123T020000Z_4f1c2a", id))
		}
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// typeIn types what a runbook says into a shell, beside the folder backups/pos.
func typeIn(t *testing.T, dir, text string, environment ...string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), testserver.Lookup(t, "sh", "dash"), "-e", "-c", text)
	shell.Dir = dir
	shell.Env = append(os.Environ(), environment...)
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s\n%s", text, out)
	return string(out)
}

// forRunbook takes a backup of source into backups/pos beneath a new folder, and puts an
// encrypted copy and one through gzip beside it, with the key.
func forRunbook(t *testing.T, source Source) (dir string, m *Manifest) {
	t.Helper()
	testserver.Lookup(t, "zstd", "zstd")
	testserver.Lookup(t, "age", "age")
	dir = t.TempDir()
	folder, err := NewFolder(filepath.Join(dir, "backups", "pos"))
	require.NoError(t, err)
	j, err := New("pos", source, folder, &Options{Logger: silent, Drill: DrillOptions{Every: -1}})
	require.NoError(t, err)
	m = mustBackup(t, j)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), "key.txt"), []byte(identity.String()+"\n"), 0o600))
	typeIn(t, folder.Path(), fmt.Sprintf("age -r %s -o %[2]s.age %[2]s; zstd -dc %[2]s | gzip > %s.gz",
		identity.Recipient(), m.File, strings.TrimSuffix(m.File, ".zst")))
	return dir, m
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestRunbook follows docs/backup.md to the letter.
func TestRunbook(t *testing.T) {
	t.Parallel()
	testserver.Lookup(t, "sqlite3", "sqlite3")
	db, _ := openShop(t)
	dir, m := forRunbook(t, NewSQLite(db))
	blocks := runbook(t, "backup.md", "Without this program", m.ID)
	require.Len(t, blocks, 2)
	out := typeIn(t, dir, blocks[0])
	assert.Equal(t, 2, strings.Count(out, m.SHA256), out)
	assert.True(t, strings.HasSuffix(out, "\nok\n"), out)
	folder := filepath.Join(dir, "backups", "pos")
	restored := filepath.Join(folder, "restored.db")
	require.Equal(t, m.RawSHA256, fileSum(t, restored))

	files, err := NewFiles(folder, &FilesOptions{Exclude: []string{"*.tar.zst"}})
	require.NoError(t, err)
	filesDir, packed := forRunbook(t, files)
	lines := strings.Split(strings.TrimSpace(blocks[1]), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines[:2] {
		require.NoError(t, os.Remove(restored))
		typeIn(t, folder, line)
		require.Equal(t, m.RawSHA256, fileSum(t, restored), line)
	}
	filesFolder := filepath.Join(filesDir, "backups", "pos")
	typeIn(t, filesFolder, strings.ReplaceAll(lines[2], m.ID, packed.ID))
	require.Equal(t, fileSum(t, filepath.Join(folder, m.File)), fileSum(t, filepath.Join(filesFolder, "restored", m.File)))
}

// TestRunbookMariaDB follows docs/backup-mariadb.md. The password that the client would
// ask a person for comes from a file.
func TestRunbookMariaDB(t *testing.T) {
	t.Parallel()
	client := testserver.Lookup(t, "mariadb", "mariadb-client")
	server := testserver.MariaDB(t, "--max-allowed-packet=4M")
	server.Exec(t, till)
	m := mysqlSource(t, server.DSN("till"), nil)
	dir, manifest := forRunbook(t, m)
	bin := t.TempDir()
	options := filepath.Join(bin, "client.cnf")
	require.NoError(t, os.WriteFile(options, fmt.Appendf(nil, "[client]\nsocket=%s\npassword=%s\n", server.Socket(), server.Password()), 0o600))
	asks := "#!/bin/sh\nfor a; do shift; [ \"$a\" = -p ] || set -- \"$@\" \"$a\"; done\nexec " + client + " --defaults-file=" + options + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "mariadb"), []byte(asks), 0o700))

	blocks := runbook(t, "backup-mariadb.md", "Restoring without this program", manifest.ID)
	require.Len(t, blocks, 1)
	out := typeIn(t, dir, blocks[0], "PATH="+bin+":"+os.Getenv("PATH"))
	assert.Equal(t, 2, strings.Count(out, manifest.SHA256), out)
	assert.Contains(t, out, "\n-- Dump completed")
	require.NoError(t, different(manifest.Contents, mysqlHolds(t, m, "pos_restored")))
	assert.Equal(t, checksums(t, server, "till", manifest.Tables), checksums(t, server, "pos_restored", manifest.Tables))
}

// TestRunbookPostgres follows docs/backup-postgres.md.
func TestRunbookPostgres(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(testserver.Lookup(t, "pg_restore", "postgresql-client"))
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", shop)
	p := source(t, server.DSN("shop"), nil)
	dir, manifest := forRunbook(t, p)
	host, port, _ := strings.Cut(server.Addr(), ":")
	blocks := runbook(t, "backup-postgres.md", "Restoring without this program", manifest.ID)
	require.Len(t, blocks, 1)
	out := typeIn(t, dir, blocks[0], "PATH="+bin+":"+os.Getenv("PATH"),
		"PGHOST="+host, "PGPORT="+port, "PGUSER="+server.User(), "PGPASSWORD="+server.Password())
	assert.Equal(t, 2, strings.Count(out, manifest.SHA256), out)
	got, err := p.countsOf(t.Context(), "pos_restored")
	require.NoError(t, err)
	same(t, manifest.Contents, got)
}
