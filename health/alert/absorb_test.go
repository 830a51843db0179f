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

// A process that starts without the store keeps the unclean stops before it.
func TestAbsorbKeepsUncleanStops(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	before, mine := uncleanStart{At: now.Add(-time.Minute), Boot: "1"}, uncleanStart{At: now, Boot: "2"}
	d := &document{Instances: map[string]*instance{"a": {Run: &observer{Boot: "2", Seen: now.Add(-time.Hour)}, Unclean: []uncleanStart{before}}}}
	d.absorb(&document{Instances: map[string]*instance{"a": {Run: &observer{Boot: "3", Seen: now}, Unclean: []uncleanStart{before, mine}}}}, "a", time.Time{}, now)
	if got := d.Instances["a"]; len(got.Unclean) != 2 || got.Run.Boot != "3" {
		t.Errorf("%+v", got)
	}
	d.absorb(&document{Instances: map[string]*instance{"a": {Run: &observer{Boot: "4", Seen: now}}}}, "a", time.Time{}, now)
	if got := d.Instances["a"]; len(got.Unclean) != 2 || got.Run.Boot != "4" {
		t.Errorf("%+v", got)
	}
}

// An alert that was acknowledged and rose again without the store is not acknowledged.
func TestAbsorbedRiseIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	since := now.Add(-time.Hour)
	for _, risen := range []bool{true, false} { // here, or in the store
		mine := &state{ID: "x", Name: "db", Face: fail, Critical: true, Episode: 1, Opened: since, Since: since, AckBy: "me", AckAt: since}
		theirs := mine.clone()
		if risen {
			mine.rise()
		} else {
			theirs.rise()
		}
		theirs.absorb(mine, since, now)
		if theirs.Episode != 2 || !theirs.AckAt.IsZero() || theirs.AckBy != "" {
			t.Errorf("%v: the rise %d is acknowledged by %q", risen, theirs.Episode, theirs.AckBy)
		}
	}
}
