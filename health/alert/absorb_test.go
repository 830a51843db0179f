package alert

import (
	"testing"
	"time"
)

// A shared alert whose only reporter was removed meanwhile ends, although this instance has
// sent it without the store.
func TestAbsorbedReporterIsGone(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	since := now.Add(-time.Hour)
	d := &document{Instances: map[string]*instance{"a": {Run: &observer{Seen: since}}}}
	d.absorb(&document{
		Instances: map[string]*instance{"a": {Run: &observer{Seen: now}}, "b": {Run: &observer{Seen: since}}},
		Alerts: map[string]*state{"db": {ID: "x", Name: "db", Face: fail, Reporters: []string{"b"}, Opened: since, Since: since, Told: map[string]*told{
			"r": {Keys: []string{"x-0"}, Tried: now, Face: fail, At: now},
		}}},
	}, "a", since, now)
	d.advance(now, &rules{instance: "a"}, &watch{})
	if al := d.Alerts["db"]; al == nil || al.Ended.IsZero() {
		t.Errorf("no instance reports %+v, and it is open", al)
	}
}
