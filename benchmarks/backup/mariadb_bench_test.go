package backup_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// BenchmarkMariaDB compares a whole run with `mariadb-dump` to `/dev/null`, which is what
// the server and its program take by themselves, and with `mariadb-dump | gzip -6`, on
// the same data in the same run. The metrics are its wall time and size as parts of
// theirs, and the peak of this process's memory, which the dump program is no part of.
func BenchmarkMariaDB(b *testing.B) {
	gzip := testserver.Lookup(b, "gzip", "gzip")
	dump := testserver.Lookup(b, "mariadb-dump", "mariadb-client")
	shell := testserver.Lookup(b, "sh", "dash")
	server := testserver.MariaDB(b, "--innodb-buffer-pool-size=256M")
	server.CreateDatabase(b, "shop")
	// A sale with its three items takes some 290 bytes as text.
	sales := megabytes(b) * 3600
	server.Exec(b, fmt.Sprintf(`USE shop;
		CREATE TABLE sales (id int PRIMARY KEY, uid char(36), customer int, cashier varchar(40), total int, at datetime) ENGINE=InnoDB;
		CREATE TABLE items (id int PRIMARY KEY, sale int, product int, name varchar(60), quantity int, price int) ENGINE=InnoDB;
		INSERT INTO sales SELECT seq, INSERT(INSERT(INSERT(INSERT(MD5(seq), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-'),
			CRC32(seq) %% 100000, CONCAT('cashier ', seq %% 9), CRC32(seq + 1) %% 9000, '2026-01-01' + INTERVAL seq * 7 SECOND FROM seq_1_to_%d;
		INSERT INTO items SELECT seq, seq DIV 3, CRC32(seq) %% 450, CONCAT('Product number ', CRC32(seq) %% 450), 1 + seq %% 4,
			(CRC32(seq) %% 450) * 25 FROM seq_1_to_%d;`, sales, 3*sales))
	host, port, _ := strings.Cut(server.Addr(), ":")
	options := filepath.Join(b.TempDir(), "client.cnf")
	must(b, os.WriteFile(options, fmt.Appendf(nil, "[client]\nprotocol=tcp\nhost=%s\nport=%s\nuser=%s\npassword=%s\n", host, port, server.User(), server.Password()), 0o600))
	bare := []string{"--defaults-file=" + options, "--single-transaction", "--quick", "--routines", "--triggers", "--events", "--hex-blob", "--default-character-set=utf8mb4"}
	db, err := sql.Open("mysql", server.DSN(""))
	must(b, err)
	defer db.Close()
	source, err := mysql.New(db, "shop", nil)
	must(b, err)

	eachWay(b, func(b *testing.B, compression backup.Compression, verify bool) {
		var bareTook, gzipTook, took time.Duration
		var gzipSize int64
		var m *backup.Manifest
		memory := 0.0
		for b.Loop() {
			file := filepath.Join(b.TempDir(), "peer.sql.gz")
			bareTook += peer(b, dump, append(bare, "--result-file=/dev/null", "shop")...)
			gzipTook += peer(b, shell, append([]string{"-c", dump + ` "$@" shop | ` + gzip + ` -6 > "$0"`, file}, bare...)...)
			gzipSize = sizeOf(b, file)
			known := resetPeak()
			var run time.Duration
			run, m = ours(b, source, compression, verify)
			if took += run; known {
				memory = max(memory, peak(b))
			}
		}
		b.ReportMetric(took.Seconds()/bareTook.Seconds(), "x-bare-wall")
		b.ReportMetric(took.Seconds()/gzipTook.Seconds(), "x-gzip-wall")
		b.ReportMetric(float64(m.Size)/float64(gzipSize), "x-gzip-size")
		b.ReportMetric(took.Seconds()/float64(b.N), "s-ours")
		b.ReportMetric(bareTook.Seconds()/float64(b.N), "s-bare")
		b.ReportMetric(gzipTook.Seconds()/float64(b.N), "s-gzip")
		b.ReportMetric(float64(m.RawSize)/1e6, "MB-raw")
		b.ReportMetric(memory, "MiB-peak")
	})
}
