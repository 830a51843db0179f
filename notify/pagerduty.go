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

// NewPagerDuty returns a Webhook for PagerDuty's Events API v2 at one of the
// endpoints above. The dedup key comes from the message's Source and Key: a
// Recovery resolves what earlier messages of that Key triggered, also after a
// restart. A Recovery without a Key resolves nothing and is not sent.
func NewPagerDuty(endpoint, routingKey string, opts *WebhookOptions) (*Webhook, error) {
	if routingKey == "" {
		return nil, errors.New("notify: PagerDuty needs the integration's routing key")
	}
	return newWebhook("PagerDuty", endpoint, opts, func(m Message) any {
		return pagerDutyEvent(m, routingKey)
	})
}

func pagerDutyEvent(m Message, routingKey string) any {
	type payload struct {
		Summary   string            `json:"summary"`
		Source    string            `json:"source"`
		Severity  string            `json:"severity"`
		Timestamp string            `json:"timestamp"`
		Details   map[string]string `json:"custom_details,omitempty"`
	}
	type link struct {
		Href string `json:"href"`
		Text string `json:"text"`
	}
	event := struct {
		RoutingKey string   `json:"routing_key"`
		Action     string   `json:"event_action"`
		DedupKey   string   `json:"dedup_key"`
		Payload    *payload `json:"payload,omitempty"`
		Links      []link   `json:"links,omitempty"`
	}{RoutingKey: routingKey, Action: "trigger", DedupKey: cmp.Or(m.thread(), m.id())}
	if m.Level == Recovery {
		if m.Key == "" {
			return nil
		}
		event.Action = "resolve"
		return event
	}
	severity := map[Level]string{Info: "info", Warning: "warning", Critical: "critical"}[m.Level]
	details := map[string]string{"text": truncate(m.Text, 16<<10)}
	for _, f := range m.Fields {
		details[f.Name] = f.Value
	}
	event.Payload = &payload{
		Summary: cmp.Or(truncate(m.Subject, 1024), "no subject"), Source: cmp.Or(m.Source, "unknown"),
		Severity: cmp.Or(severity, "error"), Timestamp: m.Time.UTC().Format(time.RFC3339), Details: details,
	}
	if l := m.webLink(); l != "" {
		event.Links = []link{{l, "Status"}}
	}
	return event
}
