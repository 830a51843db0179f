// Command results runs the benchmarks of the README's tables. It records the ratios of this machine's processor in
// benchmarks/results, and writes benchmarks/RESULTS.md and the README's tables from all records.
//
//	benchmarks/run             every table, five rounds
//	benchmarks/run --quick     three short rounds without large data, below four minutes: compares with the records
//	benchmarks/run --only cache-local
//	benchmarks/run --dry       compare and write nothing
//	benchmarks/run --tables    run nothing, and write the tables from the records
//
// A round runs each benchmark once. A row's ratio is computed within a round, and the spread is the lowest and highest
// ratio of all rounds. The command exits with status 1 if a median is above every recorded ratio of its row.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	above, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(2)
	}
	if above > 0 {
		fmt.Fprintf(os.Stderr, "%d rows are above every recorded ratio\n", above)
		os.Exit(1)
	}
}

func run(ctx context.Context) (above int, err error) {
	quick := flag.Bool("quick", false, "three short rounds of the tables that need no large data; writes nothing")
	only := flag.String("only", "", "the one table to run")
	dry := flag.Bool("dry", false, "compare with the records and write nothing")
	tablesOnly := flag.Bool("tables", false, "run nothing, and write the tables from the records")
	count := flag.Int("count", 0, "rounds (default 5, with --quick 3)")
	flag.Parse()
	if *count == 0 {
		*count = 5
		if *quick {
			*count = 3
		}
	}
	benchtime := "1s"
	if *quick {
		benchtime = "200ms"
	}
	repo, err := filepath.Abs("..")
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(repo, "benchmarks", "results")
	records, err := readRecords(dir)
	if err != nil {
		return 0, err
	}
	if *tablesOnly {
		return 0, write(repo, records)
	}
	var results []result
	for _, t := range tables {
		if (*quick && !t.Quick) || (*only != "" && t.Name != *only) {
			continue
		}
		each := benchtime
		if t.Benchtime != "" {
			each = t.Benchtime
		}
		r, err := runTable(ctx, t, *count, each)
		if err != nil {
			return 0, fmt.Errorf("table %s: %w", t.Name, err)
		}
		text, n := r.compare(records)
		fmt.Printf("\n%s\n\n%s", t.Title, text)
		above += n
		results = append(results, r)
	}
	if *dry || *quick {
		return above, nil
	}
	if err := save(dir, results); err != nil {
		return 0, err
	}
	if records, err = readRecords(dir); err != nil {
		return 0, err
	}
	return above, write(repo, records)
}

// runTable builds the benchmarks of a table once and runs them count times.
func runTable(ctx context.Context, t table, count int, benchtime string) (result, error) {
	dir, err := os.MkdirTemp("", "mainstay-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "bench.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./"+t.Package)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return result{}, err
	}
	r := result{table: t}
	for round := range count {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", t.Name, round+1, count)
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.benchmem", "-test.bench="+pattern(t), "-test.benchtime="+benchtime)
		cmd.Dir = t.Package
		cmd.Env = append(os.Environ(), t.Env...)
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprint(os.Stderr, out.String())
			return result{}, err
		}
		found, err := parse(&out)
		if err != nil {
			return result{}, err
		}
		r.rounds = append(r.rounds, found)
	}
	return r, r.measure()
}

// pattern matches the functions of all rows. Sub-benchmarks that no row names run too, because -bench matches each level
// of a name by itself.
func pattern(t table) string {
	var names []string
	seen := map[string]bool{}
	for _, r := range t.Rows {
		for _, name := range []string{r.Ours, r.Peer} {
			function, _, _ := strings.Cut(name, "/")
			if function != "" && !seen[function] {
				seen[function] = true
				names = append(names, regexp.QuoteMeta(function))
			}
		}
	}
	return "^(" + strings.Join(names, "|") + ")$"
}
