package main

import (
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
	if got.median != 0.6 || got.low != 0.5 || got.high != 0.9 || got.rounds != 3 {
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
