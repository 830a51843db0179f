package mysql_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// sampled are the schemas of the plain run: bodies that name their database, and values of all
// types.
var sampled = []string{"qualified", "values"}

// TestSchemas takes each schema through a backup, a restore beside the original, one on
// another server with other defaults, a restore test, and an overwriting restore, and compares
// the databases by mariadb-dump and CHECKSUM TABLE. The logs of the server show that no
// statement of a restore beside or a restore test names the original.
func TestSchemas(t *testing.T) {
	t.Parallel()
	const engines = "--plugin-load-add=ha_federatedx;ha_archive;ha_blackhole"
	server := testserver.MariaDB(t, engines, "--log-bin=bin", "--server-id=1", "--event-scheduler=ON", "--log-bin-trust-function-creators=1")
	other := testserver.MariaDB(t, engines, "--character-set-server=latin1", "--collation-server=latin1_swedish_ci", "--sql-mode=", "--event-scheduler=ON")
	paths, err := filepath.Glob("testdata/schemas/*.sql")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 12)
	if !testserver.Long() {
		paths = nil
		for _, name := range sampled {
			paths = append(paths, filepath.Join("testdata", "schemas", name+".sql"))
		}
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".sql")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			database, copied := "x"+name, "c"+name
			load(t, server, database, string(text))
			if _, schema, _ := strings.Cut(string(text), "\n"); strings.HasPrefix(schema, "CREATE ROLE") || strings.HasPrefix(schema, "CREATE DATABASE") { // the other server has them too
				first, _, _ := strings.Cut(schema, "\n")
				other.Exec(t, first)
			}
			source := sourceOf(t, server, database, nil)
			job := jobOf(t, source, &backup.Options{Compression: backup.Zstd})
			report, err := job.Backup(t.Context())
			require.NoError(t, err)
			m := report.Manifest
			require.Empty(t, m.Skipped)
			original := described(t, server, database, true, database, copied)
			still := described(t, server, database, false, database, copied)

			silent(t, server, database, func() {
				got, err := job.Restore(t.Context(), m.ID, copied, nil)
				require.NoError(t, err)
				assert.Equal(t, copied, got.Target)
			})
			equal(t, still, described(t, server, copied, false, database, copied))
			require.NotContains(t, described(t, server, copied, true, database, copied), "PRESERVE ENABLE")
			if !strings.Contains("samename wordy modes", name) { // whose columns, and literals of other SQL modes, have that name
				for _, line := range strings.Split(withoutLiterals(definitions(t, server, copied)), "\n") {
					require.NotContains(t, line, database, "a definition of the copy refers to the original")
				}
			}
			server.Exec(t, "DROP DATABASE "+copied)

			silent(t, server, database, func() {
				v, err := job.TestRestore(t.Context(), m.ID)
				require.NoError(t, err)
				assert.True(t, v.RestoreTest.OK)
			})
			equal(t, original, described(t, server, database, true, database, copied))

			// On another server, under a name of another kind.
			there := sourceOf(t, other, database, nil)
			elsewhere := jobOver(t, job, there)
			_, err = elsewhere.Restore(t.Context(), m.ID, "a `new` na-me é", nil)
			require.NoError(t, err)
			equal(t, still, described(t, other, "a `new` na-me é", false, database, copied))
			other.Exec(t, "DROP DATABASE `a ``new`` na-me é`")

			// Over the original, after it was damaged.
			server.Exec(t, "CREATE TABLE "+quote(database)+".later (id INT); CREATE PROCEDURE "+quote(database)+".later() SELECT 1;")
			_, err = job.RestoreOver(t.Context(), m.ID, database, nil)
			require.NoError(t, err)
			equal(t, original, described(t, server, database, true, database, copied))
			left := server.Exec(t, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME RLIKE 'scratch|replaced'")
			assert.Empty(t, left)
		})
	}
}

// literal is a name, text or comment of a definition.
var literal = regexp.MustCompile("`(?:[^`]|``)*`|'(?:[^'\\\\]|\\\\.|'')*'|\"(?:[^\"\\\\]|\\\\.)*\"|--[ \t].*|#.*|/\\*[^!M](?s:.*?)\\*/")

// withoutLiterals takes texts and comments out of definitions.
func withoutLiterals(text string) string {
	return literal.ReplaceAllStringFunc(text, func(part string) string {
		if part[0] == '`' {
			return part
		}
		return ""
	})
}

// jobOver is a job over the backups of another one, with a source on another server.
func jobOver(t *testing.T, job *backup.Job, source driver.Source) *backup.Job {
	t.Helper()
	path, _ := folders.Load(job)
	return jobAt(t, path.(string), source, nil)
}

func equal(t *testing.T, want, got string) {
	t.Helper()
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			found := "(nothing)"
			if i < len(b) {
				found = b[i]
			}
			t.Fatalf("line %d:\n%.600s\nbecame\n%.600s", i+1, a[i], found)
		}
	}
	require.Len(t, b, len(a))
}

// silent runs do and demands that neither the general log nor the binary log of the server
// has a statement that names the database.
func silent(t *testing.T, server *testserver.MariaDBServer, database string, do func()) {
	t.Helper()
	if database == "xsamename" || database == "xwordy" { // whose tables or columns are called the same
		do()
		return
	}
	server.Exec(t, "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; FLUSH BINARY LOGS; SET GLOBAL general_log = 1")
	do()
	server.Exec(t, "SET GLOBAL general_log = 0")
	logged := server.Exec(t, "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute', 'Prepare', 'Init DB')")
	require.NotEmpty(t, logged)
	file := strings.Fields(server.Exec(t, "SHOW MASTER STATUS"))[0]
	logged += server.Exec(t, "SHOW BINLOG EVENTS IN '"+file+"'")
	for _, line := range strings.Split(logged, "\n") {
		for _, form := range []string{quote(database), database + ".", " " + database + " ", "'" + database + "'"} {
			if strings.Contains(line, form) && !strings.Contains(line, "INSERT INTO") && !strings.Contains(line, "COMMENT 'see") && !strings.Contains(line, "a comment that names") {
				t.Errorf("a statement names the original: %.500s", line)
			}
		}
	}
}
