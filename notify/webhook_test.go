package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// receiver is an HTTP server that keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies [][]byte
	header http.Header
	status int
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies = append(r.bodies, body)
		r.header = req.Header.Clone()
		w.WriteHeader(r.status)
		io.WriteString(w, "invalid\r\ntoken")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) last(t testing.TB) map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bodies) == 0 {
		t.Fatal("nothing was received")
	}
	var m map[string]any
	if err := json.Unmarshal(r.bodies[len(r.bodies)-1], &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// at walks through decoded JSON: a string is a key, an int an index.
func at(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object in %v", path, v)
			}
			v = m[p]
		case int:
			a, ok := v.([]any)
			if !ok || len(a) <= p {
				t.Fatalf("%v: no list of more than %d in %v", path, p, v)
			}
			v = a[p]
		}
	}
	return v
}

var problem = Message{
	Subject: "database <is> *down* @everyone", Text: "ping: timeout & more", HTML: "<p>", Level: Critical, Source: "pos-1",
	Key: "incident-7", Time: noon, Fields: []Field{{"since", "11:58"}, {"", ""}}, Link: "https://pos.example.org/status/",
}

func TestWebhookSigned(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	secret := []byte("k3y of 16 bytes.")
	w, err := NewWebhook(r.URL+"/hook", &WebhookOptions{Secret: secret, Header: http.Header{"Authorization": {"Bearer x"}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Notify(t.Context(), problem); err != nil {
			t.Fatal(err)
		}
	}
	m := r.last(t)
	if m["subject"] != problem.Subject || m["level"] != "critical" || m["key"] != "incident-7" || m["html"] != nil || m["id"] == "" {
		t.Errorf("got %v", m)
	}
	var first map[string]any
	if err := json.Unmarshal(r.bodies[0], &first); err != nil || first["id"] != m["id"] {
		t.Errorf("the same message has two ids: %v, %v", first["id"], m["id"])
	}
	if r.header.Get("Authorization") != "Bearer x" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", r.header)
	}
	body := r.bodies[1]
	if err := VerifyWebhook(secret, r.header, body, time.Minute); err != nil {
		t.Errorf("a good signature: %v", err)
	}
	old := r.header.Clone()
	old.Set("X-Timestamp", strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10))
	stale := http.Header{}
	sign(stale, secret, body, time.Now().Add(-time.Hour))
	future := http.Header{}
	sign(future, secret, body, time.Now().Add(time.Hour))
	for name, err := range map[string]error{
		"other secret":  VerifyWebhook([]byte("other"), r.header, body, time.Minute),
		"empty secret":  VerifyWebhook(nil, r.header, body, time.Minute),
		"changed body":  VerifyWebhook(secret, r.header, append([]byte(" "), body...), time.Minute),
		"changed time":  VerifyWebhook(secret, old, body, time.Minute),
		"replayed":      VerifyWebhook(secret, stale, body, time.Minute),
		"from tomorrow": VerifyWebhook(secret, future, body, time.Minute),
		"no header":     VerifyWebhook(secret, http.Header{}, body, time.Minute),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSlack(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	w, err := NewSlack(r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Notify(t.Context(), problem); err != nil {
		t.Fatal(err)
	}
	m := r.last(t)
	if got := m["text"]; got != "✖ <"+problem.Link+"|database &lt;is&gt; *down* @everyone>" {
		t.Errorf("text %q", got)
	}
	if got := at(t, m, "attachments", 0, "text"); got != "ping: timeout &amp; more" {
		t.Errorf("text %q", got)
	}
	if at(t, m, "attachments", 0, "color") != "#b42318" ||
		at(t, m, "attachments", 0, "fields", 0, "value") != "11:58" {
		t.Errorf("got %v", m)
	}
}

func TestDiscord(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	w, err := NewDiscord(r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := problem
	m.Text = strings.Repeat("é*", 30000)
	if err := w.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := r.last(t)
	if content := at(t, got, "content").(string); strings.Contains(content, "@everyone") || !strings.Contains(content, `\*down\*`) {
		t.Errorf("content %q", content)
	}
	if parse := at(t, got, "allowed_mentions", "parse").([]any); len(parse) != 0 {
		t.Errorf("mentions are allowed: %v", parse)
	}
	if d := at(t, got, "embeds", 0, "description").(string); len(d) > 4096 {
		t.Errorf("%d bytes of description", len(d))
	}
	for i := range 2 {
		if at(t, got, "embeds", 0, "fields", i, "name") == "" || at(t, got, "embeds", 0, "fields", i, "value") == "" {
			t.Error("an empty field would be refused")
		}
	}
}

// The largest message there can be stays below what each receiver documents.
func TestLimitsOfReceivers(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	all := map[string]int{} // bytes of the whole request
	slack, err1 := NewSlack(r.URL, nil)
	discord, err2 := NewDiscord(r.URL, nil)
	teams, err3 := NewTeams(r.URL, nil)
	pagerDuty, err4 := NewPagerDuty(r.URL, "R0UT1NGKEY", nil)
	chat, err5 := NewGoogleChat(r.URL, nil)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"<&*", "é", "a\n", "\\\"", "😀"} {
		m := Message{
			Subject: strings.Repeat(piece, 1000), Text: strings.Repeat(piece, 50_000), Level: Critical,
			Source: strings.Repeat(piece, 1000), Key: "1", Link: "https://pos.example.org/" + strings.Repeat("é", 3000),
		}
		for range 60 {
			m.Fields = append(m.Fields, Field{strings.Repeat(piece, 1000), strings.Repeat(piece, 1000)})
		}
		for name, w := range map[string]*Webhook{"Slack": slack, "Discord": discord, "Teams": teams, "PagerDuty": pagerDuty, "Google Chat": chat} {
			if err := w.Notify(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := r.last(t)
			all[name] = max(all[name], len(r.bodies[len(r.bodies)-1]))
			switch name {
			case "Discord":
				if n := utf16Length(at(t, got, "content")); n > 2000 {
					t.Errorf("content of %d characters", n)
				}
				e := at(t, got, "embeds", 0).(map[string]any)
				sum := utf16Length(e["title"]) + utf16Length(e["description"]) + utf16Length(at(t, e, "footer", "text"))
				for _, f := range e["fields"].([]any) {
					sum += utf16Length(at(t, f, "name")) + utf16Length(at(t, f, "value"))
				}
				if sum > 6000 || utf16Length(e["title"]) > 256 || utf16Length(e["description"]) > 4096 {
					t.Errorf("%q: an embed of %d characters", piece, sum)
				}
			case "Slack":
				a := at(t, got, "attachments", 0).(map[string]any)
				sum := utf16Length(got["text"]) + utf16Length(a["text"])
				for _, f := range a["fields"].([]any) {
					sum += utf16Length(at(t, f, "title")) + utf16Length(at(t, f, "value"))
				}
				if sum > 40_000 && piece != "<&*" { // the escapes of & and < are one character each to Slack
					t.Errorf("%q: %d characters", piece, sum)
				}
			case "PagerDuty":
				if n := utf16Length(at(t, got, "payload", "summary")); n > 1024 {
					t.Errorf("a summary of %d characters", n)
				}
			}
		}
	}
	t.Log(all)
	for name, limit := range map[string]int{"Teams": 21_000, "PagerDuty": 512 << 10, "Google Chat": 32_000} {
		if all[name] > limit {
			t.Errorf("%s: a request of %d bytes", name, all[name])
		}
	}
}

func utf16Length(v any) int { return len(utf16.Encode([]rune(v.(string)))) }

func TestTeams(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	w, err := NewTeams(r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Notify(t.Context(), problem); err != nil {
		t.Fatal(err)
	}
	card := at(t, r.last(t), "attachments", 0, "content")
	if at(t, card, "type") != "AdaptiveCard" || at(t, card, "version") != "1.4" ||
		at(t, card, "body", 0, "inlines", 0, "text") != "✖ "+problem.Subject || at(t, card, "actions", 0, "url") != problem.Link {
		t.Errorf("got %v", card)
	}
}

func TestPagerDuty(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.status = http.StatusAccepted
	w, err := NewPagerDuty(r.URL, "R0UT1NGKEY", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Notify(t.Context(), problem); err != nil {
		t.Fatal(err)
	}
	trigger := r.last(t)
	if trigger["event_action"] != "trigger" || trigger["routing_key"] != "R0UT1NGKEY" || at(t, trigger, "payload", "severity") != "critical" ||
		at(t, trigger, "payload", "source") != "pos-1" || at(t, trigger, "links", 0, "href") != problem.Link {
		t.Errorf("got %v", trigger)
	}
	// Another process, another text, an hour later: the same incident.
	again, err := NewPagerDuty(r.URL, "R0UT1NGKEY", nil)
	if err != nil {
		t.Fatal(err)
	}
	over := Message{Subject: "up again", Level: Recovery, Source: "pos-1", Key: "incident-7", Time: noon.Add(time.Hour)}
	if err := again.Notify(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	resolve := r.last(t)
	if resolve["event_action"] != "resolve" || resolve["dedup_key"] != trigger["dedup_key"] || trigger["dedup_key"] == "" {
		t.Errorf("got %v after %v", resolve, trigger)
	}
	over.Key = ""
	if err := again.Notify(t.Context(), over); err != nil || len(r.bodies) != 2 {
		t.Errorf("a recovery of nothing: %v, %d requests", err, len(r.bodies))
	}
}

// What goes wrong is reported without the URL, which is the password of most
// chat rooms.
func TestWebhookErrors(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.status = http.StatusForbidden
	moved := httptest.NewServer(http.RedirectHandler(r.URL, http.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	// Not the address of a server that was closed: the next listener of any test may have it already.
	const gone = "http://127.0.0.1:1"
	for name, base := range map[string]string{"refused": r.URL, "redirected": moved.URL, "hanging": hanging.URL, "gone": gone} {
		timeout := 20 * time.Second
		if name == "hanging" {
			timeout = 300 * time.Millisecond
		}
		w, err := NewWebhook(base+"/services/S3CRET", &WebhookOptions{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Notify(t.Context(), problem)
		if err == nil || !strings.HasPrefix(err.Error(), "notify: ") || strings.Contains(err.Error(), "S3CRET") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.bodies) != 1 {
		t.Errorf("the redirect was followed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := NewWebhook(r.URL, nil); err != nil || w.Notify(ctx, problem) == nil {
		t.Error("a cancelled context was ignored")
	}
}

func TestNewWebhookErrors(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "hooks.example.org/S3CRET", "ftp://h/S3CRET", "https://", "http://hooks.example.org/S3CRET", "https://h:x/S3CRET"} {
		if _, err := NewSlack(bad, nil); err == nil || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := NewWebhook("http://hooks.internal/x", &WebhookOptions{Insecure: true}); err != nil {
		t.Error(err)
	}
	if _, err := NewPagerDuty(PagerDutyEvents, "", nil); err == nil {
		t.Error("PagerDuty without a key")
	}
	for _, secret := range []string{"", "short"} { // such as a variable that is not set
		if _, err := NewWebhook("https://h/", &WebhookOptions{Secret: []byte(secret)}); err == nil {
			t.Error("a secret that can be guessed was accepted")
		}
	}
	if _, err := NewWebhook("https://h/", &WebhookOptions{Timeout: -1}); err == nil {
		t.Error("a negative timeout")
	}
}
