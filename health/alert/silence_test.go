package alert

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skip("no time zone data")
	}
	return z
}

func TestWindow(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	weekend := []time.Weekday{time.Saturday, time.Sunday}
	halfHour := Window{From: "01:45", To: "08:00", Days: weekend, Location: zone(t, "Australia/Lord_Howe")} // clocks change by half an hour
	india := Window{From: "22:00", To: "06:15", Days: []time.Weekday{time.Sunday}, Location: zone(t, "Asia/Kolkata")}
	midnight := Window{From: "18:00", To: "00:30", Days: []time.Weekday{time.Saturday}, Location: zone(t, "America/Havana")} // changes at 00:00 and at 01:00
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
		{night, "disk", "2026-03-28T02:59:59+01:00", true},
		{halfHour, "x", "2026-04-05T01:44:00+11:00", false},
		{halfHour, "x", "2026-04-05T01:59:00+11:00", true}, // the clock goes back to 01:30
		{halfHour, "x", "2026-04-05T01:44:00+10:30", false},
		{halfHour, "x", "2026-04-05T01:45:00+10:30", true},
		{halfHour, "x", "2026-10-04T02:31:00+11:00", true}, // 02:00 to 02:30 is left out
		{india, "x", "2026-11-29T16:29:00Z", false},
		{india, "x", "2026-11-29T16:30:00Z", true},
		{india, "x", "2026-11-30T00:44:00Z", true}, // Monday, 06:14
		{india, "x", "2026-11-30T00:45:00Z", false},
		{midnight, "x", "2026-10-31T22:00:00Z", true},
		{midnight, "x", "2026-11-01T04:29:00Z", true}, // Sunday, 00:29
		{midnight, "x", "2026-11-01T04:45:00Z", false},
		{midnight, "x", "2026-11-01T05:15:00Z", true}, // 00:15 for the second time
		{midnight, "x", "2026-11-01T05:30:00Z", false},
		{midnight, "x", "2026-03-08T04:59:00Z", true}, // Saturday, 23:59; then Sunday, 01:00
		{midnight, "x", "2026-03-08T05:00:00Z", false},
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

// The hours of a receiver and the windows are those of the messages' time zone.
func TestWindowLocation(t *testing.T) {
	t.Parallel()
	reg, err := health.New(nil, &health.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	madrid := zone(t, "Europe/Madrid")
	hours := []Window{{From: "08:00", To: "18:00"}, {From: "20:00", To: "21:00", Location: time.UTC}}
	a, err := New(reg, nil, &Options{Location: madrid, Windows: hours, Receivers: []Receiver{{Name: "day", Notifier: &inbox{}, Hours: hours}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range [][]Window{a.opts.Windows, a.receivers[0].Hours} {
		if ready[0].Location != madrid || ready[1].Location != time.UTC {
			t.Errorf("%v", ready)
		}
	}
	if hours[0].Location != nil {
		t.Error("the caller's windows were changed")
	}
	hours[0].Days = []time.Weekday{7}
	if _, err := New(reg, &inbox{}, &Options{Windows: hours}); err == nil {
		t.Error("a window on no day of the week was accepted")
	}
}

// An alert that ends during a long silence is over for its receivers after the silence.
func TestEndDuringALongSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		l := newLab(t, Options{Reminders: []time.Duration{}}, box, critical("database")...)
		l.set(health.Fail, "database")
		l.run(t)
		time.Sleep(10 * time.Minute)
		if err := l.Silence(t.Context(), Silence{Check: "database", Until: time.Now().Add(8 * 24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		l.set(health.Pass, "database")
		time.Sleep(8 * 24 * time.Hour)
		if n := len(box.list()); n != 1 {
			t.Errorf("during the silence: %v", box)
		}
		time.Sleep(2 * time.Hour)
		l.stop()
		if n := len(box.list()); n != 2 || box.list()[1].Level != notify.Recovery || l.Stats().GivenUp != 0 {
			t.Errorf("after the silence: %v", box)
		}
	})
}

// An end is given up after a week in which it could be sent.
func TestEndIsGivenUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ended := func(audible time.Time, keys ...string) *document {
		return &document{Alerts: map[string]*state{"db": {
			ID: "x", Name: "db", Ended: now.Add(-30 * 24 * time.Hour), Noticed: now.Add(-30 * 24 * time.Hour), Audible: audible,
			Told: map[string]*told{"pager": {Keys: keys}},
		}}}
	}
	for name, c := range map[string]struct {
		d       *document
		left    int
		givenUp int
	}{
		"every receiver has it": {ended(now.Add(-time.Hour)), 0, 0},
		"perhaps told":          {ended(now.Add(-6*24*time.Hour), "x-0"), 1, 0},
		"still silenced":        {ended(time.Time{}, "x-0"), 1, 0},
		"a week":                {ended(now.Add(-7*24*time.Hour), "x-0"), 0, 1},
	} {
		if givenUp := c.d.settle(now); len(givenUp) != c.givenUp || len(c.d.Alerts) != c.left || len(c.d.Closed) != 1-c.left {
			t.Errorf("%s: given up %d, left %d", name, len(givenUp), len(c.d.Alerts))
		}
	}
}

// A wait that is longer than the time between two windows ends too.
func TestEscalationBetweenWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins at midnight
		boss := &inbox{start: time.Now()}
		l := newLab(t, Options{
			Windows:   []Window{{From: "02:00", To: "04:00"}},
			Receivers: []Receiver{{Name: "boss", Notifier: boss, After: 24 * time.Hour}},
		}, &inbox{}, critical("database")...)
		l.set(health.Fail, "database")
		l.run(t)
		time.Sleep(60 * time.Hour)
		l.stop()
		if boss.attempts() == 0 || boss.at[0] < 28*time.Hour || boss.at[0] > 29*time.Hour { // the first 24 hours outside two windows
			t.Errorf("%v", boss)
		}
	})
}
