package backup_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// BenchmarkPostgres compares a whole run with what people do today, `pg_dump -Fc`, on
// the same data in the same run. The metrics are its wall time and size as parts of
// pg_dump's.
func BenchmarkPostgres(b *testing.B) {
	server := testserver.Postgres(b)
	server.CreateDatabase(b, "shop")
	// A sale with its three items takes some 290 bytes as text.
	server.Exec(b, "shop", fmt.Sprintf(`
		CREATE TABLE sales (id int PRIMARY KEY, key uuid, customer int, cashier text, total int, at timestamptz);
		CREATE TABLE items (id int PRIMARY KEY, sale int, product int, name text, quantity int, price int);
		INSERT INTO sales SELECT i, md5(i::text)::uuid, hashint4(i) %% 100000, 'cashier ' || i %% 9, abs(hashint4(i)) %% 9000,
			'2026-01-01'::timestamptz + i * interval '7 seconds' FROM generate_series(1, %[1]d) i;
		INSERT INTO items SELECT i, i / 3, abs(hashint4(i)) %% 450, 'Product number ' || abs(hashint4(i)) %% 450, 1 + i %% 4,
			(abs(hashint4(i)) %% 450) * 25 FROM generate_series(1, %[1]d * 3) i; ANALYZE`, megabytes(b)*3600))
	pgDump := testserver.Lookup(b, "pg_dump", "postgresql-client")
	db, err := sql.Open("pgx", server.DSN("shop"))
	must(b, err)
	defer db.Close()
	source, err := postgres.New(db, server.DSN("shop"), nil)
	must(b, err)

	eachWay(b, func(b *testing.B, compression backup.Compression, verify bool) {
		var theirs, took time.Duration
		var theirSize int64
		var m *backup.Manifest
		for b.Loop() {
			file := filepath.Join(b.TempDir(), "peer.dump")
			theirs += peer(b, pgDump, "-Fc", "--file="+file, "--dbname="+server.DSN("shop"))
			theirSize = sizeOf(b, file)
			var run time.Duration
			run, m = ours(b, source, compression, verify)
			took += run
		}
		b.ReportMetric(took.Seconds()/theirs.Seconds(), "x-pg_dump-wall")
		b.ReportMetric(float64(m.Size)/float64(theirSize), "x-pg_dump-size")
		b.ReportMetric(took.Seconds()/float64(b.N), "s-ours")
		b.ReportMetric(theirs.Seconds()/float64(b.N), "s-pg_dump")
		b.ReportMetric(float64(m.RawSize)/1e6, "MB-raw")
	})
}
