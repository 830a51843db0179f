package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is what the rounds of one row gave.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// text writes the spread for readers.
func (s spread) text(unit string) string {
	return fmt.Sprintf("%s%s (%s to %s)", figure(s.Median), unit, figure(s.Low), figure(s.High))
}

// measure computes a row's ratio in each round, so that both sides of it met the same neighbours.
func measure(r row, rounds []map[string]figures) (spread, error) {
	var values []float64
	for _, round := range rounds {
		ours, ok := round[r.Ours][r.unit()]
		if !ok {
			continue
		}
		if r.Peer == "" {
			values = append(values, ours)
			continue
		}
		peer, ok := round[r.Peer][r.unit()]
		if !ok || peer == 0 {
			continue
		}
		values = append(values, ours/peer)
	}
	if len(values) == 0 {
		return spread{}, fmt.Errorf("no round has %s of %s and %s", r.unit(), r.Ours, r.Peer)
	}
	slices.Sort(values)
	round := func(v float64) float64 { return math.Round(v*1e5) / 1e5 }
	return spread{Median: round(values[len(values)/2]), Low: round(values[0]), High: round(values[len(values)-1])}, nil
}

// figure writes a number with three digits that count.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	if v < 0.1 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.2f", v)
}
