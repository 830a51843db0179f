package alert

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// export returns the alert in its public form.
func (al *state) export() health.Alert {
	out := health.Alert{
		ID: al.ID, Check: al.Name, Instance: al.Instance, State: string(al.Face), Critical: al.Critical,
		Since: al.Since, Ended: al.Ended, Ending: al.Ending, Output: al.Output, AckBy: al.AckBy, AckAt: al.AckAt,
	}
	for _, t := range al.Told {
		out.Notified += t.Messages
		if t.Messages > 0 && t.At.After(out.LastNotified) {
			out.LastNotified = t.At
		}
	}
	return out
}

// Alerts returns the open alerts, and at most 200 alerts that were closed within the
// last 90 days, as this process last read them. It does not read the store. Pass it to
// health.Registry.SetAlerts.
func (a *Alerter) Alerts() health.Alerts {
	now := time.Now()
	a.mu.Lock()
	d := a.local
	a.mu.Unlock() // a document in local is replaced, never changed
	var out health.Alerts
	for _, k := range slices.Sorted(maps.Keys(d.Alerts)) {
		al := d.Alerts[k]
		if al.hidden() {
			continue
		}
		e := al.export()
		if !al.Ended.IsZero() { // only the message about its end is not delivered
			out.Closed = append(out.Closed, e)
			continue
		}
		e.SilencedUntil = d.silencedUntil(al, now)
		for _, r := range a.receivers {
			t := al.Told[r.Name]
			if t == nil || !al.AckAt.IsZero() {
				continue
			}
			if at := t.reminderAt(r.Reminders); !at.IsZero() && (e.NextReminder.IsZero() || at.Before(e.NextReminder)) {
				e.NextReminder = at
			}
		}
		e.Actions = a.actions(al, "status page", now)
		out.Open = append(out.Open, e)
	}
	slices.SortStableFunc(out.Open, func(x, y health.Alert) int {
		if x.Critical != y.Critical {
			return cmp.Compare(btoi(y.Critical), btoi(x.Critical))
		}
		return cmp.Compare(face(y.State).weight(), face(x.State).weight())
	})
	out.Closed = append(out.Closed, d.Closed...)
	slices.SortStableFunc(out.Closed, func(x, y health.Alert) int { return y.Ended.Compare(x.Ended) })
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Notices returns a line for each open alert and each silence, for
// health.Registry.AddNotices.
func (a *Alerter) Notices() []string {
	var lines []string
	clock := func(t time.Time) string { return t.In(a.opts.Location).Format("2 Jan 15:04 MST") }
	for _, al := range a.Alerts().Open {
		line := "Alert " + subjectName(al.Check, al.Instance) + " since " + clock(al.Since) + ": "
		if al.Notified == 0 {
			line += "no message was delivered yet."
		} else {
			line += fmt.Sprintf("%s sent, the last at %s.", count(al.Notified, "message"), clock(al.LastNotified))
		}
		switch {
		case al.AckBy != "":
			line += " Acknowledged by " + al.AckBy + "."
		case !al.NextReminder.IsZero():
			line += " Next reminder at " + clock(al.NextReminder) + "."
		}
		lines = append(lines, line)
	}
	a.mu.Lock()
	d := a.local
	a.mu.Unlock()
	for _, s := range d.Silences {
		if time.Now().Before(s.Until) {
			what := "all checks"
			switch {
			case s.Subject != "":
				what = s.Subject
			case s.Check != "" || s.Instance != "":
				what = subjectName(s.Check, s.Instance)
			}
			line := "Alerts about " + what + " are silenced until " + clock(s.Until)
			if s.Reason != "" {
				line += ": " + s.Reason
			}
			lines = append(lines, line)
		}
	}
	for i := range lines {
		lines[i] = a.reg.Scrub(lines[i])
	}
	return lines
}

func subjectName(check, host string) string {
	switch {
	case check == "":
		return host
	case host == "":
		return check
	}
	return check + " on " + host
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Told returns the names of the checks whose alert is open for a receiver: a message about
// it was delivered, or may have been, and no message about its end was delivered. It reads
// the store.
func (a *Alerter) Told(ctx context.Context) ([]string, error) {
	var names []string
	err := a.change(ctx, func(d *document, _ time.Time) error {
		for _, al := range d.Alerts {
			if al.Name != "" && al.owed() {
				names = append(names, al.Name)
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names), err
}
