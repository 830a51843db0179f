package command

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// received is what a service of --receivers got.
type received struct{ path, body, authorization string }

type receivingServer struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

func newReceivingServer(t *testing.T) *receivingServer {
	t.Helper()
	r := &receivingServer{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got = append(r.got, received{req.URL.RequestURI(), string(body), req.Header.Get("Authorization")})
		r.mu.Unlock()
		if strings.Contains(req.URL.Path, "slack") {
			_, _ = io.WriteString(w, "ok")
			return
		}
		_, _ = io.WriteString(w, `{"ok":true,"status":"success"}`)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receivingServer) to(path string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []received
	for _, g := range r.got {
		if g.path == path || path != "/" && strings.HasPrefix(g.path, path) {
			list = append(list, g)
		}
	}
	return list
}

// Every kind of receiver gets a message, with its key where the service expects it.
func TestEachKindOfReceiver(t *testing.T) {
	server := newReceivingServer(t)
	host := strings.TrimPrefix(server.URL, "http://")
	urls := []string{
		"slack+http://HOST/slack/x", "discord+http://HOST/discord/x", "teams+http://HOST/teams/x?sig=abc%2Bd",
		"googlechat+http://HOST/googlechat/x?key=k&token=t", "telegram+http://12:AB@HOST/-100", "ntfy+http://tk_1@HOST/alerts",
		"pagerduty+http://KEY1@HOST/pagerduty", "opsgenie+http://KEY2@HOST/opsgenie", "alertmanager+http://HOST/alertmanager",
		"webhook+http://s3cret-of-16-bytes@HOST/webhook",
	}
	s, _, err := settings.Load([]string{"--receivers", strings.ReplaceAll(strings.Join(urls, "\n"), "HOST", host)}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	channel, err := notifier(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = channel.Notify(t.Context(), notify.Message{
		Level: notify.Critical, Source: "pos", Key: "k", Subject: "[UNHEALTHY] pos: database", Text: "no answer",
		Alerts: []notify.Alert{{Key: "database", Event: notify.Opened, Level: notify.Critical, Check: "database", Status: "fail"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/slack/x": "pos: database", "/discord/x": "pos: database", "/teams/x?sig=abc%2Bd": "pos: database", "/googlechat/x?": "pos: database",
		"/bot12:AB/sendMessage": `"-100"`, "/": `"topic":"alerts"`, "/pagerduty": `"routing_key":"KEY1"`, "/opsgenie": "database",
		"/alertmanager": "database", "/webhook": `"source":"pos"`,
	} {
		if got := server.to(path); len(got) != 1 || !strings.Contains(got[0].body, want) {
			t.Errorf("%s got %+v, want %s", path, got, want)
		}
	}
	for _, g := range server.to("") {
		if strings.Contains(g.body, "0001-01-01") {
			t.Errorf("%s says that the alert began in the year 1: %s", g.path, g.body)
		}
	}
	for path, want := range map[string]string{"/": "Bearer tk_1", "/opsgenie": "GenieKey KEY2", "/slack/x": ""} {
		if got := server.to(path); len(got) == 1 && got[0].authorization != want {
			t.Errorf("%s: Authorization %q", path, got[0].authorization)
		}
	}
}

// The alerts of the server go to the receivers, and their links lead back to it: one
// acknowledges the alert.
func TestAlertLinksLeadToTheShop(t *testing.T) {
	server := newReceivingServer(t)
	s := openTestShop(t, append([]string{
		"--receivers=webhook+" + server.URL + "/webhook", "--public-url=https://pos.example.org/",
	}, unlimited...)...)
	if err := s.parts.health.Add(health.Check{Name: "oven", Critical: true, Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
		return health.Failed("cold", nil)
	})}); err != nil {
		t.Fatal(err)
	}
	var snap *health.Snapshot
	for range 3 {
		var err error
		if snap, err = s.parts.health.RunOnce(t.Context(), "oven"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.parts.alerts.Once(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	got := server.to("/webhook")
	if len(got) != 1 || !strings.Contains(got[0].body, "https://pos.example.org/uptime/") {
		t.Fatalf("%+v", got)
	}
	open := s.parts.alerts.Alerts().Open
	if len(open) != 1 || !slices.ContainsFunc(open[0].Actions, func(a health.AlertAction) bool { return a.Name == "acknowledge" }) {
		t.Fatalf("%+v", open)
	}
	link, err := url.Parse(open[0].Actions[0].URL)
	if err != nil || link.Host != "pos.example.org" || link.Path != "/alerts/" {
		t.Fatalf("%v, %v", link, err)
	}
	s.token = ""
	if code, body, _ := s.send("GET", link.RequestURI(), ""); code != 200 || !strings.Contains(string(body), "<button>Acknowledge") {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := s.send("POST", link.RequestURI(), ""); code != 200 || s.parts.alerts.Alerts().Open[0].AckBy == "" {
		t.Errorf("%d %+v", code, s.parts.alerts.Alerts().Open)
	}
	if code, _, _ := s.send("POST", "/alerts/?act=acknowledge", ""); code != 403 {
		t.Errorf("without a signature: %d", code)
	}
}
