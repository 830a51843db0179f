package alert

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zone data")
	}
	night := Window{From: "22:30", To: "04:00", Days: []time.Weekday{time.Friday}, Location: berlin}
	backup := Window{From: "02:00", To: "03:30", Checks: []string{"disk"}, Location: berlin}
	for _, c := range []struct {
		w     Window
		check string
		at    string
		want  bool
	}{
		{night, "disk", "2026-11-27T22:29:59+01:00", false},
		{night, "disk", "2026-11-27T22:30:00+01:00", true},
		{night, "disk", "2026-11-28T03:59:59+01:00", true}, // Saturday morning belongs to Friday
		{night, "disk", "2026-11-28T04:00:00+01:00", false},
		{night, "disk", "2026-11-28T23:00:00+01:00", false},
		{night, "disk", "2026-11-27T03:00:00+01:00", false},
		{backup, "disk", "2026-11-27T02:30:00+01:00", true},
		{backup, "disk", "2026-11-27T01:30:00Z", true},
		{backup, "cache", "2026-11-27T02:30:00+01:00", false},
		{backup, "disk", "2026-10-25T02:30:00+02:00", true}, // the hour that comes twice
		{backup, "disk", "2026-10-25T02:30:00+01:00", true},
		{backup, "disk", "2026-03-29T03:15:00+02:00", true}, // the hour that is left out
		{Window{From: "00:00", To: "00:00", Location: berlin}, "x", "2026-11-27T12:00:00Z", true},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.w.covers(c.check, at); got != c.want {
			t.Errorf("%s-%s covers %s at %s: %v", c.w.From, c.w.To, c.check, c.at, got)
		}
	}
}
