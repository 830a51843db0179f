// Package prommetrics exports the Stats snapshots of the library to Prometheus.
package prommetrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mainstay-go/mainstay/health"
)

// HealthSource is the source of the metrics of [Health]. *health.Registry implements it.
type HealthSource interface {
	Stats() health.Stats
	Snapshot() *health.Snapshot
}

// Health returns a collector of a health registry. It runs no check, and takes one snapshot
// per scrape. The metrics and their labels:
//
//	health_status                                   0 pass, 1 warn, 2 fail: /health/
//	health_ready                                    0 or 1: /ready/
//	health_check_status{check}                      0 pass, 1 warn, 2 fail, -1 not run yet
//	health_check_confirmed_status{check}            the same, confirmed
//	health_check_results_total{check,result}        pass, warn, fail
//	health_check_timeouts_total{check}
//	health_check_panics_total{check}
//	health_check_duration_seconds{check}            histogram of the runs in time
//	health_check_stuck{check}                       1 while a run has outlived its timeout
//	health_check_flapping{check}                    0 or 1
//	health_check_last_success_timestamp_seconds{check}
//	health_check_value{check,name,component,unit}   the last measurement of the check
//	health_check_value_limit{check,name,component,level}  its threshold: warn, fail
//	health_state_changes_total
//	health_dropped_changes_total
func Health(source HealthSource) prometheus.Collector { return healthCollector{source} }

type healthCollector struct{ source HealthSource }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	healthStatus    = desc("health_status", "State of the whole: 0 pass, 1 warn, 2 fail.")
	healthReady     = desc("health_ready", "Whether this instance should get traffic.")
	checkStatus     = desc("health_check_status", "Last result: 0 pass, 1 warn, 2 fail, -1 not run yet.", "check")
	checkConfirmed  = desc("health_check_confirmed_status", "Confirmed state: 0 pass, 1 warn, 2 fail, -1 not known yet.", "check")
	checkResults    = desc("health_check_results_total", "Results by kind.", "check", "result")
	checkTimeouts   = desc("health_check_timeouts_total", "Runs that did not return in time.", "check")
	checkPanics     = desc("health_check_panics_total", "Runs that panicked.", "check")
	checkDuration   = desc("health_check_duration_seconds", "Duration of the runs that returned in time.", "check")
	checkStuck      = desc("health_check_stuck", "Whether a run has outlived its timeout.", "check")
	checkFlapping   = desc("health_check_flapping", "Whether the state changes back and forth.", "check")
	checkLastPassed = desc("health_check_last_success_timestamp_seconds", "When the check passed last.", "check")
	checkValue      = desc("health_check_value", "Last measured value.", "check", "name", "component", "unit")
	checkLimit      = desc("health_check_value_limit", "Threshold of a measured value.", "check", "name", "component", "level")
	stateChanges    = desc("health_state_changes_total", "Changes that listeners received.")
	droppedChanges  = desc("health_dropped_changes_total", "Changes that slow listeners missed.")
)

// Describe implements prometheus.Collector.
func (c healthCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		healthStatus, healthReady, checkStatus, checkConfirmed, checkResults, checkTimeouts, checkPanics,
		checkDuration, checkStuck, checkFlapping, checkLastPassed, checkValue, checkLimit, stateChanges, droppedChanges,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	snap, stats := c.source.Snapshot(), c.source.Stats()
	gauge(healthStatus, level(snap.Status))
	gauge(healthReady, boolValue(snap.Ready != health.Fail))
	counter(stateChanges, stats.Changes)
	counter(droppedChanges, stats.DroppedChanges)
	for _, c := range snap.Checks {
		collectValues(gauge, c)
	}
	for _, s := range stats.Checks {
		gauge(checkStatus, level(s.Status), s.Name)
		gauge(checkConfirmed, level(s.Confirmed), s.Name)
		counter(checkResults, s.Passed, s.Name, "pass")
		counter(checkResults, s.Warned, s.Name, "warn")
		counter(checkResults, s.Failed, s.Name, "fail")
		counter(checkTimeouts, s.Timeouts, s.Name)
		counter(checkPanics, s.Panics, s.Name)
		buckets := map[float64]uint64{}
		for i, bound := range health.DurationBounds {
			buckets[bound.Seconds()] = s.Durations[i]
		}
		ch <- prometheus.MustNewConstHistogram(checkDuration, s.InTime, s.RunTime.Seconds(), buckets, s.Name)
		gauge(checkStuck, boolValue(s.Stuck), s.Name)
		gauge(checkFlapping, boolValue(s.Flapping), s.Name)
		if !s.LastSuccess.IsZero() {
			gauge(checkLastPassed, float64(s.LastSuccess.UnixMilli())/1000, s.Name)
		}
	}
}

// collectValues exports the measurements of a check. If two have the same name and
// component, it exports the first one, because Prometheus rejects duplicates.
func collectValues(gauge func(*prometheus.Desc, float64, ...string), c health.CheckState) {
	type key struct{ name, component string }
	seen := map[key]bool{}
	for _, m := range c.Observed {
		k := key{m.Name, m.Component}
		if seen[k] {
			continue
		}
		seen[k] = true
		gauge(checkValue, m.Value, c.Name, m.Name, m.Component, m.Unit)
		for level, limit := range map[string]float64{"warn": m.Limits.Warn, "fail": m.Limits.Fail} {
			if limit != 0 {
				gauge(checkLimit, limit, c.Name, m.Name, m.Component, level)
			}
		}
	}
}

func level(s health.Status) float64 { return float64(s) - float64(health.Pass) }

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
