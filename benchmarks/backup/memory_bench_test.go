package backup_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// text is a source of any size: rows that differ, as a dump's do.
type text struct{ size int64 }

func (t text) Describe() driver.Description {
	return driver.Description{Engine: "synthetic", Extension: ".sql"}
}

func (t text) Abilities() driver.Abilities { return driver.Abilities{} }

func (t text) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	var rows int64
	block := make([]byte, 0, 64<<10)
	for written := int64(0); written < t.size; {
		block = block[:0]
		for len(block) < 63<<10 {
			rows++
			block = fmt.Appendf(block, "(%d,'%016x',%d,'cashier %d','Product number %d'),\n", rows, uint64(rows)*0x9e3779b97f4a7c15, rows*7919%9000, rows%9, rows*31%450)
		}
		n, err := w.Write(block)
		if err != nil {
			return driver.Contents{}, err
		}
		written += int64(n)
	}
	return driver.Contents{Tables: []driver.Table{{Name: "sales", Rows: rows}}}, nil
}

// BenchmarkPeakMemory is the peak of this process during a run, with reading back, of a
// dump and of one ten times its size: the two must be the same.
func BenchmarkPeakMemory(b *testing.B) {
	if !resetPeak() {
		b.Skip("needs /proc/self/clear_refs of Linux")
	}
	size := int64(megabytes(b)) * 1e6
	for _, compression := range []backup.Compression{backup.Zstd, backup.ZstdBetter, backup.Gzip} {
		for _, times := range []int64{1, 10} {
			b.Run(fmt.Sprintf("%s/%dMB", compression, times*size/1e6), func(b *testing.B) {
				b.SetBytes(times * size)
				memory := 0.0
				for b.Loop() {
					resetPeak()
					_, m := ours(b, text{times * size}, compression, true)
					memory = max(memory, peak(b))
					if m.RawSize < times*size {
						b.Fatal(m.RawSize)
					}
				}
				b.ReportMetric(memory, "MiB-peak")
			})
		}
	}
}
