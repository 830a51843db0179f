package backup_test

import (
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// BenchmarkMariaDBRestore restores a backup, with every value compared, against the client
// program with a dump of mariadb-dump, and a table of a hundredth of the rows against both.
func BenchmarkMariaDBRestore(b *testing.B) {
	dump := testserver.Lookup(b, "mariadb-dump", "mariadb-client")
	client := testserver.Lookup(b, "mariadb", "mariadb-client")
	shell := testserver.Lookup(b, "sh", "dash")
	server := testserver.MariaDB(b, "--innodb-buffer-pool-size=256M")
	server.CreateDatabase(b, "shop")
	rows := megabytes(b) * 10000
	server.Exec(b, fmt.Sprintf(`USE shop;
		CREATE TABLE items (id int PRIMARY KEY, sale int, name varchar(60), quantity int, price int, KEY (sale)) ENGINE=InnoDB;
		CREATE TABLE small LIKE items;
		INSERT INTO items SELECT seq, seq DIV 3, CONCAT('Product number ', MD5(seq)), 1 + seq %% 4, (CRC32(seq) %% 450) * 25 FROM seq_1_to_%d;
		INSERT INTO small SELECT * FROM items WHERE id <= %d;`, rows, rows/100))
	host, port, _ := strings.Cut(server.Addr(), ":")
	dir := b.TempDir()
	options := filepath.Join(dir, "client.cnf")
	must(b, os.WriteFile(options, fmt.Appendf(nil, "[client]\nprotocol=tcp\nhost=%s\nport=%s\nuser=%s\npassword=%s\n", host, port, server.User(), server.Password()), 0o600))
	file := filepath.Join(dir, "peer.sql")
	peer(b, dump, "--defaults-file="+options, "--single-transaction", "--result-file="+file, "shop")
	db, err := sql.Open("mysql", server.DSN(""))
	must(b, err)
	defer db.Close()
	source, err := mysql.New(db, "shop", nil)
	must(b, err)
	folder, err := backup.NewFolder(filepath.Join(dir, "backups"))
	must(b, err)
	job, err := backup.New("pos", source, folder, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: -1}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	must(b, err)
	report, err := job.Backup(b.Context())
	must(b, err)
	var theirs, whole, single time.Duration
	for b.Loop() {
		server.Exec(b, "DROP DATABASE IF EXISTS peer; CREATE DATABASE peer")
		theirs += peer(b, shell, "-c", client+` --defaults-file="$0" peer < "$1"`, options, file)
		server.Exec(b, "DROP DATABASE peer")
		for target, o := range map[string]*backup.RestoreOptions{"whole": nil, "part": {Tables: []string{"small"}}} {
			start := time.Now()
			_, err := job.Restore(b.Context(), report.Manifest.ID, target, o)
			must(b, err)
			if o == nil {
				whole += time.Since(start)
			} else {
				single += time.Since(start)
			}
			server.Exec(b, "DROP DATABASE "+target)
		}
	}
	b.ReportMetric(whole.Seconds()/theirs.Seconds(), "x-mariadb-wall")
	b.ReportMetric(single.Seconds()/whole.Seconds(), "x-whole-for-one-table")
	b.ReportMetric(whole.Seconds()/float64(b.N), "s-ours")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s-mariadb")
	b.ReportMetric(float64(report.Manifest.RawSize)/1e6, "MB-raw")
}
