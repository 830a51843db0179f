package prommetrics

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats returns a collector of the struct that stats returns, such as ratelimit.Stats or
// the statistics of a cache:
//
//	prommetrics.Stats("ratelimit", prometheus.Labels{"limiter": "login"}, func() any { return limiter.Stats() })
//
// Every exported field becomes a metric named prefix_field. A uint64 is a counter
// (…_total). Other numbers and booleans are gauges. A time.Duration is in seconds
// (…_seconds). Nested structs are included. Fields of other types are left out. Stats
// panics if there is no usable field.
func Stats(prefix string, labels prometheus.Labels, stats func() any) prometheus.Collector {
	c := &statsCollector{stats: stats}
	c.walk(reflect.ValueOf(stats()), prefix, func(name string, kind prometheus.ValueType, _ float64) {
		help := "Current value of " + name + "."
		if kind == prometheus.CounterValue {
			help = "Count of " + name + " since the start."
		}
		c.descs = append(c.descs, prometheus.NewDesc(name, help, nil, labels))
	})
	if len(c.descs) == 0 {
		panic(fmt.Sprintf("prommetrics: %T has no exported number", stats()))
	}
	return c
}

type statsCollector struct {
	stats func() any
	descs []*prometheus.Desc // in the order of the fields
}

// Describe implements prometheus.Collector.
func (c *statsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statsCollector) Collect(ch chan<- prometheus.Metric) {
	i := 0
	c.walk(reflect.ValueOf(c.stats()), "", func(_ string, kind prometheus.ValueType, v float64) {
		ch <- prometheus.MustNewConstMetric(c.descs[i], kind, v)
		i++
	})
}

// walk visits the numeric fields of a struct, in their order.
func (c *statsCollector) walk(v reflect.Value, prefix string, visit func(name string, kind prometheus.ValueType, value float64)) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		name := prefix + "_" + snake(field.Name)
		switch {
		case field.Type == reflect.TypeFor[time.Duration]():
			visit(name+"_seconds", prometheus.GaugeValue, time.Duration(value.Int()).Seconds())
		case field.Type.Kind() == reflect.Uint64:
			visit(name+"_total", prometheus.CounterValue, float64(value.Uint()))
		case value.CanInt():
			visit(name, prometheus.GaugeValue, float64(value.Int()))
		case value.CanUint():
			visit(name, prometheus.GaugeValue, float64(value.Uint()))
		case value.CanFloat():
			visit(name, prometheus.GaugeValue, value.Float())
		case field.Type.Kind() == reflect.Bool:
			visit(name, prometheus.GaugeValue, boolValue(value.Bool()))
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]():
			c.walk(value, name, visit)
		}
	}
}

// snake converts "StaleHits" to "stale_hits" and "HTTPErrors" to "http_errors".
func snake(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
