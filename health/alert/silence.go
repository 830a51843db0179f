package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Silence holds back messages until a given time: about one alert, about a check, about an
// instance, or about all checks and instances.
type Silence struct {
	// Subject limits the silence to the subject of one alert: the check of a shared alert,
	// "check@instance", "lost@instance" or "restarts@instance". Alerter.Silence also
	// accepts the ID of an open alert. Check and Instance must be empty then. Default:
	// empty.
	Subject string `json:"subject,omitempty"`
	// Check is the name of a check. Empty means every check.
	Check string `json:"check,omitempty"`
	// Instance is the name of an instance. Empty means every instance.
	Instance string `json:"instance,omitempty"`
	// Until is the end, at most 31 days from now. A time in the past ends a silence of
	// the same subject, check and instance.
	Until time.Time `json:"until"`
	// Reason is for the readers of the list, at most 500 bytes.
	Reason string `json:"reason,omitempty"`
	// By is the author, at most 100 bytes.
	By string `json:"by,omitempty"`
	// Set is when the silence began. The alerter sets it.
	Set time.Time `json:"set,omitzero"`
}

func (s Silence) same(o Silence) bool {
	return s.Subject == o.Subject && s.Check == o.Check && s.Instance == o.Instance
}

func (s Silence) covers(al *state, now time.Time) bool {
	return (s.Subject == "" || s.Subject == al.subject()) && (s.Check == "" || s.Check == al.Name) && (s.Instance == "" || s.Instance == al.Instance) && now.Before(s.Until)
}

// Window is a recurring time of planned work. No messages about its checks are sent in
// that time. It uses wall-clock time. A window from 02:00 to 04:00 keeps these hours
// when the clocks change, and is then longer or shorter. A window within an hour that the
// clocks skip does not take place on that day.
type Window struct {
	// Checks are names. Empty means every check.
	Checks []string
	// Days are the days on which the window begins. Empty means every day.
	Days []time.Weekday
	// From and To are "15:04". A To that is not after From is on the next day.
	From, To string
	// Location is the time zone of From, To and Days. Default: Options.Location.
	Location *time.Location
}

// ready returns checked copies of windows, with their default location.
func ready(windows []Window, location *time.Location) ([]Window, error) {
	windows = slices.Clone(windows)
	for i := range windows {
		w := &windows[i]
		for _, clock := range []string{w.From, w.To} {
			if _, err := minutes(clock); err != nil {
				return nil, err
			}
		}
		for _, d := range w.Days {
			if d < time.Sunday || d > time.Saturday {
				return nil, fmt.Errorf("alert: %v in a maintenance window is not a day; use time.Sunday to time.Saturday", d)
			}
		}
		if w.Location == nil {
			w.Location = location
		}
	}
	return windows, nil
}

// minutes reads "15:04" as minutes since midnight.
func minutes(clock string) (int, error) {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return 0, fmt.Errorf("alert: %q in a maintenance window is not a time like 02:30", clock)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// covers reports whether a check is inside the window at now.
func (w *Window) covers(check string, now time.Time) bool {
	if len(w.Checks) > 0 && !slices.Contains(w.Checks, check) {
		return false
	}
	local := now.In(w.Location)
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

// quiet reports whether messages about an alert are held back at now.
func (d *document) quiet(r *rules, al *state, now time.Time) bool {
	if !d.silencedUntil(al, now).IsZero() {
		return true
	}
	for i := range r.windows {
		if r.windows[i].covers(al.Name, now) {
			return true
		}
	}
	return false
}

// listen records when silences and windows begin and end. While they last, or while only
// the cause of an alert is told, no person can acknowledge, and no message can be sent.
func (d *document) listen(now time.Time, r *rules) {
	for _, al := range d.Alerts {
		switch quiet := al.hidden() || d.quiet(r, al, now); {
		case quiet && !al.Audible.IsZero():
			al.Heard += max(0, now.Sub(al.Audible))
			al.Audible = time.Time{}
		case !quiet && al.Audible.IsZero():
			al.Audible = now
		}
	}
}

func (d *document) silencedUntil(al *state, now time.Time) (until time.Time) {
	for _, s := range d.Silences {
		if s.covers(al, now) && s.Until.After(until) {
			until = s.Until
		}
	}
	return until
}

// maxSilences limits the size of the document.
const maxSilences = 100

// Silence holds back messages until s.Until, on all instances that share the store. A
// later silence of the same subject, check and instance replaces an earlier one. A silence
// that is already over ends it. Alerts are still recorded, and are sent afterwards if they
// last.
func (a *Alerter) Silence(ctx context.Context, s Silence) error {
	if s.Subject != "" && (s.Check != "" || s.Instance != "") {
		return errors.New("alert: a silence of a subject has no check and no instance beside it")
	}
	if len(s.Reason) > 500 || len(s.By) > 100 || len(s.Instance) > 200 {
		return errors.New("alert: the reason of a silence has more than 500 bytes, or its author more than 100")
	}
	now := time.Now()
	if s.Until.Sub(now) > maxSilence {
		return fmt.Errorf("alert: a silence lasts %d days at most; use Options.Windows or remove the check", int(maxSilence.Hours()/24))
	}
	s.Set, s.Until = now.Round(0).UTC(), s.Until.Round(0).UTC()
	return a.change(ctx, func(d *document, now time.Time) error {
		if s.Subject != "" {
			al := d.find(s.Subject)
			if al == nil && now.Before(s.Until) {
				return fmt.Errorf("%w: %q", ErrNoAlert, s.Subject)
			}
			if al != nil {
				s.Subject = al.subject()
			}
		}
		if s.Check != "" && !slices.Contains(a.reg.Names(), s.Check) && !d.knows(s.Check) {
			return fmt.Errorf("alert: there is no check %q to silence", s.Check)
		}
		d.Silences = slices.DeleteFunc(d.Silences, func(o Silence) bool { return o.same(s) || !now.Before(o.Until) })
		if len(d.Silences) >= maxSilences {
			return fmt.Errorf("alert: there are %d silences already", len(d.Silences))
		}
		if now.Before(s.Until) {
			d.Silences = append(d.Silences, s)
		}
		return nil
	})
}

// find returns an open alert by its ID or its subject, or nil.
func (d *document) find(alert string) *state {
	for k, al := range d.Alerts {
		if al.Ended.IsZero() && !al.hidden() && (al.ID == alert || k == alert) {
			return al
		}
	}
	return nil
}

// knows reports whether there is an alert about a check, possibly a check of another instance.
func (d *document) knows(check string) bool {
	for _, al := range d.Alerts {
		if al.Name == check {
			return true
		}
	}
	return false
}

const maxSilence = 31 * 24 * time.Hour

// Silences reads the active silences from the store.
func (a *Alerter) Silences(ctx context.Context) ([]Silence, error) {
	var out []Silence
	err := a.change(ctx, func(d *document, now time.Time) error {
		d.Silences = slices.DeleteFunc(d.Silences, func(o Silence) bool { return !now.Before(o.Until) })
		out = slices.Clone(d.Silences)
		return nil
	})
	return out, err
}
