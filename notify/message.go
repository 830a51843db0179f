package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// Level is the importance of a message. Receivers turn it into a colour, a sound or a
// severity.
type Level int

// The levels.
const (
	Info     Level = iota // for the record
	Warning               // needs attention today
	Critical              // needs attention now
	Recovery              // the problem of an earlier message with the same Key is over
)

// String returns "info", "warning", "critical" or "recovery".
func (l Level) String() string {
	switch l {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	case Recovery:
		return "recovery"
	}
	return fmt.Sprintf("level(%d)", int(l))
}

// MarshalText writes the word of String.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads one of the four words of String.
func (l *Level) UnmarshalText(text []byte) error {
	for known := Info; known <= Recovery; known++ {
		if string(text) == known.String() {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("notify: %q is not a level: use info, warning, critical or recovery", text)
}

// Field is a named detail of a message. Receivers with tables show it in one. Others
// append it to the text.
type Field struct {
	// Name is one line of at most 200 bytes.
	Name string `json:"name"`
	// Value is one line of at most 1,000 bytes. Longer ones are truncated.
	Value string `json:"value"`
}

// Message is information for a person. The zero value is valid and empty.
//
// Every field may hold text from outside. A notifier removes control characters from
// headers and escapes text in markup. The exception is HTML, which is sent unchanged.
type Message struct {
	// ID identifies the message. A notifier uses it to recognise a repetition, which
	// goes only to recipients that do not have the message yet. Default: a digest of
	// the other fields.
	ID string `json:"id,omitempty"`
	// Subject is one line. It describes the change.
	Subject string `json:"subject"`
	// Topic is the subject of the whole thread. Mail uses it as the Subject header
	// and shows Subject as the first line of the body, because Gmail starts a new
	// thread whenever the Subject header changes. Default: Subject.
	Topic string `json:"topic,omitempty"`
	// Text is the plain form, complete in itself.
	Text string `json:"text,omitempty"`
	// HTML is the same text for mail programs that show HTML. Mail only. The caller
	// must escape its content.
	HTML string `json:"html,omitempty"`
	// Level is Info by default.
	Level Level `json:"level"`
	// Source names the service or host that sends the message.
	Source string `json:"source,omitempty"`
	// Key names the alert or event. Messages with the same Source and Key form one
	// thread of mails and one incident of an on-call service, which a Recovery closes.
	// Give each incident its own Key. Without a Key, every message is separate.
	Key string `json:"key,omitempty"`
	// Time is the time of the event. A notifier uses the current time for the zero
	// value.
	Time time.Time `json:"time"`
	// Alerts are the alerts that the message is about, as data. Default: empty.
	Alerts []Alert `json:"alerts,omitempty"`
	// Fields are details, in order.
	Fields []Field `json:"fields,omitempty"`
	// Link leads to more information, for example a status page. Only http and https
	// are turned into links.
	Link string `json:"link,omitempty"`
}

// Limits of sent messages. Servers reject a mail of 10 MB.
const (
	maxSubject = 200
	maxText    = 64 << 10
	maxHTML    = 256 << 10
	maxFields  = 50
	maxValue   = 1000
)

// prepared returns the message as it is sent: without secrets, with limited lengths,
// valid UTF-8, single-line fields and a time.
func (m Message) prepared(now time.Time, secrets *redact.Redactor) Message {
	m = m.Scrubbed(secrets.Lines)
	m.Subject = oneLine(m.Subject, maxSubject)
	m.Topic = oneLine(m.Topic, maxSubject)
	m.ID = oneLine(m.ID, maxSubject)
	m.Source = oneLine(m.Source, maxSubject)
	m.Key = oneLine(m.Key, maxValue)
	m.Link = oneLine(m.Link, 2*maxValue)
	m.Text = truncate(cleanText(m.Text), maxText)
	if len(m.HTML) > maxHTML {
		m.HTML = "" // truncated markup may not close; Text has the same information
	}
	m.HTML = cleanText(m.HTML)
	if m.Time.IsZero() {
		m.Time = now
	}
	fields := make([]Field, 0, min(len(m.Fields), maxFields))
	for _, f := range m.Fields[:min(len(m.Fields), maxFields)] {
		fields = append(fields, Field{Name: oneLine(f.Name, maxSubject), Value: oneLine(f.Value, maxValue)})
	}
	m.Fields = fields
	var alerts []Alert
	for _, a := range m.Alerts {
		if a.Since.IsZero() {
			a.Since = m.Time
		}
		alerts = append(alerts, a.prepared())
	}
	m.Alerts = alerts
	return m
}

// id is the same when the same message is sent again, and different for different
// messages. A receiver can recognise a repetition.
func (m Message) id() string {
	if m.ID != "" {
		return digest(m.Source, m.ID)
	}
	return digest(m.Source, m.Key, m.Level.String(), m.Subject, m.Text, m.Time.UTC().Format(time.RFC3339Nano))
}

// thread is the same for all messages of one incident. It is empty without a Key.
func (m Message) thread() string {
	if m.Key == "" {
		return ""
	}
	return digest(m.Source, m.Key)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// oneLine makes s safe as a header. Every run of spaces and control characters becomes
// one space, and invalid UTF-8 becomes the replacement character.
func oneLine(s string, limit int) string {
	s = truncate(strings.ToValidUTF8(s, "\uFFFD"), 4*limit)
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || reorders(r)
	}), " ")
	return truncate(s, limit)
}

// reorders reports whether a character changes the order in which others are shown. A
// text could then look like a different text.
func reorders(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c
}

// cleanText keeps newlines and tabs and removes other control characters, including
// escape sequences that would move the cursor of a terminal.
func cleanText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || reorders(r) {
			return -1
		}
		return r
	}, s)
}

// truncate shortens s to at most limit bytes at a character boundary and marks the
// truncation.
func truncate(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
