package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Alerts returns the open alerts as this process last saw them, for
// health.Registry.SetAlerts.
func (a *Alerter) Alerts() health.Alerts {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out health.Alerts
	inc := a.local.Incident
	if inc == nil {
		return out
	}
	for key, t := range inc.Told {
		if t.Face != clear {
			out.Open = append(out.Open, health.Alert{
				ID: inc.ID + "/" + key, Check: t.Name, State: string(t.Face), Since: t.Since,
				Notified: inc.Delivered, LastNotified: inc.LastSent, NextReminder: a.reminderAt,
			})
		}
	}
	slices.SortFunc(out.Open, func(x, y health.Alert) int { return strings.Compare(x.ID, y.ID) })
	return out
}

// Notices returns lines about the open incident and the silences, for
// health.Registry.AddNotices.
func (a *Alerter) Notices() []string {
	var lines []string
	clock := func(t time.Time) string { return t.In(a.opts.Location).Format("15:04 MST") }
	for _, al := range a.Alerts().Open {
		line := al.Check + " since " + clock(al.Since) + "; "
		if al.Notified == 0 {
			line += "nobody has been told yet."
		} else {
			line += fmt.Sprintf("%s sent, the last at %s.", count(al.Notified, "message"), clock(al.LastNotified))
		}
		if !al.NextReminder.IsZero() {
			line += " Next reminder at " + clock(al.NextReminder) + "."
		}
		lines = append(lines, line)
	}
	a.mu.Lock()
	silences := slices.Clone(a.local.Silences)
	a.mu.Unlock()
	for _, s := range silences {
		if time.Now().Before(s.Until) {
			line := "Alerts about " + orDefault(s.Check, "all checks") + " are silenced until " + s.Until.In(a.opts.Location).Format("2 Jan 15:04 MST")
			if s.Reason != "" {
				line += ": " + s.Reason
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// maxSilences bounds the document.
const maxSilences = 100

// Silence holds back messages about a check, or about all of them if check is
// empty, until a moment, on all replicas that share the store. A later silence of
// the same check takes the place of an earlier one; one that is already over ends
// it. What happens meanwhile is recorded and told afterwards if it lasts.
func (a *Alerter) Silence(ctx context.Context, check string, until time.Time, reason string) error {
	if check != "" && !slices.Contains(a.rules.known, check) {
		return fmt.Errorf("alert: there is no check %q to silence", check)
	}
	if len(reason) > 500 {
		return errors.New("alert: the reason of a silence is longer than 500 bytes")
	}
	a.deciding.Lock()
	defer a.deciding.Unlock()
	return a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := decode(state)
		if err != nil {
			return nil, err
		}
		d.Silences = slices.DeleteFunc(d.Silences, func(s Silence) bool { return s.Check == check || !time.Now().Before(s.Until) })
		if len(d.Silences) >= maxSilences {
			return nil, fmt.Errorf("alert: there are %d silences already", len(d.Silences))
		}
		if time.Now().Before(until) {
			d.Silences = append(d.Silences, Silence{Check: check, Until: until.Round(0).UTC(), Reason: reason})
		}
		a.mu.Lock()
		a.local.Silences = slices.Clone(d.Silences)
		a.mu.Unlock()
		return d.encode()
	})
}

// Silences returns those that are in force, from the store.
func (a *Alerter) Silences(ctx context.Context) ([]Silence, error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	var out []Silence
	err := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := decode(state)
		if err != nil {
			return nil, err
		}
		for _, s := range d.Silences {
			if time.Now().Before(s.Until) {
				out = append(out, s)
			}
		}
		return state, nil
	})
	return out, err
}

// Told returns the names of the checks that people were told are bad and have not
// been told to be well again, from the store.
func (a *Alerter) Told(ctx context.Context) ([]string, error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	var names []string
	err := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := decode(state)
		if err != nil || d.Incident == nil {
			return state, err
		}
		for _, t := range d.Incident.Told {
			if t.Face != clear {
				names = append(names, t.Name)
			}
		}
		return state, nil
	})
	slices.Sort(names)
	return slices.Compact(names), err
}
