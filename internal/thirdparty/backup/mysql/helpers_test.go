package mysql_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestMain(m *testing.M) {
	testserver.MostlyWaits(3)
	os.Exit(m.Run())
}

// pool returns a pool of the administrator, in no database.
func pool(t testing.TB, server *testserver.MariaDBServer) *sql.DB {
	t.Helper()
	return poolAs(t, server, server.User(), server.Password())
}

func poolAs(t testing.TB, server *testserver.MariaDBServer, user, password string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", user+":"+password+"@tcp("+server.Addr()+")/?maxAllowedPacket=0")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func sourceOf(t testing.TB, server *testserver.MariaDBServer, database string, opts *mysql.Options) *mysql.Source {
	t.Helper()
	source, err := mysql.New(pool(t, server), database, opts)
	require.NoError(t, err)
	return source
}

func jobOf(t testing.TB, source driver.Source, opts *backup.Options) *backup.Job {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobAt(t, folder, source, opts)
	folders.Store(job, folder)
	return job
}

// folders are those of the jobs of this test.
var folders sync.Map

// jobAt returns a job whose backups lie in a folder.
func jobAt(t testing.TB, path string, source driver.Source, opts *backup.Options) *backup.Job {
	t.Helper()
	folder, err := backup.NewFolder(path)
	require.NoError(t, err)
	var o backup.Options
	if opts != nil {
		o = *opts
	}
	o.Logger = slog.New(slog.DiscardHandler)
	if o.RestoreTest.Every == 0 {
		o.RestoreTest.Every = -1
	}
	job, err := backup.New("pos", source, folder, &o)
	require.NoError(t, err)
	return job
}

func dumpOf(t testing.TB, source *mysql.Source) ([]byte, driver.Contents) {
	t.Helper()
	var out bytes.Buffer
	got, err := source.Dump(t.Context(), &out)
	require.NoError(t, err)
	return out.Bytes(), got
}

// load runs a schema in a new database.
func load(t testing.TB, server *testserver.MariaDBServer, database, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, "{db}", database)
	server.Exec(t, "CREATE DATABASE "+quote(database)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\nUSE "+quote(database)+";\nSET NAMES utf8mb4;\n"+text)
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

var (
	eventStates = regexp.MustCompile(`(ON COMPLETION (?:NOT )?PRESERVE) (ENABLE|DISABLE(?: ON SLAVE)?)`)
	volatile    = regexp.MustCompile(`(?m)^(-- (Host|Dump|MariaDB dump|Server version|Current).*|/\*M!999999.*)$`)
)

// described is what Debian's mariadb-dump and CHECKSUM TABLE say of a database: two programs
// that know nothing of this package. The names of the database, and others that are given, are
// taken out.
func described(t testing.TB, server *testserver.MariaDBServer, database string, events bool, also ...string) string {
	t.Helper()
	text := volatile.ReplaceAllString(mariadbDump(t, server, database, "--hex-blob", "--tz-utc", "--order-by-primary", "--dump-history"), "")
	if !events {
		text = eventStates.ReplaceAllString(text, "$1 ANY")
	}
	text += server.Exec(t, fmt.Sprintf("SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = '%s'", strings.ReplaceAll(database, "'", "''")))
	names := server.Exec(t, fmt.Sprintf("SELECT CONCAT('`', REPLACE(TABLE_NAME, '`', '``'), '`') FROM information_schema.TABLES WHERE BINARY TABLE_SCHEMA = '%s' AND TABLE_TYPE <> 'VIEW' ORDER BY BINARY TABLE_NAME", strings.ReplaceAll(database, "'", "''")))
	if list := strings.Split(strings.TrimSpace(names), "\n"); list[0] != "" {
		sums := server.Exec(t, "USE "+quote(database)+"; CHECKSUM TABLE "+strings.Join(list, ", ")+" EXTENDED")
		for i, line := range strings.Split(strings.TrimSpace(sums), "\n") {
			text += list[i] + "\t" + line[strings.LastIndex(line, "\t")+1:] + "\n"
		}
	}
	for _, name := range append([]string{database}, also...) {
		text = regexp.MustCompile("("+regexp.QuoteMeta(quote(name))+"|\""+regexp.QuoteMeta(name)+"\"|\\b"+regexp.QuoteMeta(name)+"\\b)( ?\\. ?)?").ReplaceAllString(text, "")
	}
	return text
}

// mariadbDump runs Debian's mariadb-dump.
func mariadbDump(t testing.TB, server *testserver.MariaDBServer, database string, args ...string) string {
	t.Helper()
	client := testserver.Lookup(t, "mariadb-dump", "mariadb-client")
	all := []string{"--no-defaults", "--socket=" + server.Socket(), "--user=" + server.User(), "--password=" + server.Password(), "--routines", "--events", "--triggers", "--skip-dump-date", "--default-character-set=utf8mb4"}
	out, err := exec.CommandContext(t.Context(), client, append(append(all, args...), "--", database)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// definitions is the dump of a database without rows.
func definitions(t testing.TB, server *testserver.MariaDBServer, database string) string {
	t.Helper()
	return mariadbDump(t, server, database, "--no-data", "--skip-comments")
}

// boundTo is a pool that is bound to a database.
func boundTo(t testing.TB, server *testserver.MariaDBServer, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", server.DSN(database))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// leftovers are the databases that a restore may leave.
func leftovers(t testing.TB, server *testserver.MariaDBServer) []string {
	t.Helper()
	return strings.Fields(server.Exec(t, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME RLIKE '_(scratch|replaced)_|^copy$|^shop_restore_20260101t000000$'"))
}
