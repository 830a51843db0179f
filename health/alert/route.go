package alert

import (
	"path"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// onDuty reports whether the receiver may get a message at now.
func (r *receiver) onDuty(now time.Time) bool {
	if r.primary != nil {
		return r.primary.onDuty(now)
	}
	for i := range r.Hours {
		w := r.Hours[i]
		w.Checks = nil
		if w.covers("", now) {
			return true
		}
	}
	return len(r.Hours) == 0
}

// matches reports whether the route of the receiver covers an alert. If it covers the
// alert only later, matches returns the time.
func (r *receiver) matches(d *document, al *state, with *rules, now time.Time) (bool, time.Time) {
	if r.MinLevel == notify.Critical && !al.Critical || !matchAny(r.Checks, al.Name) {
		return false, time.Time{}
	}
	hosts := al.Reporters
	if al.Instance != "" {
		hosts = []string{al.Instance}
	}
	if len(r.Instances) > 0 && !slices.ContainsFunc(hosts, func(h string) bool { return matchAny(r.Instances, h) }) {
		return false, time.Time{}
	}
	if r.fallbackOf != "" {
		primary, t := d.Receivers[r.fallbackOf], al.Told[r.fallbackOf]
		busy := primary != nil && al.Critical && primary.Wait > urgentWait
		rejected := t != nil && t.Failures > len(with.retries)
		if primary == nil || primary.Attempts <= len(with.retries) && !busy && !rejected {
			return false, time.Time{}
		}
		return r.primary.matches(d, al, with, now)
	}
	if r.After > 0 {
		if !al.AckAt.IsZero() {
			return false, time.Time{}
		}
		switch wait := r.After - al.Heard; {
		case wait <= 0:
		case al.Audible.IsZero(): // the end of the silence or window begins it
			return false, time.Time{}
		case now.Sub(al.Audible) < wait:
			return false, al.Audible.Add(wait)
		}
	}
	return true, time.Time{}
}

func matchAny(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name) // New has checked the pattern
		return ok
	})
}

// pause is the wait after a number of failures. A critical alert is tried again at
// least once a minute in the first hour, and then every 5 minutes.
func (r *receiver) pause(with *rules, attempts int, urgent bool) time.Duration {
	d := with.retries[min(attempts, len(with.retries))-1]
	if urgent {
		limit := time.Minute
		if attempts > 60 {
			limit = 5 * time.Minute
		}
		d = min(d, limit)
	}
	return d
}
