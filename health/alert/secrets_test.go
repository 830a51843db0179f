package alert_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/healthcli"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/notify"
)

// outputs collects what leaves the process.
type outputs struct {
	mu  sync.Mutex
	all map[string]*strings.Builder
}

func (o *outputs) add(where, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all[where] == nil {
		o.all[where] = &strings.Builder{}
	}
	o.all[where].WriteString(text + "\n")
}

// named is an output as a writer.
type named struct {
	*outputs
	where string
}

func (n named) Write(b []byte) (int, error) { n.add(n.where, string(b)); return len(b), nil }

// server is the other end of every receiver. It returns what it was sent, and refuses
// each second request.
type server struct {
	outputs *outputs
	secret  string
	mu      sync.Mutex
	n       int
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.n++
	code := http.StatusOK
	if s.n%2 == 1 {
		code = http.StatusBadRequest
	}
	s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.outputs.add("body for "+r.URL.Host, string(body))
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("bad token " + s.secret + " for " + r.URL.String())), Request: r, Header: http.Header{}}, nil
}

// tell runs a service whose errors, names and people contain text, and returns all of
// its outputs.
func tell(t testing.TB, secret, text string) map[string]*strings.Builder {
	t.Helper()
	out := &outputs{all: map[string]*strings.Builder{}}
	logger := slog.New(slog.NewJSONHandler(named{out, "log"}, nil))
	registry := func() (*health.Registry, error) {
		err := fmt.Errorf("cannot connect: %w", &url.Error{Op: "Get", URL: "http://h/?x=" + text, Err: errors.New(text)})
		check := health.Check{Name: "db", Timeout: time.Second, Critical: true, Checker: health.CheckerFunc(func(context.Context) health.Result {
			return health.Result{
				Status: health.Fail, Summary: "wrong " + text, Err: err,
				Observed: []health.Measurement{{Name: "n", Component: text, Unit: text, Value: 2, Limits: health.Limits{Warn: 1}}},
			}
		})}
		broken := health.Check{Name: "panic", Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result { panic(text) })}
		return health.New([]health.Check{check, broken}, &health.Options{
			Service: "pos", Logger: logger, Secrets: []string{secret}, Authorize: func(*http.Request) bool { return true },
			Trace: &health.Trace{RunDone: func(_ context.Context, e health.RunEvent) { out.add("trace", fmt.Sprint(e)) }},
		})
	}
	reg, err := registry()
	require.NoError(t, err)
	post := &notify.WebhookOptions{Client: &http.Client{Transport: &server{outputs: out, secret: text}}}
	must := func(n notify.Notifier, err error) notify.Notifier { require.NoError(t, err); return n }
	receivers := map[string]notify.Notifier{
		"web":       must(notify.NewWebhook("https://web.test/"+url.PathEscape(secret), post)),
		"slack":     must(notify.NewSlack("https://slack.test/x", post)),
		"discord":   must(notify.NewDiscord("https://discord.test/x", post)),
		"teams":     must(notify.NewTeams("https://teams.test/x", post)),
		"pagerduty": must(notify.NewPagerDuty("https://pd.test/x", "R", post)),
		"func": notify.Func(func(_ context.Context, m notify.Message) error {
			b, _ := json.Marshal(m)
			out.add("message", string(b)+m.HTML+m.Text)
			return errors.New("refused: " + text)
		}),
	}
	o := alert.Options{
		Store: alert.Memory(), Logger: logger, Instance: "pod-1", GroupWait: time.Nanosecond, GroupInterval: time.Nanosecond, Retries: []time.Duration{time.Nanosecond},
		LinkSecret: []byte("0123456789abcdef"), LinkURL: "https://pos.test/alert/", StatusURL: "https://pos.test/uptime/",
	}
	for name, n := range receivers {
		o.Receivers = append(o.Receivers, alert.Receiver{Name: name, Notifier: n})
	}
	al, err := alert.New(reg, nil, &o)
	require.NoError(t, err)
	reg.AddNotices(al.Notices)
	reg.SetAlerts(al.Alerts)
	past, err := history.New(reg, memoryHistory{}, &history.Options{Logger: logger, Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, err)
	mux := http.NewServeMux()
	reg.Mount(mux)
	past.Mount(mux)
	mux.Handle("/alert/", al.Handler())
	for i := range 4 {
		snap, err := reg.RunOnce(t.Context())
		require.NoError(t, err)
		if i == 3 {
			_ = al.Acknowledge(t.Context(), "db", cutTo("ada "+text, 100))
			_ = al.Silence(t.Context(), alert.Silence{Check: "db", Until: time.Now().Add(time.Hour), By: cutTo("ada "+text, 100), Reason: cutTo("because "+text, 200)})
		}
		if err := al.Once(t.Context(), snap); err != nil {
			out.add("stderr", reg.Scrub(err.Error()))
		}
	}
	out.add("stats", fmt.Sprint(al.Stats()))
	for _, target := range []string{"/health/", "/health/?format=text&verbose", "/health/?format=html", "/health/db", "/ready/", "/status/", "/uptime/", "/uptime/json", "/uptime/feed"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		out.add(target, w.Body.String())
	}
	for _, a := range al.Alerts().Open {
		for _, act := range a.Actions {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, act.URL, nil))
			out.add("link", w.Body.String())
		}
	}
	state := filepath.Join(t.TempDir(), "state.json")
	for _, args := range [][]string{{"--verbose"}, {"--json"}, {"--notify", "--retries=2", "--retry-wait=1ns"}, {"--alerts"}} {
		cmd := healthcli.Command{
			Registry: func(context.Context) (*health.Registry, error) { return registry() },
			Notifier: func() (notify.Notifier, error) { return receivers["func"], nil },
			Alert:    alert.Options{Logger: logger}, Stdout: named{out, "stdout"}, Stderr: named{out, "stderr"},
		}
		cmd.Run(t.Context(), append(args, "--state", state))
	}
	return out.all
}

func cutTo(s string, n int) string { return s[:min(len(s), n)] }

type memoryHistory struct{}

func (memoryHistory) Load(context.Context, string) (map[string][]byte, error) { return nil, nil }
func (memoryHistory) Save(context.Context, string, []byte) error              { return nil }

var spellings = map[string]func(string) string{
	"plain":  func(s string) string { return s },
	"quoted": strconv.Quote,
	"json":   func(s string) string { b, _ := json.Marshal(map[string]string{"a": s}); return string(b) },
	"query":  url.QueryEscape,
	"html":   html.EscapeString,
	"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("u:" + s)) },
	"hex":    func(s string) string { return hex.EncodeToString([]byte(s)) },
	"dsn":    func(s string) string { return "postgres://pos:" + url.QueryEscape(s) + "@db/pos" },
}

// No output of any kind contains a secret that the service named, in any encoding.
func TestNoNamedSecretLeaves(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for i, secret := range []string{`p"a<ss>&'w\rd%41`, "correct horse battery", "clé-où-ça-9"} {
		for name, spell := range spellings {
			if i > 0 && name != "plain" && name != "query" {
				continue // internal/redact tries every secret in every encoding
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				shown := spell(secret)
				all := tell(t, secret, shown)
				require.Greater(t, len(all), 20)
				requireNone(t, all, secret, shown)
			})
		}
	}
}

func requireNone(t *testing.T, all map[string]*strings.Builder, secret, shown string) {
	t.Helper()
	for where, b := range all {
		text := b.String()
		plain := html.UnescapeString(text)
		query, _ := url.QueryUnescape(plain)
		unquoted := strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(plain)
		for _, reading := range []string{text, plain, query, unquoted, html.UnescapeString(unquoted)} {
			for _, leak := range []string{secret, shown} {
				if i := strings.Index(reading, leak); i >= 0 {
					t.Fatalf("%s shows %q: …%s…", where, leak, reading[max(0, i-80):min(len(reading), i+len(leak)+20)])
				}
			}
		}
	}
}

func FuzzNoNamedSecretLeaves(f *testing.F) {
	f.Add("correct horse", "dial %s: refused")
	f.Add(`p"a<ss>`, "password=%s&x")
	f.Fuzz(func(t *testing.T, secret, form string) {
		// A short secret is part of innocent words, and one with stars of what hides it.
		if len(secret) < 8 || len(secret) > 60 || len(form) > 500 || strings.TrimSpace(secret) != secret || strings.ContainsAny(secret, "*…\x00") ||
			!json.Valid([]byte(strconv.Quote(secret))) || bytes.Contains([]byte("mainstay health application/json text/html description"), []byte(secret)) {
			t.Skip()
		}
		text := strings.ReplaceAll(form, "%s", " "+secret+" ")
		requireNone(t, tell(t, secret, text), secret, secret)
	})
}
