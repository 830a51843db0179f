package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// result is one table with its measured rows.
type result struct {
	table
	rounds   []map[string]figures
	measured []spread
}

func (r *result) measure() error {
	for _, row := range r.Rows {
		s, err := measure(row, r.rounds)
		if err != nil {
			return fmt.Errorf("row %q: %w", row.Label, err)
		}
		r.measured = append(r.measured, s)
	}
	return nil
}

// missed counts the rows whose median exceeds their bound.
func (r *result) missed() int {
	n := 0
	for i, row := range r.Rows {
		if row.Bound > 0 && r.measured[i].median > row.Bound {
			n++
		}
	}
	return n
}

func (r *result) markdown() string {
	var b strings.Builder
	b.WriteString("| | against | ratio (lowest to highest) | bound |\n|---|---|---|---|\n")
	for i, row := range r.Rows {
		s := r.measured[i]
		unit, peer := "", row.PeerIs
		if row.PeerIs == "" {
			unit, peer = " "+row.Shown, "–"
		}
		bound := "–"
		if row.Bound > 0 {
			bound = figure(row.Bound)
			if s.median > row.Bound {
				bound += ", exceeded"
			}
			if !row.Portable {
				bound += ", this machine"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s%s (%s to %s) | %s |\n", row.Label, peer, figure(s.median), unit, figure(s.low), figure(s.high), bound)
	}
	fmt.Fprintf(&b, "\n%d rounds. %s.\n", len(r.rounds), machine())
	return b.String()
}

// write puts each table between its markers in README.md and in benchmarks/RESULTS.md. If all tables were run, it writes
// RESULTS.md from the start.
func write(repo string, results []result, complete bool) error {
	all := filepath.Join(repo, "benchmarks", "RESULTS.md")
	if complete {
		if err := os.WriteFile(all, []byte(document(results)), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{filepath.Join(repo, "README.md"), all} {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		text := string(data)
		for _, r := range results {
			text = replace(text, r.Name, r.markdown())
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// document is RESULTS.md with empty tables.
func document(results []result) string {
	var b strings.Builder
	b.WriteString("# Results\n\nThe command `benchmarks/run` wrote this file. A ratio is the library's figure divided by the peer's figure in the same " +
		"round: below 1 the library needs less. The range is the lowest and the highest ratio of all rounds. A bound that is marked \"this machine\" " +
		"is not claimed for other processors.\n")
	for _, r := range results {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n<!-- end -->\n", r.Title, marker(r.Name))
	}
	return b.String()
}

func marker(name string) string { return "<!-- results:" + name + " -->\n" }

// replace puts a table between the lines <!-- results:NAME --> and <!-- end -->. A document without them stays as it is.
func replace(text, name, markdown string) string {
	start := marker(name)
	before, rest, ok := strings.Cut(text, start)
	if !ok {
		return text
	}
	_, after, ok := strings.Cut(rest, "<!-- end -->")
	if !ok {
		return text
	}
	return before + start + "\n" + markdown + "\n<!-- end -->" + after
}
