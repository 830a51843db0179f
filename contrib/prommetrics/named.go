package prommetrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Reporter shows its statistics, a struct, under a name; each cache.Typed does, whatever
// its values are.
type Reporter[S any] interface {
	Name() string
	Stats() S
}

// Named returns a collector of the statistics of several things of one kind, told apart
// by the label, whose value is their name:
//
//	prommetrics.Named[cache.Stats]("cache", "cache", products, categories, dashboard)
//
// The metrics are those of [Stats]. It panics at once if two have one name, or if S has no
// number.
func Named[S any](prefix, label string, reporters ...Reporter[S]) prometheus.Collector {
	var all named
	seen := map[string]bool{}
	for _, r := range reporters {
		name := r.Name()
		if seen[name] {
			panic(fmt.Sprintf("prommetrics: two have the name %q", name))
		}
		seen[name] = true
		all = append(all, Stats(prefix, prometheus.Labels{label: name}, func() any { return r.Stats() }))
	}
	return all
}

type named []prometheus.Collector

// Describe implements prometheus.Collector.
func (n named) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range n {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (n named) Collect(ch chan<- prometheus.Metric) {
	for _, c := range n {
		c.Collect(ch)
	}
}
