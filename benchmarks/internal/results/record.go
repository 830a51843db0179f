package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// record is what one kind of processor measured, the file results/PROCESSOR.json. Every processor with a record has a
// column in the tables.
type record struct {
	Processor string                   `json:"processor"`
	Tables    map[string]recordedTable `json:"tables"`
}

// recordedTable is one table of a record.
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

// save replaces the results' tables in the record of this machine's processor.
func save(dir string, results []result) error {
	all, err := readRecords(dir)
	if err != nil {
		return err
	}
	own := record{Processor: processor(), Tables: map[string]recordedTable{}}
	for _, r := range all {
		if r.Processor == own.Processor {
			own = r
		}
	}
	for _, r := range results {
		own.Tables[r.Name] = r.recorded()
	}
	data, err := json.MarshalIndent(own, "", "\t")
	if err != nil {
		return err
	}
	name := strings.ToLower(strings.ReplaceAll(own.Processor, " ", "-")) + ".json"
	return os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644)
}

// recorded returns the lowest and the highest ratio of a row on all processors.
func recorded(records []record, table string, r row) (low, high float64, ok bool) {
	for _, rec := range records {
		s, found := rec.Tables[table].Rows[r.key()]
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
