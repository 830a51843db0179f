package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse(strings.NewReader(`goos: linux
BenchmarkHit/mainstay_GetOrLoad-2   	19346412	        62.01 ns/op	       0 B/op	       0 allocs/op
BenchmarkMostAdmitted/5             	       1	2004551 ns/op	         5.000 admitted
BenchmarkSkipped
--- BENCH: BenchmarkHit
PASS
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("parse found %d benchmarks: %v", len(got), got)
	}
	if hit := got["BenchmarkHit/mainstay_GetOrLoad"]; hit["ns/op"] != 62.01 || hit["allocs/op"] != 0 || len(hit) != 3 {
		t.Errorf("the hit has figures %v", hit)
	}
	if most := got["BenchmarkMostAdmitted/5"]; most["admitted"] != 5 {
		t.Errorf("the attack has figures %v", most)
	}
}

func TestSpread(t *testing.T) {
	rounds := []map[string]figures{
		{"BenchmarkA/ours": {"ns/op": 10}, "BenchmarkA/peer": {"ns/op": 20}},
		{"BenchmarkA/ours": {"ns/op": 18}, "BenchmarkA/peer": {"ns/op": 20}},
		{"BenchmarkA/ours": {"ns/op": 12}, "BenchmarkA/peer": {"ns/op": 20}},
		{"BenchmarkA/ours": {"ns/op": 12}}, // a round that was cut off has no ratio
	}
	got, err := measure(row{Ours: "BenchmarkA/ours", Peer: "BenchmarkA/peer"}, rounds)
	if err != nil {
		t.Fatal(err)
	}
	if got != (spread{Median: 0.6, Low: 0.5, High: 0.9}) {
		t.Errorf("the ratio is %+v", got)
	}
	if _, err := measure(row{Ours: "BenchmarkA/gone"}, rounds); err == nil {
		t.Error("a benchmark that no longer exists must be an error")
	}
}

func TestEveryRowNamesABenchmark(t *testing.T) {
	for _, table := range tables {
		for _, r := range table.Rows {
			for _, name := range []string{r.Ours, r.Peer} {
				if name == "" {
					continue
				}
				function, _, _ := strings.Cut(name, "/")
				if !strings.HasPrefix(function, "Benchmark") || strings.Contains(name, " ") {
					t.Errorf("table %s, row %q: %q is no benchmark's name", table.Name, r.Label, name)
				}
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	list := table{Name: "hits", Rows: []row{
		{Label: "time", Ours: "BenchmarkA/ours", Peer: "BenchmarkA/peer", PeerIs: "the peer", Bound: 1},
		{Label: "allocations", Ours: "BenchmarkA/ours", Shown: "a hit", Bound: 1},
	}}
	records := []record{
		{Processor: "Slow", Tables: map[string][]recordedTable{"hits": {
			{Rounds: 5, Conditions: "2 processors", Rows: map[string]spread{"time, against the peer": {Median: 1.1, Low: 1.0, High: 1.2}, "allocations": {}}},
			{Rounds: 5, Conditions: "4 processors", Rows: map[string]spread{"time, against the peer": {Median: 1.2, Low: 0.95, High: 1.3}}},
			{Rounds: 3, Conditions: "6 processors", Rows: map[string]spread{"time, against the peer": {Median: 1.25, Low: 0.9, High: 1.28}}},
		}}},
		{Processor: "Swift", Tables: map[string][]recordedTable{"hits": {{Rounds: 3, Conditions: "4 processors", Rows: map[string]spread{
			"time, against the peer": {Median: 0.8, Low: 0.7, High: 0.85},
		}}}}},
		{Processor: "Other", Tables: map[string][]recordedTable{}},
	}
	const want = `| | against | Slow | Swift | bound |
|---|---|---|---|---|
| time | the peer | 1.20 (0.90 to 1.30) | 0.80 (0.70 to 0.85) | 1.00, exceeded on Slow |
| allocations | – | 0 a hit (0 to 0) | – | 1.00 |

Slow: 13 rounds in 3 runs, 2 processors.
Swift: 3 rounds, 4 processors.
`
	if got := list.markdown(records); got != want {
		t.Errorf("the table is\n%s", got)
	}
	for median, want := range map[float64]int{1.3: 0, 1.31: 1, 0.1: 0} {
		r := result{table: list, measured: []spread{{Median: median}, {}}}
		if _, above := r.compare(records); above != want {
			t.Errorf("a ratio of %v has %d rows above the records, not %d", median, above, want)
		}
	}
}

// TestRecords reads the committed records and compares the documents with them.
func TestRecords(t *testing.T) {
	records, err := readRecords("../../results")
	if err != nil || len(records) == 0 {
		t.Fatal(records, err)
	}
	got, err := os.ReadFile("../../RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != document(records) {
		t.Error("RESULTS.md differs from results/*.json: run benchmarks/run")
	}
	for _, rec := range records {
		for name, runs := range rec.Tables {
			i := slices.IndexFunc(tables, func(t table) bool { return t.Name == name })
			if i < 0 {
				t.Errorf("%s has a table %q, which no longer exists", rec.Processor, name)
				continue
			}
			for key := range runs[0].Rows {
				if !slices.ContainsFunc(tables[i].Rows, func(r row) bool { return r.key() == key }) {
					t.Errorf("%s, table %s has a row %q, which no longer exists", rec.Processor, name, key)
				}
			}
		}
	}
}
