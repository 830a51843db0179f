package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/redact"
)

func TestMessagesAreScrubbed(t *testing.T) {
	const secret = "S3cr3tHunter2Value"
	link := "https://pos.test/alert/?act=acknowledge&expires=1785000000&sig=3cT9fQz0aB7xY1kLmN8pQ2rS"
	m := Message{
		Subject: "pos: password=" + secret, Topic: "postgres://u:" + secret + "@db/pos", Text: "line one\n\tpassword: " + secret + "\nAcknowledge: " + link,
		Source: "pos", Link: "https://u:" + secret + "@pos.test/uptime/",
		HTML:   "<p>password: <b>" + secret + "</b></p>",
		Fields: []Field{{"password", secret}, {"rows", "7"}},
		Alerts: []Alert{{Title: "db token=" + secret, Output: "Authorization: Bearer " + secret, Links: []Link{{"Acknowledge", link}}, Runbook: "https://wiki.test/db"}},
	}.prepared(time.Now(), forms)
	all, err := json.Marshal(m)
	require.NoError(t, err)
	require.NotContains(t, string(all), secret)
	require.Contains(t, m.Text, "line one\n\tpassword: ***\nAcknowledge: "+link)
	require.Equal(t, link, m.Alerts[0].Links[0].URL)
	require.Equal(t, "https://wiki.test/db", m.Alerts[0].Runbook)
	require.Equal(t, "https://pos.test/uptime/", m.Link)
	require.Equal(t, []Field{{"password", "***"}, {"rows", "7"}}, m.Fields)
	require.Empty(t, m.HTML)

	harmless := Message{
		Subject: "[UNHEALTHY] pos: db on pos-7d9f8b6c5d-x2x4q", Text: "NEW db: FAIL, critical since 23:51 UTC (3 min)\n    dial tcp 10.0.0.7:5432: connect: connection refused\n    Acknowledge: " + link + "\n",
		HTML: `<p style="color:#b42318">dial tcp 10.0.0.7:5432 <a href="` + strings.ReplaceAll(link, "&", "&amp;") + `">Acknowledge</a></p>`,
		Link: "https://pos.test/uptime/", Fields: []Field{{"backup", "20261128T020000Z-shop"}}, Alerts: []Alert{{Links: []Link{{"Acknowledge", link}}}},
	}
	sent := harmless.prepared(time.Now(), forms)
	require.Equal(t, harmless.Subject, sent.Subject)
	require.Equal(t, harmless.Text, sent.Text)
	require.Equal(t, harmless.HTML, sent.HTML)
	require.Equal(t, harmless.Fields, sent.Fields)

	// A link with a named secret goes too.
	told := redact.New("3cT9fQz0aB7xY1kLmN8pQ2rS")
	sent = harmless.prepared(time.Now(), told)
	require.NotContains(t, sent.Text+sent.HTML+sent.Alerts[0].Links[0].URL, "3cT9fQz0aB7xY1kLmN8pQ2rS")
}
