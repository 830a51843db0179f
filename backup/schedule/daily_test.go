package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no zone data: apt-get install tzdata (%v)", err)
	}
	return location
}

func at(t testing.TB, clock, zoneName string) Daily {
	t.Helper()
	d, err := ParseDaily(clock, zone(t, zoneName))
	require.NoError(t, err)
	return d
}

func TestDailyOnDaysWithAChange(t *testing.T) {
	for _, c := range []struct{ zone, clock, day, due string }{
		{"America/New_York", "02:00", "2026-03-08", "2026-03-08T03:00:00-04:00"}, // gap
		{"America/New_York", "02:59", "2026-03-08", "2026-03-08T03:00:00-04:00"},
		{"America/New_York", "03:00", "2026-03-08", "2026-03-08T03:00:00-04:00"},
		{"America/New_York", "01:30", "2026-11-01", "2026-11-01T01:30:00-04:00"}, // fold
		{"Europe/Madrid", "02:00", "2026-03-29", "2026-03-29T03:00:00+02:00"},
		{"Europe/Madrid", "02:00", "2026-10-25", "2026-10-25T02:00:00+02:00"},
		{"Europe/Madrid", "02:30", "2026-10-25", "2026-10-25T02:30:00+02:00"},
		{"Europe/Madrid", "03:00", "2026-10-25", "2026-10-25T03:00:00+01:00"},
		{"Europe/London", "01:30", "2026-10-25", "2026-10-25T01:30:00+01:00"},
		{"Australia/Lord_Howe", "02:15", "2026-10-04", "2026-10-04T02:30:00+11:00"}, // half an hour
		{"Australia/Lord_Howe", "01:45", "2026-04-05", "2026-04-05T01:45:00+11:00"},
		{"Africa/Cairo", "00:00", "2026-04-24", "2026-04-24T01:00:00+03:00"}, // midnight does not exist
		{"America/Havana", "00:30", "2026-03-08", "2026-03-08T01:00:00-04:00"},
		{"America/Nuuk", "23:30", "2026-03-28", "2026-03-29T00:00:00-01:00"}, // the jump ends the day
		{"Pacific/Apia", "02:00", "2011-12-29", "2011-12-29T02:00:00-10:00"},
		{"Pacific/Apia", "02:00", "2011-12-31", "2011-12-31T02:00:00+14:00"},
		{"UTC", "02:00", "2026-03-29", "2026-03-29T02:00:00Z"},
	} {
		d := at(t, c.clock, c.zone)
		day, err := time.Parse(time.DateOnly, c.day)
		require.NoError(t, err)
		due, exists := d.on(day.Date())
		assert.True(t, exists, "%v %s", d, c.day)
		assert.Equal(t, c.due, due.Format(time.RFC3339), "%v on %s", d, c.day)
	}
	_, exists := at(t, "02:00", "Pacific/Apia").on(2011, 12, 30)
	assert.False(t, exists, "Samoa had no 30th December 2011")
	assert.Equal(t, "2011-12-31T02:00:00+14:00",
		at(t, "02:00", "Pacific/Apia").Next(time.Date(2011, 12, 30, 0, 0, 0, 0, time.UTC).Add(11*time.Hour)).Format(time.RFC3339))
}

// Whatever the zone, each civil day has one moment, on that day, and the pauses
// stay within 22 and 26 hours.
func TestDailyOncePerCivilDay(t *testing.T) {
	zones := []string{
		"Europe/Madrid", "Europe/London", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "America/Havana",
		"America/Nuuk", "America/Santiago", "Africa/Cairo", "Africa/Casablanca", "Asia/Kolkata", "Asia/Tehran",
		"Asia/Beirut", "Australia/Lord_Howe", "Pacific/Auckland", "UTC",
	}
	clocks := []string{
		"00:00", "00:15", "00:30", "00:59", "01:00", "01:30", "01:59", "02:00",
		"02:15", "02:30", "02:59", "03:00", "03:30", "04:00", "23:59",
	}
	instants := 0
	for _, name := range zones {
		for _, clock := range clocks {
			d := at(t, clock, name)
			first := time.Date(2023, 1, 1, 12, 0, 0, 0, d.location())
			last := time.Date(2027, 1, 1, 12, 0, 0, 0, d.location())
			previous := d.Last(first)
			day := previous
			for previous.Before(last) {
				next := d.Next(previous)
				day = time.Date(day.Year(), day.Month(), day.Day()+1, 12, 0, 0, 0, time.UTC)
				expected, exists := d.on(day.Date())
				if !exists || !next.Equal(expected) {
					t.Fatalf("%v: after %v comes %v, but %s has %v (%v)", d, previous, next, day.Format(time.DateOnly), expected, exists)
				}
				if y, m, dd := next.Date(); y != day.Year() || m != day.Month() || dd != day.Day() {
					// Only a jump that ends its day may push a moment to the next one's first instant.
					if h, mi, s := next.Clock(); h+mi+s != 0 {
						t.Fatalf("%v: the moment of %s is %v", d, day.Format(time.DateOnly), next)
					}
				}
				if pause := next.Sub(previous); pause < 22*time.Hour || pause > 26*time.Hour {
					t.Fatalf("%v: %v between %v and %v", d, pause, previous, next)
				}
				if got := d.Last(next); !got.Equal(next) {
					t.Fatalf("%v: Last(%v) is %v", d, next, got)
				}
				if got := d.Last(next.Add(-1)); !got.Equal(previous) {
					t.Fatalf("%v: before %v comes %v, not %v", d, next, got, previous)
				}
				previous = next
				instants++
			}
		}
	}
	assert.GreaterOrEqual(t, instants, 16*15*4*365)
}

func FuzzDaily(f *testing.F) {
	f.Add(int64(1774746000), uint16(120), uint8(0))
	f.Add(int64(1325200000), uint16(0), uint8(3))
	f.Add(int64(-5000000000), uint16(1439), uint8(2))
	zones := []string{"Europe/Madrid", "America/New_York", "Asia/Manila", "Pacific/Apia", "Pacific/Kwajalein", "America/Juneau", "Africa/Monrovia"}
	f.Fuzz(func(t *testing.T, unix int64, minutes uint16, which uint8) {
		unix %= 1 << 34 // years 1425 to 2514
		d := at(t, fmt.Sprintf("%02d:%02d", minutes/60%24, minutes%60), zones[int(which)%len(zones)])
		now := time.Unix(unix, 0)
		last, next := d.Last(now), d.Next(now)
		if last.After(now) || !next.After(now) {
			t.Fatalf("%v at %v: last %v, next %v", d, now, last, next)
		}
		// A date that was left out or shown twice makes it two days.
		if pause := next.Sub(last); pause < 20*time.Hour || pause > 50*time.Hour {
			t.Fatalf("%v at %v: %v from %v to %v", d, now, pause, last, next)
		}
	})
}

func TestNewDailyRefuses(t *testing.T) {
	for _, c := range [][2]int{{24, 0}, {-1, 0}, {0, 60}, {0, -1}} {
		_, err := NewDaily(c[0], c[1], time.UTC)
		assert.ErrorContains(t, err, "backup: ")
	}
	_, err := NewDaily(2, 0, nil)
	assert.ErrorContains(t, err, "needs a zone")
	_, err = ParseDaily("2 am", time.UTC)
	assert.ErrorContains(t, err, "write it as 02:00")
	assert.Equal(t, "00:00 UTC", Daily{}.String())
	d, err := ParseDaily("02:05", time.UTC)
	require.NoError(t, err)
	assert.Equal(t, "02:05 UTC", d.String())
}
