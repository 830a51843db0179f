package notify

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
)

// NtfyServer is the public server of ntfy.
const NtfyServer = "https://ntfy.sh"

// NewNtfy returns a Webhook for a topic of an ntfy server. Every person who knows the
// name of a topic without access control can read it. For a topic that requires it, set
// an Authorization in the Header of the options.
func NewNtfy(server, topic string, opts *WebhookOptions) (*Webhook, error) {
	if topic == "" || len(topic) > 64 || strings.ContainsFunc(topic, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return nil, fmt.Errorf("notify: %q is not a topic of ntfy: use 1 to 64 letters, digits, dashes and underscores", truncate(topic, 64))
	}
	if u, err := url.Parse(server); err == nil && strings.Trim(u.Path, "/")+u.RawQuery != "" {
		return nil, errors.New("notify: the URL for ntfy is that of the server alone, https://host; the topic is a parameter, and ntfy serves no path")
	}
	return newWebhook("ntfy", server, opts, func(m Message) []call { return one(ntfyMessage(m, topic)) })
}

func ntfyMessage(m Message, topic string) any {
	type action struct {
		Action string `json:"action"`
		Label  string `json:"label"`
		URL    string `json:"url"`
	}
	var actions []action
	for _, l := range m.links() {
		if len(actions) < 3 { // more are rejected
			actions = append(actions, action{"view", l.Name, l.URL})
		}
	}
	return struct {
		Topic    string   `json:"topic"`
		Title    string   `json:"title"`
		Message  string   `json:"message"`
		Priority int      `json:"priority"`
		Tags     []string `json:"tags,omitempty"`
		Click    string   `json:"click,omitempty"`
		Actions  []action `json:"actions,omitempty"`
	}{
		topic, truncate(m.Subject, 250), truncate(cmp.Or(m.Text, m.Subject), 4000), // longer ones become files
		map[Level]int{Info: 2, Warning: 3, Critical: 5, Recovery: 3}[m.Level],
		[]string{map[Level]string{Info: "information_source", Warning: "warning", Critical: "rotating_light", Recovery: "white_check_mark"}[m.Level]},
		m.webLink(), actions,
	}
}

// links are the links of the alerts with news: acknowledge, silence. With several
// alerts, only the links of the first one fit.
func (m Message) links() []Link {
	for _, a := range m.Alerts {
		var links []Link
		for _, l := range a.Links {
			if u := webLink(l.URL); u != "" && l.Name != "" && a.Event != Ongoing {
				links = append(links, Link{l.Name, u})
			}
		}
		if len(links) > 0 {
			return links
		}
	}
	return nil
}

// TelegramAPI is the address of Telegram's Bot API.
const TelegramAPI = "https://api.telegram.org"

// NewTelegram returns a Webhook that sends through a bot of Telegram to a chat: a
// numeric ID or "@channel". The texts are sent without markup. Recoveries and
// infos arrive without a sound.
func NewTelegram(endpoint, token, chat string, opts *WebhookOptions) (*Webhook, error) {
	if token == "" || strings.ContainsAny(token, "/?# ") || chat == "" {
		return nil, errors.New("notify: Telegram needs the bot's token and a chat")
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("notify: the URL for Telegram is not of the form https://host")
	}
	return newWebhook("Telegram", base.JoinPath("bot"+token, "sendMessage").String(), opts, func(m Message) []call {
		return one(telegramMessage(m, chat))
	})
}

func telegramMessage(m Message, chat string) any {
	type button struct {
		Text string `json:"text"`
		URL  string `json:"url"`
	}
	type keyboard struct {
		Rows [][]button `json:"inline_keyboard"`
	}
	text := m.Level.symbol() + " " + m.Subject
	if m.Text != "" {
		text += "\n\n" + m.Text
	}
	for _, f := range m.Fields {
		text += "\n" + f.Name + ": " + f.Value
	}
	links := m.links()
	if l := m.webLink(); l != "" {
		links = append(links[:len(links):len(links)], Link{"Status", l})
	}
	var row []button
	below := ""
	for _, l := range links {
		if publicName(l.URL) {
			row = append(row, button{l.Name, l.URL})
		} else { // Telegram rejects a whole message with such a button
			below += "\n" + l.Name + ": " + l.URL
		}
	}
	if utf16Len(below) > 2000 {
		below = ""
	}
	out := map[string]any{
		"chat_id": chat, "text": shorten(text, 4096-utf16Len(below)) + below, "disable_notification": m.Level == Recovery || m.Level == Info,
		"link_preview_options": map[string]bool{"is_disabled": true},
	}
	if len(row) > 0 {
		out["reply_markup"] = keyboard{[][]button{row}}
	}
	return out
}

// publicName reports whether the host of a link has a form that Telegram accepts: an address, or
// a name with a dot.
func publicName(link string) bool {
	u, err := url.Parse(link)
	return err == nil && strings.Contains(strings.Trim(u.Hostname(), "."), ".")
}

func utf16Len(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// shorten truncates to a number of UTF-16 units, the unit of Telegram's limit.
func shorten(s string, limit int) string {
	n := 0
	for i, r := range s {
		if n += utf16.RuneLen(r); n > limit-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// NewGoogleChat returns a Webhook for an incoming webhook of a space in Google
// Chat. Messages of one [Message.Key] form a thread.
func NewGoogleChat(rawURL string, opts *WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("notify: the URL for Google Chat is not of the form https://host/…")
	}
	q := u.Query()
	q.Set("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
	u.RawQuery = q.Encode()
	return newWebhook("Google Chat", u.String(), opts, func(m Message) []call { return one(googleChatMessage(m)) })
}

// Google Chat rejects a message of more than 32,000 bytes.
const (
	maxChatText   = 14 << 10 // bytes as sent, including escapes
	maxChatFields = 9 << 10
)

func googleChatMessage(m Message) any {
	paragraph := func(text string) any {
		return map[string]any{"textParagraph": map[string]string{"text": strings.ReplaceAll(html.EscapeString(text), "\n", "<br>")}}
	}
	widgets := []any{map[string]any{"textParagraph": map[string]string{
		"text": fmt.Sprintf(`<font color="#%06x"><b>%s</b></font>`, m.Level.rgb(), html.EscapeString(m.Level.symbol()+" "+m.Subject)),
	}}}
	if m.Text != "" {
		length := 8000
		for len(fitting([]any{paragraph(truncate(m.Text, length))}, maxChatText)) == 0 {
			length = length * 3 / 4 // the escapes take more bytes than the text
		}
		widgets = append(widgets, paragraph(truncate(m.Text, length)))
	}
	var facts []any
	for _, f := range firstFields(m.facts(), 20) {
		facts = append(facts, map[string]any{"decoratedText": map[string]string{"topLabel": f.Name, "text": html.EscapeString(truncate(f.Value, 300))}})
	}
	widgets = append(widgets, fitting(facts, maxChatFields)...)
	var buttons []any
	add := func(name, link string) {
		buttons = append(buttons, map[string]any{"text": name, "onClick": map[string]any{"openLink": map[string]string{"url": link}}})
	}
	for _, l := range m.links() {
		add(l.Name, l.URL)
	}
	if l := m.webLink(); l != "" {
		add("Status", l)
	}
	if len(buttons) > 0 {
		widgets = append(widgets, map[string]any{"buttonList": map[string]any{"buttons": buttons}})
	}
	out := map[string]any{
		"fallbackText": truncate(m.Subject, 500),
		"cardsV2": []any{map[string]any{"cardId": m.id(), "card": map[string]any{
			"sections": []any{map[string]any{"widgets": widgets}},
		}}},
	}
	if t := m.thread(); t != "" {
		out["thread"] = map[string]string{"threadKey": t}
	}
	return out
}
