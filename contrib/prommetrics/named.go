package prommetrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Reporter is a source of statistics with a name. Every cache.Typed is one. The statistics
// are a struct.
type Reporter[S any] interface {
	Name() string
	Stats() S
}

// Named returns a collector of the statistics of several reporters of one kind. Their name
// is the value of the label:
//
//	prommetrics.Named[cache.Stats]("cache", "cache", products, categories, dashboard)
//
// The metrics are those of [Stats]. Named panics if two reporters have the same name, or if
// S has no numeric field.
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
