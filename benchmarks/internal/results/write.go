package main

import (
	"fmt"
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
			unit, peer = " "+row.Shown, "none"
		}
		bound := "none"
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
	return b.String()
}

// write puts each table between its markers in README.md, and all of them into benchmarks/RESULTS.md if all were run.
func write(repo string, results []result, complete bool) error {
	name := filepath.Join(repo, "README.md")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text := string(data)
	for _, r := range results {
		text = replace(text, r.Name, r.markdown())
	}
	text = replace(text, "machine", "Machine: "+machine()+".\n")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	if !complete {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\nThe command `benchmarks/run` wrote this file. Machine: %s.\n\n", machine())
	b.WriteString("A ratio is the library's figure divided by the peer's figure in the same round: below 1 the library needs less. " +
		"The range is the lowest and the highest ratio of all rounds. A bound that is marked \"this machine\" is not claimed for other processors.\n")
	for _, r := range results {
		fmt.Fprintf(&b, "\n## %s\n\n%s", r.Title, r.markdown())
	}
	return os.WriteFile(filepath.Join(repo, "benchmarks", "RESULTS.md"), []byte(b.String()), 0o644)
}

// replace puts a table between the lines <!-- results:NAME --> and <!-- end -->. A document without them stays as it is.
func replace(text, name, markdown string) string {
	start := "<!-- results:" + name + " -->\n"
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
