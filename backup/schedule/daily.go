// Package schedule makes one good backup a day: a daily moment that survives the changes of
// clocks, a scheduler for a process that runs all the time, and texts for the schedulers of
// hosts.
package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Daily is a moment that comes once per civil day: a time of day on the clocks of
// a zone, whatever that zone does to its clocks.
//
//   - Where the clocks jump over the time, it is the first instant after the jump.
//   - Where the clocks show the time twice, it is the first of the two.
//   - A date that a zone left out, as Samoa did with 2011-12-30, has none.
//
// The zero value is midnight UTC. A Daily is a value: copy and compare it freely.
type Daily struct {
	hour, minute int
	zone         *time.Location // nil is UTC
}

// NewDaily returns the daily moment hour:minute in zone, which must be given:
// time.Local is the host's zone, and containers often have none.
func NewDaily(hour, minute int, zone *time.Location) (Daily, error) {
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return Daily{}, fmt.Errorf("backup: %02d:%02d is no time of a day: give 00:00 to 23:59", hour, minute)
	}
	if zone == nil {
		return Daily{}, errors.New("backup: a daily time needs a zone, such as time.Local")
	}
	return Daily{hour, minute, zone}, nil
}

// ParseDaily is NewDaily for a text such as "02:00".
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

// Next returns the first moment after t.
func (d Daily) Next(t time.Time) time.Time {
	// Two days back, because a jump may move yesterday's moment past midnight.
	for day := -2; ; day++ {
		if due, exists := d.near(t, day); exists && due.After(t) {
			return due
		}
	}
}

// Last returns the latest moment that is not after t.
func (d Daily) Last(t time.Time) time.Time {
	for day := 2; ; day-- {
		if due, exists := d.near(t, day); exists && !due.After(t) {
			return due
		}
	}
}

// near returns the moment of the civil day that many days from that of t.
func (d Daily) near(t time.Time, days int) (time.Time, bool) {
	year, month, day := t.In(d.location()).Date()
	date := time.Date(year, month, day+days, 0, 0, 0, 0, time.UTC)
	return d.on(date.Date())
}

// on returns the moment of a civil day, false if the zone left that day out.
func (d Daily) on(year int, month time.Month, day int) (time.Time, bool) {
	t := time.Date(year, month, day, d.hour, d.minute, 0, 0, d.location())
	from, until := t.ZoneBounds()
	wanted, shown := time.Date(year, month, day, d.hour, d.minute, 0, 0, time.UTC), clockOf(t)
	if !shown.Equal(wanted) {
		// The clocks jump over this time, and time.Date has answered with the offset
		// from before the jump or from after it.
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

// clockOf returns what the clocks show at t, as a time in UTC.
func clockOf(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

func sameDay(t time.Time, year int, month time.Month, day int) bool {
	y, m, d := t.Date()
	return y == year && m == month && d == day
}
