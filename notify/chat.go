package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// NewSlack returns a Webhook for an incoming webhook of Slack, or of a service with the
// same format, such as Mattermost.
func NewSlack(rawURL string, opts *WebhookOptions) (*Webhook, error) {
	return newWebhook("Slack", rawURL, opts, slackMessage)
}

func slackMessage(m Message) []call {
	// Slack's own markup begins with < and &. All other text is shown unchanged.
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	type field struct {
		Title string `json:"title"`
		Value string `json:"value"`
		Short bool   `json:"short"`
	}
	type attachment struct {
		Text     string   `json:"text"`
		Fallback string   `json:"fallback"`
		Color    string   `json:"color"`
		Fields   []field  `json:"fields,omitempty"`
		Footer   string   `json:"footer,omitempty"`
		TS       int64    `json:"ts"`
		MrkdwnIn []string `json:"mrkdwn_in"`
	}
	a := attachment{
		Text: escape(truncate(m.Text, 8000)), Fallback: escape(m.Subject),
		Color: fmt.Sprintf("#%06x", m.Level.rgb()), Footer: escape(m.Source), TS: m.Time.Unix(), MrkdwnIn: []string{},
	}
	for _, f := range firstFields(m.facts(), 20) {
		a.Fields = append(a.Fields, field{escape(f.Name), escape(truncate(f.Value, 500)), len(f.Value) <= 40})
	}
	text := escape(m.Level.symbol() + " " + m.Subject)
	if l := m.webLink(); l != "" {
		text = escape(m.Level.symbol()) + " <" + escape(l) + "|" + strings.ReplaceAll(escape(m.Subject), "|", "\u2502") + ">"
	}
	return one(struct {
		Text        string       `json:"text"` // shown in notifications and read by screen readers
		Attachments []attachment `json:"attachments"`
	}{text, []attachment{a}})
}

// NewDiscord returns a Webhook for a channel of Discord.
func NewDiscord(rawURL string, opts *WebhookOptions) (*Webhook, error) {
	return newWebhook("Discord", rawURL, opts, discordMessage)
}

func discordMessage(m Message) []call {
	type field struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Inline bool   `json:"inline"`
	}
	type embed struct {
		Title       string            `json:"title"`
		Description string            `json:"description,omitempty"`
		URL         string            `json:"url,omitempty"`
		Color       int               `json:"color"`
		Timestamp   string            `json:"timestamp"`
		Fields      []field           `json:"fields,omitempty"`
		Footer      map[string]string `json:"footer,omitempty"`
	}
	// The sum over an embed may be 6,000 characters.
	e := embed{
		Title: truncate(markdown(m.Subject), 256), Description: truncate(markdown(m.Text), 3000), URL: m.webLink(),
		Color: m.Level.rgb(), Timestamp: m.Time.UTC().Format(time.RFC3339),
	}
	if m.Source != "" {
		e.Footer = map[string]string{"text": m.Source}
	}
	for _, f := range firstFields(m.facts(), 10) {
		// Neither may be empty.
		e.Fields = append(e.Fields, field{truncate("\u200b"+markdown(f.Name), 80), truncate("\u200b"+markdown(f.Value), 150), len(f.Value) <= 40})
	}
	return one(struct {
		Content         string              `json:"content"`
		Embeds          []embed             `json:"embeds"`
		AllowedMentions map[string][]string `json:"allowed_mentions"`
	}{
		truncate(m.Level.symbol()+" "+markdown(m.Subject), 1000),
		[]embed{e},
		map[string][]string{"parse": {}}, // an error text with @everyone notifies only this channel
	})
}

// NewTeams returns a Webhook for a workflow of Microsoft Teams ("Post to a channel when
// a webhook request is received"). Workflows replace the retired connectors.
func NewTeams(rawURL string, opts *WebhookOptions) (*Webhook, error) {
	return newWebhook("Teams", rawURL, opts, teamsMessage)
}

// Teams rejects a message of more than 28 KB, and sometimes one from 21 KB on.
const (
	maxTeamsText   = 8 << 10 // bytes as sent, including escapes
	maxTeamsFields = 5 << 10
)

func teamsMessage(m Message) []call {
	color := map[Level]string{Info: "accent", Warning: "warning", Critical: "attention", Recovery: "good"}[m.Level]
	// A TextRun is shown unchanged. A TextBlock would interpret Markdown.
	run := func(text string, more map[string]any) map[string]any {
		r := map[string]any{"type": "TextRun", "text": text}
		for k, v := range more {
			r[k] = v
		}
		return map[string]any{"type": "RichTextBlock", "inlines": []any{r}}
	}
	body := []any{run(m.Level.symbol()+" "+m.Subject, map[string]any{"weight": "bolder", "size": "medium", "color": color})}
	var lines, facts []any
	for line := range strings.SplitSeq(m.Text, "\n") {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, run(truncate(line, 1000), nil))
		}
	}
	for _, f := range m.facts() {
		facts = append(facts, map[string]string{"title": markdown(f.Name), "value": markdown(truncate(f.Value, 500))})
	}
	shown := fitting(lines, maxTeamsText)
	if body = append(body, shown...); len(shown) < len(lines) {
		body = append(body, run("…", nil))
	}
	if facts = fitting(facts, maxTeamsFields); len(facts) > 0 {
		body = append(body, map[string]any{"type": "FactSet", "facts": facts})
	}
	card := map[string]any{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
		"type":    "AdaptiveCard", "version": "1.4", // newer ones are not shown
		"body": body,
	}
	if link := m.webLink(); link != "" {
		card["actions"] = []any{map[string]string{"type": "Action.OpenUrl", "title": "Open", "url": link}}
	}
	return one(map[string]any{
		"type": "message",
		"attachments": []any{map[string]any{
			"contentType": "application/vnd.microsoft.card.adaptive", "content": card,
		}},
	})
}

// fitting returns the first items that together take at most limit bytes of JSON.
func fitting(items []any, limit int) []any {
	for i, item := range items {
		b, err := json.Marshal(item)
		if limit -= len(b) + 1; err != nil || limit < 0 {
			return items[:i]
		}
	}
	return items
}

// markdown escapes the characters that have a meaning in chat rooms.
func markdown(s string) string {
	return strings.NewReplacer(
		`\`, `\\`, "*", `\*`, "_", `\_`, "~", `\~`, "`", "\\`", "|", `\|`, ">", `\>`, "#", `\#`, "[", `\[`, "]", `\]`,
		"@", "@\u200b",
	).Replace(s)
}

// webLink returns Link if it may be shown as a link.
func (m Message) webLink() string { return webLink(m.Link) }

func webLink(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	return u.String()
}

// symbol precedes a subject. Its shape gives the same information as the colour.
func (l Level) symbol() string {
	switch l {
	case Critical:
		return "✖"
	case Warning:
		return "▲"
	case Recovery:
		return "✔"
	}
	return "ℹ"
}

func (l Level) rgb() int {
	switch l {
	case Critical:
		return 0xb42318
	case Warning:
		return 0xb54708
	case Recovery:
		return 0x067647
	}
	return 0x175cd3
}

func firstFields(fields []Field, n int) []Field { return fields[:min(len(fields), n)] }
