package alert

import (
	"fmt"
	"slices"
	"time"
)

// Silence holds back messages about a check, or about all of them, until a
// moment.
type Silence struct {
	// Check is a name; empty means every check.
	Check string    `json:"check,omitempty"`
	Until time.Time `json:"until"`
	// Reason is for the people who read the list.
	Reason string `json:"reason,omitempty"`
}

// Window is a time of planned work that comes back, during which no messages
// are sent about the checks. It is written in the wall clock's time: a window from
// 02:00 to 04:00 keeps those hours when the clocks change, however long they are
// on that day.
type Window struct {
	// Checks are names; none means every check.
	Checks []string
	// Days on which the window begins; none means every day.
	Days []time.Weekday
	// From and To are "15:04". A To that is not after From is on the next day.
	From, To string
	// Location is the time zone of From and To. Default: time.Local.
	Location *time.Location
}

func (w *Window) validate() error {
	for _, clock := range []string{w.From, w.To} {
		if _, err := minutes(clock); err != nil {
			return err
		}
	}
	return nil
}

// minutes reads "15:04" as minutes since midnight.
func minutes(clock string) (int, error) {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return 0, fmt.Errorf("alert: %q in a maintenance window is not a time like 02:30", clock)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// covers tells whether a check is inside the window at now.
func (w *Window) covers(check string, now time.Time) bool {
	if len(w.Checks) > 0 && !slices.Contains(w.Checks, check) {
		return false
	}
	local := now.In(orDefault(w.Location, time.Local))
	clock := local.Hour()*60 + local.Minute()
	from, _ := minutes(w.From) // validated
	to, _ := minutes(w.To)
	begins := func(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }
	today := local.Weekday()
	if from < to {
		return begins(today) && from <= clock && clock < to
	}
	yesterday := (today + 6) % 7
	return begins(today) && clock >= from || begins(yesterday) && clock < to
}

// quiet tells whether messages about a check are held back at now.
func (r *rules) quiet(d *document, check string, now time.Time) bool {
	for _, s := range d.Silences {
		if (s.Check == "" || s.Check == check) && now.Before(s.Until) {
			return true
		}
	}
	for i := range r.windows {
		if r.windows[i].covers(check, now) {
			return true
		}
	}
	return false
}
