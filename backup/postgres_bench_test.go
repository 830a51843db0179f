package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// BenchmarkPostgresBackup compares a whole run, from preflight to manifest, with
// what people do today, `pg_dump -Fc`, on the same data in the same run. The metrics
// are its wall time and size as parts of pg_dump's. MAINSTAY_BENCH_MB is the size of
// the data as text, 8 by default.
func BenchmarkPostgresBackup(b *testing.B) {
	megabytes := 8
	if text := os.Getenv("MAINSTAY_BENCH_MB"); text != "" {
		var err error
		megabytes, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	server := testserver.Postgres(b)
	server.CreateDatabase(b, "shop")
	// A sale with its three items takes some 290 bytes as text.
	server.Exec(b, "shop", fmt.Sprintf(`
		CREATE TABLE sales (id int PRIMARY KEY, key uuid, customer int, cashier text, total int, at timestamptz);
		CREATE TABLE items (id int PRIMARY KEY, sale int, product int, name text, quantity int, price int);
		INSERT INTO sales SELECT i, md5(i::text)::uuid, hashint4(i) %% 100000, 'cashier ' || i %% 9, abs(hashint4(i)) %% 9000,
			'2026-01-01'::timestamptz + i * interval '7 seconds' FROM generate_series(1, %[1]d) i;
		INSERT INTO items SELECT i, i / 3, abs(hashint4(i)) %% 450, 'Product number ' || abs(hashint4(i)) %% 450, 1 + i %% 4,
			(abs(hashint4(i)) %% 450) * 25 FROM generate_series(1, %[1]d * 3) i; ANALYZE`, megabytes*3600))
	pgDump := testserver.Lookup(b, "pg_dump", "postgresql-client")
	p := source(b, server.DSN("shop"), nil)

	for _, compression := range []Compression{Zstd, ZstdBetter} {
		for _, verify := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/verify=%v", compression, verify), func(b *testing.B) {
				var theirs, ours time.Duration
				var theirBytes, ourBytes, raw int64
				for b.Loop() {
					dir := b.TempDir()
					file := filepath.Join(dir, "peer.dump")
					start := time.Now()
					out, err := exec.CommandContext(b.Context(), pgDump, "-Fc", "--file="+file, "--dbname="+server.DSN("shop")).CombinedOutput()
					theirs += time.Since(start)
					require.NoError(b, err, "%s", out)
					info, err := os.Stat(file)
					require.NoError(b, err)
					theirBytes += info.Size()

					folder, err := NewFolder(filepath.Join(dir, "pos"))
					require.NoError(b, err)
					job, err := New("pos", p, folder, &Options{Compression: compression, SkipVerify: !verify, Logger: silent})
					require.NoError(b, err)
					start = time.Now()
					report, err := job.Backup(b.Context())
					ours += time.Since(start)
					require.NoError(b, err)
					ourBytes += report.Manifest.Size
					raw = report.Manifest.RawSize
				}
				b.ReportMetric(ours.Seconds()/theirs.Seconds(), "x-pg_dump-wall")
				b.ReportMetric(float64(ourBytes)/float64(theirBytes), "x-pg_dump-size")
				b.ReportMetric(theirs.Seconds()/float64(b.N), "s-pg_dump")
				b.ReportMetric(float64(raw)/1e6, "MB-raw")
			})
		}
	}
}
