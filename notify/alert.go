package notify

import (
	"slices"
	"strings"
	"time"
)

// Event says what happened to an [Alert].
type Event string

// The events.
const (
	Opened   Event = "opened"   // the receiver gets the alert for the first time
	Worse    Event = "worse"    // the alert became critical, or failed after a warning
	Changed  Event = "changed"  // the state changed without becoming worse or better
	Better   Event = "better"   // the alert is less severe and still open
	Reminder Event = "reminder" // the alert continues
	Ended    Event = "ended"    // the alert is over
	Ongoing  Event = "ongoing"  // no change: listed because it belongs to the same thread
)

// Alert is one problem of one subject, as data. A [Message] is a text about one or more
// alerts. Receivers that manage alerts themselves (PagerDuty, Opsgenie, Alertmanager)
// get one event per Alert, so that one alert never hides another.
type Alert struct {
	// Key identifies the alert. All events of one alert have the same Key.
	Key string `json:"key"`
	// Supersedes are earlier keys of the alert, which this one replaces. The alert became
	// critical, and the new Key makes the on-call service notify again. The end of an
	// alert ends them too. Default: empty.
	Supersedes []string `json:"supersedes,omitempty"`
	// Event is what happened to the alert, such as Opened, Reminder or Ended.
	Event Event `json:"event"`
	// Level is Warning or Critical. An alert that has ended has the level Recovery if
	// its check is well again, and otherwise Info.
	Level Level `json:"level"`
	// Title is one line: the check, the instance and the state.
	Title string `json:"title"`
	// Check is the name of the check. It is empty for an alert about an instance itself.
	Check string `json:"check,omitempty"`
	// Instance is the instance with the problem. It is empty for a shared check.
	Instance string `json:"instance,omitempty"`
	// Reporters are the instances that see the problem.
	Reporters []string `json:"reporters,omitempty"`
	// Status is "warn", "fail", "flapping", "lost" or "restarts" while the alert is
	// open, then "recovered", "stopped", "unreported" or "closed".
	Status string `json:"status"`
	// Output is the text of the check.
	Output string `json:"output,omitempty"`
	// Values are the measurements that reached a threshold.
	Values []Value `json:"values,omitempty"`
	// Since is the time of the first bad result. Default: the time of the message.
	Since time.Time `json:"since"`
	// Ended is the time of the first good result. It is zero while the alert is open.
	Ended time.Time `json:"ended,omitzero"`
	// Runbook is the URL of a page that says what to do. Default: empty.
	Runbook string `json:"runbook,omitempty"`
	// Links acknowledge or silence the alert, or lead to more information.
	Links []Link `json:"links,omitempty"`
}

// Value is a measurement and its thresholds. A threshold of 0 is not set.
type Value struct {
	// Name is the measured quantity, such as "utilization".
	Name string `json:"name"`
	// Component distinguishes values with the same name, for example by a path. Default:
	// empty.
	Component string `json:"component,omitempty"`
	// Value is the measured number, in Unit.
	Value float64 `json:"value"`
	// Unit is "percent", "ms", "bytes" and the like. Default: empty, a plain number.
	Unit string `json:"unit,omitempty"`
	// Warn is the threshold of the status "warn", in Unit.
	Warn float64 `json:"warn,omitempty"`
	// Fail is the threshold of the status "fail", in Unit.
	Fail float64 `json:"fail,omitempty"`
}

// Link is a URL with a name.
type Link struct {
	// Name is the label of the link.
	Name string `json:"name"`
	// URL is absolute. Receivers turn only http and https into links.
	URL string `json:"url"`
}

// MaxAlerts is how many alerts one message holds. The notifiers of this package reject a
// message with more of them, because they cannot send it completely.
const MaxAlerts = 100

// prepared returns the alert with limited and safe texts, like [Message.prepared].
func (a Alert) prepared() Alert {
	keys := make([]string, 0, len(a.Supersedes))
	for _, key := range a.Supersedes {
		keys = append(keys, oneLine(key, maxSubject))
	}
	a.Supersedes = keys
	for _, s := range []*string{&a.Key, &a.Check, &a.Instance, &a.Status, &a.Title} {
		*s = oneLine(*s, maxSubject)
	}
	a.Output = truncate(cleanText(a.Output), 4*maxValue)
	a.Runbook = oneLine(a.Runbook, 2*maxValue)
	reporters := make([]string, 0, min(len(a.Reporters), maxFields))
	for _, r := range a.Reporters[:min(len(a.Reporters), maxFields)] {
		reporters = append(reporters, oneLine(r, maxSubject))
	}
	a.Reporters = reporters
	values := make([]Value, 0, min(len(a.Values), maxFields))
	for _, v := range a.Values[:min(len(a.Values), maxFields)] {
		v.Name, v.Component, v.Unit = oneLine(v.Name, maxSubject), oneLine(v.Component, maxSubject), oneLine(v.Unit, maxSubject)
		v.Value, v.Warn, v.Fail = finite(v.Value), finite(v.Warn), finite(v.Fail)
		values = append(values, v)
	}
	a.Values = values
	links := make([]Link, 0, min(len(a.Links), 10))
	for _, l := range a.Links[:min(len(a.Links), 10)] {
		links = append(links, Link{Name: oneLine(l.Name, maxSubject), URL: oneLine(l.URL, 2*maxValue)})
	}
	a.Links = links
	return a
}

// facts are the fields of a message, followed by fields for its alerts: one per fact of
// a single alert, or one per alert.
func (m Message) facts() []Field {
	var news []Alert
	for _, a := range m.Alerts {
		if a.Event != Ongoing {
			news = append(news, a)
		}
	}
	fields := append([]Field(nil), m.Fields...)
	for _, a := range news {
		all := []Field{{"check", a.Check}, {"instance", a.Instance}, {"status", a.Status}, {"since", a.Since.UTC().Format(time.RFC3339)}}
		if !a.Ended.IsZero() {
			all = append(all, Field{"ended", a.Ended.UTC().Format(time.RFC3339)})
		}
		for _, v := range a.Values {
			all = append(all, Field{v.label(), v.text()})
		}
		all = append(all, Field{"runbook", a.Runbook})
		all = slices.DeleteFunc(all, func(f Field) bool { return f.Value == "" })
		if len(news) == 1 {
			return append(fields, all...)
		}
		var parts []string
		for _, f := range all[1:] {
			parts = append(parts, f.Name+" "+f.Value)
		}
		fields = append(fields, Field{all[0].Value, strings.Join(parts, ", ")})
	}
	return fields
}

// finite returns a number that JSON can represent.
func finite(f float64) float64 {
	if f-f != 0 { // NaN or an infinity
		return 0
	}
	return f
}
