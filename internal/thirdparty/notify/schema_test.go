package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mainstay-go/mainstay/notify"
)

// sink is an HTTP server that keeps the requests it gets.
type sink struct {
	*httptest.Server
	mu   sync.Mutex
	got  []request
	code int
}

type request struct {
	path, auth string
	body       any
}

func newSink(t testing.TB) *sink {
	s := &sink{code: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var body any
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, request{r.URL.RequestURI(), r.Header.Get("Authorization"), body})
		w.WriteHeader(s.code)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) take() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

func schema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join("testdata", "schema", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var began = noon.Add(-10 * time.Minute)

// messages are of every form that a receiver has to take.
func messages() map[string]notify.Message {
	values := []notify.Value{{Name: "utilization", Component: "/var", Value: 97.5, Unit: "percent", Warn: 80, Fail: 90}, {Name: "inodes free", Value: 3e9}}
	links := []notify.Link{
		{Name: "Acknowledge", URL: "https://pos.example.org/alerts?a=1&b=2"},
		{Name: "Silence for 2 h", URL: "https://pos.example.org/alerts?c"},
		{Name: "three", URL: "https://pos.example.org/3"},
		{Name: "four", URL: "https://pos.example.org/4"},
		{Name: "odd", URL: "javascript:alert(1)"},
	}
	alert := func(key string, e notify.Event, l notify.Level, status string) notify.Alert {
		a := notify.Alert{
			Key: key, Event: e, Level: l, Title: "pos: disk <" + key + "> on pos-1: FAIL & more", Check: "disk", Instance: "pos-1", Status: status,
			Output: "no *space* @everyone\nsecond line", Values: values, Since: began, Runbook: "https://wiki.example.org/disk", Links: links, Reporters: []string{"pos-1"},
		}
		if e == notify.Ended {
			a.Ended = noon
		}
		return a
	}
	full := notify.Message{
		Subject: "[UNHEALTHY] pos: disk <b>|x @everyone", Topic: "pos: disk", Text: "disk: FAIL\n\n  97.5 percent & <more>", Level: notify.Critical, Source: "pos",
		Key: "thread-1", Time: noon, Link: "https://pos.example.org/status/", Fields: []notify.Field{{Name: "since", Value: "11:50"}, {}},
	}
	with := func(m notify.Message, alerts ...notify.Alert) notify.Message { m.Alerts = alerts; return m }
	long := with(full, alert(strings.Repeat("ü", 500), notify.Opened, notify.Critical, strings.Repeat("s", 300)))
	long.Subject, long.Text, long.Topic = strings.Repeat("🔥", 3000), strings.Repeat("🔥é line\n", 20000), strings.Repeat("t", 900)
	long.Alerts[0].Title, long.Alerts[0].Output = strings.Repeat("🔥", 4000), strings.Repeat("🔥", 9000)
	long.Alerts[0].Check, long.Alerts[0].Instance = strings.Repeat("c", 600), strings.Repeat("i", 600)
	over := full
	over.Level = notify.Recovery
	instance := alert("lost", notify.Opened, notify.Critical, "lost")
	instance.Check, instance.Values, instance.Output, instance.Runbook, instance.Links = "", nil, "", "", nil
	return map[string]notify.Message{
		"opened":  with(full, alert("a", notify.Opened, notify.Critical, "fail")),
		"warning": with(full, alert("a", notify.Opened, notify.Warning, "warn")),
		"worse": with(full, func() notify.Alert {
			a := alert("a-2", notify.Worse, notify.Critical, "fail")
			a.Supersedes = []string{"a-1"}
			return a
		}()),
		"several":    with(full, alert("a", notify.Opened, notify.Critical, "fail"), alert("b", notify.Reminder, notify.Warning, "flapping"), alert("c", notify.Ended, notify.Recovery, "recovered"), alert("d", notify.Ongoing, notify.Warning, "warn")),
		"over":       with(over, alert("a", notify.Ended, notify.Recovery, "recovered")),
		"closed":     with(full, alert("a", notify.Ended, notify.Info, "closed")),
		"lost":       with(full, instance),
		"no alerts":  full,
		"recovery":   over,
		"long":       long,
		"bare":       {Subject: "x"},
		"bare alarm": {Level: notify.Critical},
	}
}

type vendor struct {
	schema string
	make   func(url string) (*notify.Webhook, error)
}

func vendors() map[string]vendor {
	return map[string]vendor{
		"webhook":      {"webhook", func(u string) (*notify.Webhook, error) { return notify.NewWebhook(u, nil) }},
		"Slack":        {"slack", func(u string) (*notify.Webhook, error) { return notify.NewSlack(u, nil) }},
		"Discord":      {"discord", func(u string) (*notify.Webhook, error) { return notify.NewDiscord(u, nil) }},
		"Teams":        {"teams", func(u string) (*notify.Webhook, error) { return notify.NewTeams(u, nil) }},
		"PagerDuty":    {"pagerduty", func(u string) (*notify.Webhook, error) { return notify.NewPagerDuty(u, "R0UT1NG", nil) }},
		"Opsgenie":     {"opsgenie", func(u string) (*notify.Webhook, error) { return notify.NewOpsgenie(u, "key", nil) }},
		"Alertmanager": {"alertmanager", func(u string) (*notify.Webhook, error) { return notify.NewAlertmanager(u, nil) }},
		"ntfy":         {"ntfy", func(u string) (*notify.Webhook, error) { return notify.NewNtfy(u, "pos-alerts", nil) }},
		"Telegram":     {"telegram", func(u string) (*notify.Webhook, error) { return notify.NewTelegram(u, "123:abc", "-100200", nil) }},
		"Google Chat": {"googlechat", func(u string) (*notify.Webhook, error) {
			return notify.NewGoogleChat(u+"/v1/spaces/x/messages?key=k&token=t", nil)
		}},
	}
}

// Every message to every receiver has the form that its vendor documents.
func TestVendorSchemas(t *testing.T) {
	t.Parallel()
	for name, v := range vendors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t)
			w, err := v.make(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			main, closing := schema(t, v.schema), (*jsonschema.Schema)(nil)
			if name == "Opsgenie" {
				closing = schema(t, "opsgenie-close")
			}
			for kind, m := range messages() {
				if err := w.Notify(t.Context(), m); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				for _, r := range s.take() {
					check := main
					if strings.Contains(r.path, "/close?") {
						check = closing
					}
					if err := check.Validate(r.body); err != nil {
						t.Errorf("%s: %v", kind, err)
					}
				}
			}
		})
	}
}

// A schema that accepts anything would prove nothing.
func TestSchemasRefuse(t *testing.T) {
	t.Parallel()
	for _, v := range vendors() {
		s := schema(t, v.schema)
		for _, bad := range []string{`{"unknown":1}`, `[{"labels":{}}]`, `"text"`} {
			body, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
			if err != nil {
				t.Fatal(err)
			}
			if s.Validate(body) == nil {
				t.Errorf("%s takes %s", v.schema, bad)
			}
		}
	}
}

func send(t *testing.T, w *notify.Webhook, err error, s *sink, m notify.Message) []request {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return s.take()
}

// Services that manage alerts get an event for each, and the end of each.
func TestAlertServices(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	m := messages()
	get := func(r request, names ...string) any {
		v := r.body
		for _, n := range names {
			v = v.(map[string]any)[n]
		}
		return v
	}

	pd, err := notify.NewPagerDuty(s.URL, "R", nil)
	opened := send(t, pd, err, s, m["opened"])
	if len(opened) != 1 || get(opened[0], "event_action") != "trigger" || get(opened[0], "payload", "custom_details", "check") != "disk" {
		t.Errorf("%+v", opened)
	}
	over := send(t, pd, err, s, m["over"])
	if len(over) != 1 || get(over[0], "event_action") != "resolve" || get(over[0], "dedup_key") != get(opened[0], "dedup_key") {
		t.Errorf("%+v", over)
	}
	worse := send(t, pd, err, s, m["worse"])
	if len(worse) != 2 || get(worse[0], "event_action") != "trigger" || get(worse[1], "event_action") != "resolve" || get(worse[0], "dedup_key") == get(worse[1], "dedup_key") {
		t.Errorf("%+v", worse)
	}
	if several := send(t, pd, err, s, m["several"]); len(several) != 3 {
		t.Errorf("%+v", several)
	}

	og, err := notify.NewOpsgenie(s.URL, "key", nil)
	opened = send(t, og, err, s, m["opened"])
	if len(opened) != 1 || opened[0].path != "/v2/alerts" || opened[0].auth != "GenieKey key" || get(opened[0], "priority") != "P1" {
		t.Errorf("%+v", opened)
	}
	over = send(t, og, err, s, m["over"])
	if want := "/v2/alerts/" + get(opened[0], "alias").(string) + "/close?identifierType=alias"; len(over) != 1 || over[0].path != want {
		t.Errorf("%+v, want %s", over, want)
	}

	am, err := notify.NewAlertmanager(s.URL+"/base/", nil)
	opened = send(t, am, err, s, m["opened"])
	if len(opened) != 1 || opened[0].path != "/base/api/v2/alerts" {
		t.Errorf("%+v", opened)
	}
	ends := func(r request) map[string]string {
		out := map[string]string{}
		for _, a := range r.body.([]any) {
			a := a.(map[string]any)
			out[a["labels"].(map[string]any)["severity"].(string)] = a["endsAt"].(string)
		}
		return out
	}
	if e := ends(opened[0]); e["critical"] <= noon.Format(time.RFC3339) || e["warning"] != noon.Format(time.RFC3339) {
		t.Errorf("%v", e)
	}
	over = send(t, am, err, s, m["over"])
	if e := ends(over[0]); e["critical"] != noon.Format(time.RFC3339) || e["warning"] != noon.Format(time.RFC3339) {
		t.Errorf("%v", e)
	}

	tg, err := notify.NewTelegram(s.URL, "123:abc", "@pos", nil)
	if got := send(t, tg, err, s, m["opened"]); len(got) != 1 || got[0].path != "/bot123:abc/sendMessage" {
		t.Errorf("%+v", got)
	}
	gc, err := notify.NewGoogleChat(s.URL+"/v1/spaces/x/messages?key=k&token=t", nil)
	if got := send(t, gc, err, s, m["opened"]); len(got) != 1 || !strings.Contains(got[0].path, "key=k&") || !strings.Contains(got[0].path, "messageReplyOption=") {
		t.Errorf("%+v", got)
	}
}

// One of several requests fails: all are tried, and the error names no secret.
func TestSeveralRequests(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.code = http.StatusServiceUnavailable
	for name, v := range vendors() {
		w, err := v.make(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		err = w.Notify(t.Context(), messages()["several"])
		if err == nil || strings.Contains(err.Error(), "abc") || strings.Contains(err.Error(), "token=") || strings.Contains(err.Error(), "R0UT1NG") {
			t.Errorf("%s: %v", name, err)
		}
		n := len(s.take())
		if want := map[string]int{"PagerDuty": 3, "Opsgenie": 3}[name]; want != 0 && n != want {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestNewReceiverErrors(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"topic":    second(notify.NewNtfy(notify.NtfyServer, "a b", nil)),
		"token":    second(notify.NewTelegram(notify.TelegramAPI, "", "1", nil)),
		"chat":     second(notify.NewTelegram(notify.TelegramAPI, "t", "", nil)),
		"slash":    second(notify.NewTelegram(notify.TelegramAPI, "t/x", "1", nil)),
		"api key":  second(notify.NewOpsgenie(notify.OpsgenieAPI, "", nil)),
		"in clear": second(notify.NewAlertmanager("http://alertmanager.example.org:9093", nil)),
		"URL":      second(notify.NewGoogleChat("chat.googleapis.com", nil)),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func second(_ *notify.Webhook, err error) error { return err }
