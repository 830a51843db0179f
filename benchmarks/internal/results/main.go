// Command results runs the benchmarks of the README's tables and writes benchmarks/RESULTS.md and these tables.
//
//	benchmarks/run             every table, five rounds
//	benchmarks/run --quick     the tables that need no large data, three short rounds, below four minutes
//	benchmarks/run --only cache
//	benchmarks/run --dry       print the results and write nothing
//
// A round runs each benchmark once. A row's ratio is computed within a round, and the spread is the lowest and highest
// ratio of all rounds. The command exits with status 1 if a median exceeds its stated bound.
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
	missed, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(2)
	}
	if missed > 0 {
		fmt.Fprintf(os.Stderr, "%d rows exceed their bound\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context) (missed int, err error) {
	quick := flag.Bool("quick", false, "three short rounds of the tables that need no large data")
	only := flag.String("only", "", "the one table to run")
	dry := flag.Bool("dry", false, "print the results and write nothing")
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
		fmt.Printf("\n%s\n\n%s", t.Title, r.markdown())
		missed += r.missed()
		results = append(results, r)
	}
	if *dry {
		return missed, nil
	}
	return missed, write(repo, results, *only == "" && !*quick)
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
