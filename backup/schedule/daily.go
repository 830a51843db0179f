// Package schedule makes one good backup a day. It contains a daily time that handles clock
// changes, and a scheduler for a permanent process. Package hostschedule is for a process that
// the scheduler of the host starts.
package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Daily is a time of day in a time zone. It occurs once on each civil day, also when the
// zone changes its clocks.
//
//   - If the clocks skip the time, it is the first instant after the change.
//   - If the clocks show the time twice, it is the first of the two.
//   - A date that a zone skipped, such as 2011-12-30 in Samoa, has no such time.
//
// The zero value is midnight UTC. A Daily is a value: copy and compare it freely.
type Daily struct {
	hour, minute int
	zone         *time.Location // nil is UTC
}

// NewDaily returns the daily time hour:minute in zone. zone is required. time.Local is the
// zone of the host, and containers often have none.
func NewDaily(hour, minute int, zone *time.Location) (Daily, error) {
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return Daily{}, fmt.Errorf("backup: %02d:%02d is no time of a day: give 00:00 to 23:59", hour, minute)
	}
	if zone == nil {
		return Daily{}, errors.New("backup: a daily time needs a zone, such as time.Local")
	}
	return Daily{hour, minute, zone}, nil
}

// ParseDaily is like NewDaily for a text such as "02:00".
func ParseDaily(clock string, zone *time.Location) (Daily, error) {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return Daily{}, fmt.Errorf("backup: %q is no time of a day: write it as 02:00", clock)
	}
	return NewDaily(t.Hour(), t.Minute(), zone)
}

// String returns the time and the zone, as "02:00 Europe/Madrid".
func (d Daily) String() string {
	return fmt.Sprintf("%02d:%02d %s", d.hour, d.minute, d.location())
}

func (d Daily) location() *time.Location {
	if d.zone == nil {
		return time.UTC
	}
	return d.zone
}

// Next returns the first occurrence after t.
func (d Daily) Next(t time.Time) time.Time {
	// Start two days back, because a clock change may move yesterday's occurrence past
	// midnight.
	for day := -2; ; day++ {
		if due, exists := d.near(t, day); exists && due.After(t) {
			return due
		}
	}
}

// Last returns the latest occurrence that is not after t.
func (d Daily) Last(t time.Time) time.Time {
	for day := 2; ; day-- {
		if due, exists := d.near(t, day); exists && !due.After(t) {
			return due
		}
	}
}

// near returns the occurrence on the civil day of t plus days.
func (d Daily) near(t time.Time, days int) (time.Time, bool) {
	year, month, day := t.In(d.location()).Date()
	date := time.Date(year, month, day+days, 0, 0, 0, 0, time.UTC)
	return d.on(date.Date())
}

// on returns the occurrence on a civil day, false if the zone skipped that day.
func (d Daily) on(year int, month time.Month, day int) (time.Time, bool) {
	t := time.Date(year, month, day, d.hour, d.minute, 0, 0, d.location())
	from, until := t.ZoneBounds()
	wanted, shown := time.Date(year, month, day, d.hour, d.minute, 0, 0, time.UTC), clockOf(t)
	if !shown.Equal(wanted) {
		// The clocks skip this time. time.Date returned a time with the offset before or
		// after the change.
		jump := from
		if shown.Before(wanted) {
			jump = until
		}
		return jump, sameDay(jump, year, month, day) || sameDay(jump.Add(-1), year, month, day)
	}
	if !from.IsZero() {
		_, now := t.Zone()
		_, before := from.Add(-1).Zone()
		if first := t.Add(time.Duration(now-before) * time.Second); first.Before(from) {
			return first, true
		}
	}
	return t, true
}

// clockOf returns the local clock time at t, as a time in UTC.
func clockOf(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

func sameDay(t time.Time, year int, month time.Month, day int) bool {
	y, m, d := t.Date()
	return y == year && m == month && d == day
}
