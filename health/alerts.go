package health

import "time"

// Alert is one problem of one subject: a check, or an instance of the service.
// Package alert creates alerts. This package shows them.
type Alert struct {
	// ID is unique. A check that fails again later gets a new one.
	ID string
	// Check is the name of the check. It is empty when the subject is the
	// instance itself.
	Check string
	// Instance is the instance with the problem. It is empty for a shared check.
	Instance string
	// State is "warn", "fail", "flapping", "lost" (the instance stopped
	// reporting) or "restarts" (the instance stops without shutting down). It
	// keeps its last value after the alert has ended.
	State string
	// Critical reports whether the problem takes the service down.
	Critical bool
	// Since is the time of the first bad result.
	Since time.Time
	// Ended is the time of the first good result. It is zero while the alert is
	// open.
	Ended time.Time
	// Ending says how the alert ended: "recovered", "stopped" (the instance was
	// shut down), "unreported" (no instance reports the check any more) or
	// "closed" (a person closed it). It is empty while the alert is open.
	Ending string
	// Output is the last output of the bad check.
	Output string
	// AckBy is the person who acknowledged the alert, or empty.
	AckBy string
	// AckAt is the time of the acknowledgement. It is zero without one.
	AckAt time.Time
	// SilencedUntil is zero unless messages about the alert are silenced.
	SilencedUntil time.Time
	// Notified counts the messages about the alert that were delivered.
	Notified int
	// LastNotified is the time of the last such message.
	LastNotified time.Time
	// NextReminder is zero if no reminder is planned.
	NextReminder time.Time
	// Actions are signed links that acknowledge or silence the alert. Show them to
	// authorised callers only.
	Actions []AlertAction
}

// AlertAction is a link that changes an alert. It opens a page with a confirmation.
type AlertAction struct {
	// Name is "acknowledge", "silence" or "close".
	Name string
	// URL is absolute and signed. It works without a login.
	URL string
}

// Alerts are the alerts of all instances that share a store.
type Alerts struct {
	// Open are the current alerts, worst first.
	Open []Alert
	// Closed are the alerts that have ended, newest first.
	Closed []Alert
}

// SetAlerts makes the JSON of /health/ and /ready/ list the open alerts for authorised
// callers. The registry calls the function once for each of their requests, and holds
// no lock during the call. Use the method Alerts of package alert's Alerter.
func (r *Registry) SetAlerts(list func() Alerts) {
	r.alerts.Store(&list)
}

// Alerts returns the current alerts. The lists are empty before SetAlerts was called.
func (r *Registry) Alerts() Alerts {
	list := r.alerts.Load()
	if list == nil || *list == nil {
		return Alerts{}
	}
	return (*list)()
}

// alertEntry is an open Alert in JSON.
type alertEntry struct {
	ID           string `json:"id"`
	Check        string `json:"check,omitempty"`
	Instance     string `json:"instance,omitempty"`
	State        string `json:"state"`
	Critical     bool   `json:"critical"`
	Since        string `json:"since"`
	Output       string `json:"output,omitempty"`
	AckBy        string `json:"acknowledgedBy,omitempty"`
	Notified     int    `json:"notified"`
	LastNotified string `json:"lastNotified,omitempty"`
	NextReminder string `json:"nextReminder,omitempty"`
}

func (r *Registry) openAlerts() []alertEntry {
	var entries []alertEntry
	for _, a := range r.Alerts().Open {
		entries = append(entries, alertEntry{
			ID: a.ID, Check: a.Check, Instance: a.Instance, State: a.State, Critical: a.Critical, Since: stamp(a.Since),
			Output: r.scrub.text(a.Output), AckBy: r.scrub.text(a.AckBy), Notified: a.Notified,
			LastNotified: stamp(a.LastNotified), NextReminder: stamp(a.NextReminder),
		})
	}
	return entries
}
