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

func (r *result) recorded() recordedTable {
	rows := map[string]spread{}
	for i, row := range r.Rows {
		rows[row.key()] = r.measured[i]
	}
	return recordedTable{Rounds: len(r.rounds), Conditions: conditions(), Rows: rows}
}

// compare shows the result beside the recorded ones. It counts the rows whose median is above every recorded ratio.
func (r *result) compare(records []record) (text string, above int) {
	var b strings.Builder
	b.WriteString("| | against | here | recorded | bound |\n|---|---|---|---|---|\n")
	for i, row := range r.Rows {
		s, known := r.measured[i], "–"
		if low, high, ok := recorded(records, r.Name, row); ok {
			known = figure(low) + " to " + figure(high)
			if figure(s.Median) != figure(high) && s.Median > high {
				known += ", here above"
				above++
			}
		}
		bound := "–"
		if row.Bound > 0 {
			bound = figure(row.Bound)
			if s.Median > row.Bound {
				bound += ", exceeded"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Label, row.peer(), s.text(row.suffix()), known, bound)
	}
	fmt.Fprintf(&b, "\n%d rounds on %s, %s.\n", len(r.rounds), processor(), conditions())
	return b.String(), above
}

// markdown is the table with a column for each processor.
func (t table) markdown(records []record) string {
	var columns []record
	for _, rec := range records {
		if len(rec.Tables[t.Name]) > 0 {
			columns = append(columns, rec)
		}
	}
	var b strings.Builder
	b.WriteString("| | against |")
	for _, rec := range columns {
		fmt.Fprintf(&b, " %s |", rec.Processor)
	}
	b.WriteString(" bound |\n" + strings.Repeat("|---", len(columns)+3) + "|\n")
	for _, row := range t.Rows {
		fmt.Fprintf(&b, "| %s | %s |", row.Label, row.peer())
		var exceeded []string
		for _, rec := range columns {
			s, ok := rec.spread(t.Name, row)
			if !ok {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %s |", s.text(row.suffix()))
			if row.Bound > 0 && s.Median > row.Bound {
				exceeded = append(exceeded, rec.Processor)
			}
		}
		switch {
		case row.Bound == 0:
			b.WriteString(" – |\n")
		case len(exceeded) > 0:
			fmt.Fprintf(&b, " %s, exceeded on %s |\n", figure(row.Bound), strings.Join(exceeded, " and "))
		default:
			fmt.Fprintf(&b, " %s |\n", figure(row.Bound))
		}
	}
	b.WriteString("\n")
	for _, rec := range columns {
		runs := rec.Tables[t.Name]
		rounds, last := 0, ""
		for _, run := range runs {
			rounds += run.Rounds
		}
		if len(runs) > 1 {
			last = fmt.Sprintf(" in %d runs", len(runs))
		}
		fmt.Fprintf(&b, "%s: %d rounds%s, %s.\n", rec.Processor, rounds, last, runs[0].Conditions)
	}
	return b.String()
}

// write writes benchmarks/RESULTS.md, and puts each table between its markers in README.md.
func write(repo string, records []record) error {
	if err := os.WriteFile(filepath.Join(repo, "benchmarks", "RESULTS.md"), []byte(document(records)), 0o644); err != nil {
		return err
	}
	readme := filepath.Join(repo, "README.md")
	data, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	text := string(data)
	for _, t := range tables {
		text = replace(text, t.Name, t.markdown(records))
	}
	return os.WriteFile(readme, []byte(text), 0o644)
}

// document is RESULTS.md.
func document(records []record) string {
	var b strings.Builder
	b.WriteString("# Results\n\nThe command `benchmarks/run` wrote this file. A ratio is the library's figure divided by the peer's figure in the same " +
		"round: below 1 the library needs less. A cell has the median of the last three runs, and the lowest and the highest ratio of all their rounds. A bound holds on " +
		"the processors of the table, unless the cell names those whose median exceeds it. It is no claim for others.\n")
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n%s", t.Title, t.markdown(records))
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
