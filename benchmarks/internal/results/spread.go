package main

import (
	"fmt"
	"slices"
)

// spread is what the rounds of one row gave.
type spread struct {
	median, low, high float64
	rounds            int
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
	return spread{
		median: values[len(values)/2],
		low:    values[0],
		high:   values[len(values)-1],
		rounds: len(values),
	}, nil
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
