package notify

import (
	"cmp"
	"errors"
	"time"
)

// Endpoints of PagerDuty's Events API v2.
const (
	PagerDutyEvents   = "https://events.pagerduty.com/v2/enqueue"
	PagerDutyEventsEU = "https://events.eu.pagerduty.com/v2/enqueue"
)

// NewPagerDuty returns a Webhook for PagerDuty's Events API v2 at one of the endpoints
// above. Each of [Message.Alerts] is an event with its own dedup key, so that an open
// incident hides no other alert. An alert that has ended resolves its incident. A
// message without alerts is one event. Its dedup key comes from Source and Key, and a
// Recovery resolves it. A Recovery or an Info without alerts and without a Key is not
// sent.
func NewPagerDuty(endpoint, routingKey string, opts *WebhookOptions) (*Webhook, error) {
	if routingKey == "" {
		return nil, errors.New("notify: PagerDuty needs the integration's routing key")
	}
	return newWebhook("PagerDuty", endpoint, opts, func(m Message) []call {
		return pagerDutyEvents(m, routingKey)
	})
}

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	ClientURL  string            `json:"client_url,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
	Links      []pagerDutyLink   `json:"links,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string `json:"summary"`
	Source    string `json:"source"`
	Severity  string `json:"severity"`
	Timestamp string `json:"timestamp"`
	Component string `json:"component,omitempty"`
	Group     string `json:"group,omitempty"`
	Class     string `json:"class,omitempty"`
	Details   any    `json:"custom_details,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

func pagerDutyEvents(m Message, routingKey string) []call {
	if len(m.Alerts) == 0 {
		return pagerDutyMessage(m, routingKey)
	}
	var calls []call
	for i, a := range m.Alerts {
		resolve := func(follows bool, keys ...string) {
			for _, key := range keys {
				event := pagerDutyEvent{RoutingKey: routingKey, Action: "resolve", DedupKey: digest(m.Source, key)}
				calls = append(calls, call{body: event, alert: i + 1, follows: follows})
			}
		}
		switch a.Event {
		case Ongoing:
			continue
		case Ended:
			resolve(false, append([]string{a.Key}, a.Supersedes...)...)
			continue
		}
		e := pagerDutyEvent{
			RoutingKey: routingKey, Action: "trigger", DedupKey: digest(m.Source, a.Key), Client: m.Source, ClientURL: m.webLink(),
			Payload: &pagerDutyPayload{
				Summary: cmp.Or(truncate(a.Title, 1024), "no title"), Source: cmp.Or(a.Instance, m.Source, "unknown"), Severity: a.severity(),
				Timestamp: a.Since.UTC().Format(time.RFC3339), Component: a.Check, Group: m.Source, Class: a.Status, Details: a.details(m.Source),
			},
		}
		if l := m.webLink(); l != "" {
			e.Links = append(e.Links, pagerDutyLink{l, "Status"})
		}
		for _, l := range a.Links {
			if u := webLink(l.URL); u != "" {
				e.Links = append(e.Links, pagerDutyLink{u, l.Name})
			}
		}
		if u := webLink(a.Runbook); u != "" {
			e.Links = append(e.Links, pagerDutyLink{u, "Runbook"})
		}
		calls = append(calls, call{body: e, alert: i + 1})
		resolve(true, a.Supersedes...)
	}
	return calls
}

// severity is a severity of PagerDuty.
func (a *Alert) severity() string {
	switch {
	case a.Level == Critical:
		return "critical"
	case a.Status == "fail", a.Status == "lost":
		return "error"
	}
	return "warning"
}

// details are the facts about an alert, for receivers that show arbitrary JSON.
func (a *Alert) details(service string) map[string]any {
	d := map[string]any{"service": service, "status": a.Status, "event": a.Event, "since": a.Since.UTC().Format(time.RFC3339)}
	for name, value := range map[string]string{"check": a.Check, "instance": a.Instance, "output": a.Output, "runbook": a.Runbook} {
		if value != "" {
			d[name] = value
		}
	}
	if len(a.Values) > 0 {
		d["values"] = a.Values
	}
	if len(a.Reporters) > 0 {
		d["reporters"] = a.Reporters
	}
	return d
}

// pagerDutyMessage builds the event for a message without alerts.
func pagerDutyMessage(m Message, routingKey string) []call {
	event := pagerDutyEvent{RoutingKey: routingKey, Action: "trigger", DedupKey: cmp.Or(m.thread(), m.id())}
	if m.Key == "" && (m.Level == Recovery || m.Level == Info) { // no later message could resolve the incident
		return nil
	}
	if m.Level == Recovery {
		event.Action = "resolve"
		return one(event)
	}
	details := map[string]string{"text": truncate(m.Text, 16<<10)}
	for _, f := range m.Fields {
		details[f.Name] = f.Value
	}
	event.Payload = &pagerDutyPayload{
		Summary: cmp.Or(truncate(m.Subject, 1024), "no subject"), Source: cmp.Or(m.Source, "unknown"),
		Severity:  cmp.Or(map[Level]string{Info: "info", Warning: "warning", Critical: "critical"}[m.Level], "error"),
		Timestamp: m.Time.UTC().Format(time.RFC3339), Details: details,
	}
	if l := m.webLink(); l != "" {
		event.Links = []pagerDutyLink{{l, "Status"}}
	}
	return one(event)
}
