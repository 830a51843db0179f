package pagination_test

import (
	"bufio"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/mainstay-go/mainstay/pagination/export"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// exportRows is MAINSTAY_BENCH_ROWS, 50,000 without it.
func exportRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MAINSTAY_BENCH_ROWS")
	if text == "" {
		return 50_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("MAINSTAY_BENCH_ROWS must be a number of rows: %q", text)
	}
	return n
}

// BenchmarkExport writes a whole table as CSV and as NDJSON: by keyset batches, beside one
// query and a bare loop over its rows that writes the same bytes. hand/package is the
// share of the bare loop's speed that the package reaches; the target is 0.9, and a heap
// that does not grow with the table (heap-MB). MAINSTAY_BENCH_ROWS sets the length,
// 1000000 for the published figures.
func BenchmarkExport(b *testing.B) {
	total := exportRows(b)
	db := openShop(b, sql.Open, total)
	pages := salesByTime(b)
	source := keyset.SQLSource[sale]{
		DB: db, Dialect: keyset.SQLite, Scan: scanSale,
		Base: keyset.Base{Columns: saleBase.Columns, From: "sales"},
	}
	columns := []export.Column[sale]{
		{Header: "id", Value: func(s sale) string { return strconv.FormatInt(s.ID, 10) }},
		{Header: "created_at", Value: func(s sale) string { return strconv.FormatInt(s.Created, 10) }},
		{Header: "product", Value: func(s sale) string { return s.Product }},
		{Header: "amount", Value: func(s sale) string { return strconv.FormatInt(s.Amount, 10) }},
		{Header: "note", Value: func(s sale) string {
			if s.Note == nil {
				return ""
			}
			return *s.Note
		}},
	}
	check := func(n int64, err error) {
		if err != nil || n != int64(total) {
			b.Fatalf("%d rows of %d: %v", n, total, err)
		}
	}
	loop := func(write func(sale) error) (n int64) {
		rows, err := db.QueryContext(b.Context(), "SELECT id, created_at, product, amount, note FROM sales ORDER BY created_at, id")
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			s, err := scanSale(rows)
			if err == nil {
				err = write(s)
			}
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if err := rows.Err(); err != nil {
			b.Fatal(err)
		}
		return n
	}
	download := func(b *testing.B, ours func(io.Writer, *export.Options[sale]) (int64, error), byHand func(io.Writer) int64) {
		b.Helper()
		var mine, hand counted
		base := heap()
		var grown float64
		written, err := ours(io.Discard, &export.Options[sale]{Every: max(total/4, 1), Progress: func(int64, sale) error {
			grown = max(grown, heap()-base)
			return nil
		}})
		check(written, err)
		versus(b, func() {
			mine = 0
			check(ours(&mine, nil))
		}, func() {
			hand = 0
			check(byHand(&hand), nil)
		})
		if mine != hand {
			b.Fatalf("%d bytes against %d", mine, hand)
		}
		b.ReportMetric(float64(total), "rows")
		b.ReportMetric(grown, "heap-MB")
	}
	b.Run("csv", func(b *testing.B) {
		download(b, func(w io.Writer, opts *export.Options[sale]) (int64, error) {
			return export.WriteCSV(w, columns, pages.All(b.Context(), source, nil), opts)
		}, func(w io.Writer) int64 {
			out := csv.NewWriter(bufio.NewWriterSize(w, 64<<10))
			out.UseCRLF = true
			record := make([]string, len(columns))
			for i, c := range columns {
				record[i] = c.Header
			}
			if err := out.Write(record); err != nil {
				b.Fatal(err)
			}
			n := loop(func(s sale) error {
				for i, c := range columns {
					record[i] = c.Value(s)
				}
				return out.Write(record)
			})
			out.Flush()
			return n
		})
	})
	b.Run("ndjson", func(b *testing.B) {
		download(b, func(w io.Writer, opts *export.Options[sale]) (int64, error) {
			return export.WriteNDJSON(w, pages.All(b.Context(), source, nil), opts)
		}, func(w io.Writer) int64 {
			buffered := bufio.NewWriterSize(w, 64<<10)
			out := json.NewEncoder(buffered)
			out.SetEscapeHTML(false)
			n := loop(func(s sale) error { return out.Encode(s) })
			if err := buffered.Flush(); err != nil {
				b.Fatal(err)
			}
			return n
		})
	})
}

// counted is a writer that only counts.
type counted int64

func (c *counted) Write(p []byte) (int, error) {
	*c += counted(len(p))
	return len(p), nil
}

// heap is the live heap in megabytes. The table in SQLite's memory is not in it.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
