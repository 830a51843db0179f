package notify

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// forms hides secrets by their position and form.
var forms = new(redact.Redactor)

// Scrubbed returns a copy of the message whose texts have passed scrub. scrub hides
// secrets and keeps line breaks and the given parts, which are the links of the
// message. HTML that contains a secret is removed, because Text has the same
// information.
//
// Each receiver of this package applies it with the rules of package health. A message
// without a known secret does not change.
func (m Message) Scrubbed(scrub func(text string, keep ...string) string) Message {
	links := m.addresses()
	clean := func(s string) string {
		if s == "" {
			return ""
		}
		return scrub(s, links...)
	}
	m.Subject, m.Topic, m.Source, m.Text = clean(m.Subject), clean(m.Topic), clean(m.Source), clean(m.Text)
	if m.HTML != "" {
		if shown := shownText(m.HTML); clean(shown) != scrubNothing(shown) || scrub(m.HTML, m.HTML) != scrubNothing(m.HTML) {
			m.HTML = ""
		}
	}
	m.Link = safeLink(m.Link, scrub)
	fields := make([]Field, 0, len(m.Fields))
	for _, f := range m.Fields {
		// The name says that the value is a secret: password, 1234.
		if value, ok := strings.CutPrefix(clean(f.Name+": "+f.Value), f.Name+": "); ok {
			fields = append(fields, Field{f.Name, value})
			continue
		}
		fields = append(fields, Field{clean(f.Name), clean(f.Value)})
	}
	m.Fields = fields
	alerts := make([]Alert, 0, len(m.Alerts))
	for _, a := range m.Alerts {
		a.Title, a.Check, a.Instance, a.Output = clean(a.Title), clean(a.Check), clean(a.Instance), clean(a.Output)
		a.Runbook = safeLink(a.Runbook, scrub)
		a.Reporters = append([]string(nil), a.Reporters...)
		for i := range a.Reporters {
			a.Reporters[i] = clean(a.Reporters[i])
		}
		a.Values = append([]Value(nil), a.Values...)
		for i := range a.Values {
			v := &a.Values[i]
			v.Name, v.Component, v.Unit = clean(v.Name), clean(v.Component), clean(v.Unit)
		}
		a.Links = append([]Link(nil), a.Links...)
		for i := range a.Links {
			a.Links[i] = Link{clean(a.Links[i].Name), safeLink(a.Links[i].URL, scrub)}
		}
		alerts = append(alerts, a)
	}
	m.Alerts = alerts
	return m
}

// addresses are the links in the message.
func (m Message) addresses() []string {
	all := []string{m.Link}
	for _, a := range m.Alerts {
		all = append(all, a.Runbook)
		for _, l := range a.Links {
			all = append(all, l.URL)
		}
	}
	return all
}

// safeLink returns a link without its user, or "" if it contains a named secret.
func safeLink(link string, scrub func(string, ...string) string) string {
	if link == "" {
		return ""
	}
	if u, err := url.Parse(link); err == nil && u.User != nil {
		u.User = nil
		link = u.String()
	}
	if scrub(link, link) != scrubNothing(link) {
		return ""
	}
	return link
}

// scrubNothing returns a text as a scrubber that finds no secret would.
func scrubNothing(text string) string { return forms.Lines(text, text) }

var (
	htmlBreak = regexp.MustCompile(`(?i)<(br|/p|/h[1-6]|/div|/td|/li|/tr)[^>]*>`)
	htmlTag   = regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>`)
)

// shownText is the text that a mail program shows for HTML.
func shownText(markup string) string {
	return html.UnescapeString(htmlTag.ReplaceAllString(htmlBreak.ReplaceAllString(markup, "\n"), ""))
}

// urlSecrets are the parts of a receiver's address that grant access.
func urlSecrets(u *url.URL, header http.Header, more ...string) []string {
	secrets := more
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, password)
	}
	for _, part := range strings.Split(u.EscapedPath(), "/") {
		if len(part) >= 12 {
			secrets = append(secrets, part)
		}
	}
	for _, values := range u.Query() {
		for _, v := range values {
			if len(v) >= 8 {
				secrets = append(secrets, v)
			}
		}
	}
	for name, values := range header {
		switch http.CanonicalHeaderKey(name) {
		case "Content-Type", "Accept", "User-Agent":
			continue
		}
		for _, v := range values {
			_, last, _ := strings.Cut(v, " ")
			if secret := strings.TrimSpace(last); len(secret) >= 8 {
				secrets = append(secrets, secret)
			}
			if len(v) >= 8 {
				secrets = append(secrets, v)
			}
		}
	}
	return secrets
}
