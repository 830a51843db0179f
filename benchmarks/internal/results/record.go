package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// record is what one kind of processor measured, the file results/PROCESSOR.json. Every processor with a record has a
// column in the tables. A table has the newest runs first, because one run hides what other machines of the kind do.
type record struct {
	Processor string                     `json:"processor"`
	Tables    map[string][]recordedTable `json:"tables"`
}

// keptRuns is the number of runs of a table in a record.
const keptRuns = 3

// spread is a row over all runs: the median of their medians, and the lowest and the highest ratio.
func (rec record) spread(table string, r row) (all spread, ok bool) {
	var medians []float64
	for _, run := range rec.Tables[table] {
		s, found := run.Rows[r.key()]
		if !found {
			continue
		}
		if medians == nil {
			all = s
		}
		medians = append(medians, s.Median)
		all.Low, all.High = min(all.Low, s.Low), max(all.High, s.High)
	}
	if medians == nil {
		return all, false
	}
	slices.Sort(medians)
	all.Median = medians[len(medians)/2]
	return all, true
}

// recordedTable is one run of a table.
type recordedTable struct {
	Rounds     int               `json:"rounds"`
	Conditions string            `json:"conditions"`
	Rows       map[string]spread `json:"rows"` // by row.key
}

// readRecords returns all records, sorted by processor.
func readRecords(dir string) ([]record, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var r record
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b record) int { return strings.Compare(a.Processor, b.Processor) })
	return all, nil
}

// save adds the results' tables to the record of this machine's processor.
func save(dir string, results []result) error {
	all, err := readRecords(dir)
	if err != nil {
		return err
	}
	own := record{Processor: processor(), Tables: map[string][]recordedTable{}}
	for _, r := range all {
		if r.Processor == own.Processor {
			own = r
		}
	}
	for _, r := range results {
		runs := append([]recordedTable{r.recorded()}, own.Tables[r.Name]...)
		own.Tables[r.Name] = runs[:min(len(runs), keptRuns)]
	}
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(own); err != nil {
		return err
	}
	name := strings.ToLower(strings.ReplaceAll(own.Processor, " ", "-")) + ".json"
	return os.WriteFile(filepath.Join(dir, name), data.Bytes(), 0o644)
}

// recorded returns the lowest and the highest ratio of a row on all processors.
func recorded(records []record, table string, r row) (low, high float64, ok bool) {
	for _, rec := range records {
		s, found := rec.spread(table, r)
		if !found {
			continue
		}
		if !ok {
			low, high, ok = s.Low, s.High, true
		}
		low, high = min(low, s.Low), max(high, s.High)
	}
	return low, high, ok
}
