package notify

import (
	"cmp"
	"time"
)

// alertmanagerKeeps is how long Alertmanager keeps an alert without an update.
const alertmanagerKeeps = 7 * 24 * time.Hour

// NewAlertmanager returns a Webhook for the API of Prometheus Alertmanager. The address
// is its base URL: http://alertmanager:9093. Alertmanager then groups, routes, silences
// and repeats. Each of [Message.Alerts] becomes an alert with the labels alertname,
// service, instance and severity. A message without alerts becomes one alert with the
// labels alertname and service. With several Alertmanagers, give each its own Webhook.
//
// Alertmanager loses its alerts when it restarts, and expects that clients repeat them. In
// health/alert, set Receiver.Reminders to three minutes for this receiver: each reminder
// sends the open alerts again.
func NewAlertmanager(baseURL string, opts *WebhookOptions) (*Webhook, error) {
	return newWebhook("Alertmanager", baseURL, opts, func(m Message) []call {
		if list := alertmanagerAlerts(m); len(list) > 0 {
			return []call{{path: "/api/v2/alerts", body: list}}
		}
		return nil
	})
}

type alertmanagerAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     string            `json:"startsAt"`
	EndsAt       string            `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func alertmanagerAlerts(m Message) []alertmanagerAlert {
	clock := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	labels := func(name, instance, severity string) map[string]string {
		l := map[string]string{"alertname": cmp.Or(name, "instance"), "service": m.Source, "severity": severity, "instance": instance}
		for k, v := range l {
			if v == "" {
				delete(l, k)
			}
		}
		return l
	}
	until := m.Time.Add(alertmanagerKeeps)
	if len(m.Alerts) == 0 {
		if m.Level == Info && m.Key == "" {
			return nil
		}
		a := alertmanagerAlert{
			Labels: map[string]string{"alertname": cmp.Or(m.Key, m.Subject, "message"), "service": cmp.Or(m.Source, "unknown")}, StartsAt: clock(m.Time), EndsAt: clock(until),
			Annotations: map[string]string{"summary": m.Subject, "description": m.Text}, GeneratorURL: m.webLink(),
		}
		if m.Level == Recovery {
			a.EndsAt = clock(m.Time)
		}
		return []alertmanagerAlert{a}
	}
	var list []alertmanagerAlert
	for _, a := range m.Alerts {
		notes := map[string]string{"summary": a.Title, "description": a.Output, "runbook_url": webLink(a.Runbook), "status": a.Status}
		for _, v := range a.Values {
			notes[annotationName(v.label())] = v.text()
		}
		for k, v := range notes {
			if v == "" {
				delete(notes, k)
			}
		}
		// The severity is a label, so an alert with a new severity is a different
		// alert. The alert with the old severity ends.
		start := a.Since
		if start.After(m.Time) { // by the clock of another instance
			start = m.Time
		}
		for _, severity := range []string{"critical", "warning"} {
			end := until
			if mine := severity == "critical" == (a.Level == Critical); a.Event == Ended {
				end = a.Ended
				if end.Before(start) {
					end = m.Time
				}
			} else if !mine {
				end = m.Time
			}
			list = append(list, alertmanagerAlert{
				Labels: labels(a.Check, a.Instance, severity), Annotations: notes, StartsAt: clock(start), EndsAt: clock(end), GeneratorURL: m.webLink(),
			})
		}
	}
	return list
}

// annotationName makes a name that Alertmanager accepts.
func annotationName(s string) string {
	out := []byte("value_")
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			out = append(out, c)
		default:
			out = append(out, '_')
		}
	}
	return string(out)
}
