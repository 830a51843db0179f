// Package backup_test compares whole backup runs with the pipes that people use today.
package backup_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// megabytes is the size of the data as text: MAINSTAY_BENCH_MB, 8 by default.
func megabytes(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MAINSTAY_BENCH_MB")
	if text == "" {
		return 8
	}
	n, err := strconv.Atoi(text)
	must(b, err)
	return n
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// peer runs a program or a pipe of today and returns its wall time.
func peer(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	start := time.Now()
	out, err := exec.CommandContext(b.Context(), name, args...).CombinedOutput()
	took := time.Since(start)
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return took
}

func sizeOf(b *testing.B, path string) int64 {
	b.Helper()
	info, err := os.Stat(path)
	must(b, err)
	return info.Size()
}

// ours is a whole run, from preflight to manifest and, on demand, reading it back.
func ours(b *testing.B, source driver.Source, compression backup.Compression, verify bool) (took time.Duration, m *backup.Manifest) {
	b.Helper()
	folder, err := backup.NewFolder(filepath.Join(b.TempDir(), "pos"))
	must(b, err)
	job, err := backup.New("pos", source, folder, &backup.Options{
		Compression: compression, SkipVerify: !verify, RestoreTest: backup.RestoreTestOptions{Every: -1}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	must(b, err)
	start := time.Now()
	report, err := job.Backup(b.Context())
	took = time.Since(start)
	must(b, err)
	must(b, os.RemoveAll(folder.Path()))
	return took, report.Manifest
}

// eachWay runs a benchmark for the levels of compression, without and with reading back.
func eachWay(b *testing.B, do func(b *testing.B, compression backup.Compression, verify bool)) {
	for _, compression := range []backup.Compression{backup.Zstd, backup.ZstdBetter} {
		for _, verify := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/verify=%v", compression, verify), func(b *testing.B) { do(b, compression, verify) })
		}
	}
}

// resetPeak makes the kernel forget the largest size that this process had.
func resetPeak() bool { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil }

// peak is the largest resident size of this process since resetPeak, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/status")
	must(b, err)
	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB"))
			must(b, err)
			return float64(kib) / 1024
		}
	}
	b.Fatal("the kernel does not tell the peak")
	return 0
}
