package notify

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Endpoints of Opsgenie's Alert API.
const (
	OpsgenieAPI   = "https://api.opsgenie.com"
	OpsgenieAPIEU = "https://api.eu.opsgenie.com"
)

// NewOpsgenie returns a Webhook for Opsgenie's Alert API at one of the endpoints above,
// or for a service with the same API. Each of [Message.Alerts] is an alert with its own
// alias, which is closed when the alert ends. A message without alerts is one alert. A
// Recovery closes it.
func NewOpsgenie(endpoint, apiKey string, opts *WebhookOptions) (*Webhook, error) {
	if apiKey == "" {
		return nil, errors.New("notify: Opsgenie needs the integration's API key")
	}
	var o WebhookOptions
	if opts != nil {
		o = *opts
	}
	if o.Header = o.Header.Clone(); o.Header == nil {
		o.Header = http.Header{}
	}
	o.Header.Set("Authorization", "GenieKey "+apiKey)
	return newWebhook("Opsgenie", endpoint, &o, opsgenieCalls)
}

type opsgenieAlert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description,omitempty"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source,omitempty"`
	Priority    string            `json:"priority"`
	Tags        []string          `json:"tags,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
}

func opsgenieCalls(m Message) []call {
	const alerts = "/v2/alerts"
	closing := func(alias, note string) call {
		return call{
			path: alerts + "/" + url.PathEscape(alias) + "/close?identifierType=alias",
			body: map[string]string{"source": truncate(m.Source, 100), "note": truncate(note, 25000)},
		}
	}
	if len(m.Alerts) == 0 {
		if m.Key == "" && (m.Level == Recovery || m.Level == Info) {
			return nil
		}
		alias := cmp.Or(m.thread(), m.id())
		if m.Level == Recovery {
			return []call{closing(alias, m.Text)}
		}
		details := map[string]string{}
		for _, f := range m.Fields {
			details[f.Name] = f.Value
		}
		return []call{{path: alerts, body: opsgenieAlert{
			Message: cmp.Or(truncate(m.Subject, 130), "no subject"), Alias: alias, Description: truncate(m.Text, 15000),
			Source: truncate(m.Source, 100), Priority: map[Level]string{Info: "P5", Critical: "P1"}[m.Level], Details: shortened(details, maxDetails),
		}.withPriority()}}
	}
	var calls []call
	for i, a := range m.Alerts {
		alias := digest(m.Source, a.Key)
		closeAll := func(follows bool, note string, keys ...string) {
			for _, key := range keys {
				c := closing(digest(m.Source, key), note)
				c.alert, c.follows = i+1, follows
				calls = append(calls, c)
			}
		}
		switch a.Event {
		case Ongoing:
			continue
		case Ended:
			closeAll(false, a.Title, append([]string{a.Key}, a.Supersedes...)...)
			continue
		}
		details := map[string]string{}
		for name, value := range a.details(m.Source) {
			switch v := value.(type) {
			case []Value:
				for _, measured := range v {
					details[measured.label()] = measured.text()
				}
			default:
				details[name] = fmt.Sprint(v)
			}
		}
		for _, l := range a.Links {
			details[l.Name] = l.URL
		}
		if l := m.webLink(); l != "" {
			details["status page"] = l
		}
		calls = append(calls, call{path: alerts, alert: i + 1, body: opsgenieAlert{
			Message: cmp.Or(truncate(a.Title, 130), "no title"), Alias: alias, Description: truncate(m.Text, 15000),
			Entity: truncate(cmp.Or(a.Instance, a.Check), 512), Source: truncate(m.Source, 100),
			Priority: map[string]string{"critical": "P1", "error": "P2"}[a.severity()],
			Tags:     []string{truncate(cmp.Or(a.Check, "instance"), 50), truncate(a.Status, 50)}, Details: shortened(details, maxDetails),
		}.withPriority()})
		closeAll(true, "became critical", a.Supersedes...)
	}
	return calls
}

// maxDetails limits the details. Opsgenie rejects an alert with more than 8,000 characters of them.
const maxDetails = 7900

// shortened truncates the longest values until all names and values together have at most limit
// bytes. Links are left out instead, because a truncated link is of no use.
func shortened(details map[string]string, limit int) map[string]string {
	for {
		total, longest := 0, ""
		for name, value := range details {
			total += len(name) + len(value)
			if l := details[longest]; len(value) > len(l) || len(value) == len(l) && name < longest {
				longest = name
			}
		}
		switch value := details[longest]; {
		case total <= limit:
			return details
		case len(value) < 20 || webLink(value) != "":
			delete(details, longest)
		default:
			details[longest] = truncate(value, len(value)*2/3)
		}
	}
}

func (a opsgenieAlert) withPriority() opsgenieAlert {
	a.Priority = cmp.Or(a.Priority, "P3")
	return a
}

func (v Value) label() string {
	if v.Component == "" {
		return v.Name
	}
	return v.Name + " of " + v.Component
}

// text is the value with its unit and thresholds.
func (v Value) text() string {
	text := fmt.Sprintf("%.4g", v.Value)
	if v.Value == float64(int64(v.Value)) {
		text = fmt.Sprintf("%d", int64(v.Value))
	}
	if v.Unit != "" {
		text += " " + v.Unit
	}
	if v.Warn != 0 {
		text += fmt.Sprintf(", warn at %.4g", v.Warn)
	}
	if v.Fail != 0 {
		text += fmt.Sprintf(", fail at %.4g", v.Fail)
	}
	return text
}
