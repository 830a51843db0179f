package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// every returns each kind of receiver for a server at an address.
func every(t testing.TB, url string, opts *WebhookOptions) map[string]*Webhook {
	t.Helper()
	all := map[string]*Webhook{}
	add := func(name string, w *Webhook, err error) {
		require.NoError(t, err, name)
		all[name] = w
	}
	w, err := NewWebhook(url+"/hook/T0KENinThePath", opts)
	add("webhook", w, err)
	w, err = NewSlack(url+"/services/T0KENinThePath", opts)
	add("Slack", w, err)
	w, err = NewDiscord(url+"/api/webhooks/1/T0KENinThePath", opts)
	add("Discord", w, err)
	w, err = NewTeams(url+"/workflows/T0KENinThePath", opts)
	add("Teams", w, err)
	w, err = NewGoogleChat(url+"/v1/spaces/A/messages?key=k&token=T0KENinThePath", opts)
	add("Google Chat", w, err)
	w, err = NewPagerDuty(url+"/v2/enqueue", "R0UT1NGKEY", opts)
	add("PagerDuty", w, err)
	w, err = NewOpsgenie(url, "T0KENinThePath", opts)
	add("Opsgenie", w, err)
	w, err = NewTelegram(url, "1:T0KENinThePath", "-100", opts)
	add("Telegram", w, err)
	w, err = NewNtfy(url, "pos-alerts", opts)
	add("ntfy", w, err)
	w, err = NewAlertmanager(url, opts)
	add("Alertmanager", w, err)
	return all
}

var outage = Message{
	Subject: "pos: db is down", Text: "db: no answer", Level: Critical, Source: "pos", Key: "k", Time: noon, Link: "https://pos.example.org/status/",
	Alerts: []Alert{{
		Key: "db-2", Supersedes: []string{"db-1"}, Event: Worse, Level: Critical, Title: "db fails", Check: "db", Status: "fail", Since: noon.Add(-time.Minute),
		Links: []Link{{"acknowledge", "https://pos.example.org/alerts/link?sig=x"}},
	}},
}

// TestServersThatRefuse sends to servers that answer wrongly, late or not at all. Each answer is an
// error within the timeout, without the secrets of the receiver.
func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	var redirected atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Add(1) }))
	t.Cleanup(other.Close) // after the parallel tests below
	hijacked := func(write string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			io.WriteString(conn, write)
			conn.(*net.TCPConn).CloseWrite()
			bufio.NewReader(conn).ReadByte() // until the client gives up
			conn.Close()
		}
	}
	echo := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(code)
			fmt.Fprintf(w, "rejected %s with %s and %s", r.URL, r.Header.Get("Authorization"), body)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"400": echo(400), "401": echo(401), "404": echo(404), "413": echo(413), "429": echo(429), "500": echo(500), "503": echo(503),
		"302": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
		},
		"307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"no answer":  hijacked(""),
		"half":       hijacked("HTTP/1.1 200 O"),
		"no http":    hijacked("220 mail.example.org ESMTP\r\n"),
		"late":       func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		"big header": hijacked("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20)),
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.Copy(w, io.LimitReader(zeros{}, 64<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(handler)
			t.Cleanup(func() {
				srv.CloseClientConnections()
				srv.Close()
				require.Zero(t, redirected.Load(), "a redirect was followed")
			})
			for kind, w := range every(t, srv.URL, &WebhookOptions{Timeout: 500 * time.Millisecond}) {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					began := time.Now()
					err := w.Notify(t.Context(), outage)
					require.Error(t, err)
					require.Less(t, time.Since(began), 8*time.Second)
					require.NotContains(t, err.Error(), "T0KENinThePath")
					require.Less(t, len(err.Error()), 1500)
				})
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestSlowAcceptance has servers that accept at once and whose body never ends.
func TestSlowAcceptance(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("it waits for seconds; run it without -short")
	}
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(202)
		for r.Context().Err() == nil {
			io.WriteString(w, ".")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	// Each takes all of its timeout, within which the header must come, on a busy machine too.
	var all sync.WaitGroup
	for kind, w := range every(t, srv.URL, &WebhookOptions{Timeout: 4 * time.Second}) {
		if kind == "PagerDuty" || kind == "Opsgenie" {
			continue // two requests share the timeout
		}
		all.Go(func() { assert.NoError(t, w.Notify(t.Context(), outage), kind) })
	}
	all.Wait()
}

// TestRefusalInTheBody has servers that accept the request, and say in its response whether they
// accept the message.
func TestRefusalInTheBody(t *testing.T) {
	t.Parallel()
	for body, refuses := range map[string]bool{
		`{"ok":false,"error_code":400,"description":"chat not found"}`:       true,
		` {"success": false, "message": "chat not found"}`:                   true,
		`{"ok":true,"result":{"ok":false}}`:                                  false,
		`{"ok":true,"result":{"text":"` + strings.Repeat("x", 8<<10) + `"}}`: false,
		`{"success":true}`: false,
		`{"ok":null}`:      false,
		`{"ok":"false"}`:   false,
		`[{"ok":false}]`:   false,
		`{}`:               false,
		`ok`:               false,
		``:                 false,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		for kind, w := range every(t, srv.URL, nil) {
			err := w.Notify(t.Context(), outage)
			if !refuses {
				require.NoError(t, err, "%s: %.100s", kind, body)
				continue
			}
			require.ErrorContains(t, err, "not found", kind)
			require.Equal(t, unknown, outcomesOf(outage, err)[0], kind)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "NaN": 0, "30": 30 * time.Second, "0.65": 650 * time.Millisecond, "1e30": maxRetryAfter, "Inf": maxRetryAfter,
		"Sun, 29 Nov 2026 10:01:00 GMT": time.Minute, "Sun, 29 Nov 2026 09:00:00 GMT": 0, "Sun, 29 Nov 2037 09:00:00 GMT": maxRetryAfter,
	} {
		require.Equal(t, want, retryAfter(header, now), header)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(429)
	}))
	defer srv.Close()
	for kind, w := range every(t, srv.URL, nil) {
		require.Equal(t, 90*time.Second, pauseOf(w.Notify(t.Context(), outage)), kind)
	}
	dir := t.TempDir()
	s, err := NewSpool(dir, every(t, srv.URL, nil)["Slack"], &SpoolOptions{Delays: []time.Duration{time.Second}})
	require.NoError(t, err)
	require.NoError(t, s.Notify(t.Context(), outage))
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	require.NotEmpty(t, files)
	entry, err := s.dir.read(s.dir.list()[0])
	require.NoError(t, err)
	require.Greater(t, time.Until(entry.Due), 80*time.Second, "the next attempt comes after the pause")
}

// TestWarningStaysOpenWhenThePageFails has a server that is too busy for the page about an outage.
// The incident of the warning before it must not be resolved then.
func TestWarningStaysOpenWhenThePageFails(t *testing.T) {
	t.Parallel()
	var requests []string
	busy := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			Action string `json:"event_action"`
		}
		json.NewDecoder(r.Body).Decode(&e)
		requests = append(requests, e.Action+r.URL.Path)
		if busy && (e.Action == "trigger" || strings.HasSuffix(r.URL.Path, "/alerts")) {
			w.WriteHeader(429)
			return
		}
		w.WriteHeader(202)
	}))
	defer srv.Close()
	for _, kind := range []string{"PagerDuty", "Opsgenie"} {
		w := every(t, srv.URL, nil)[kind]
		requests, busy = nil, true
		require.Error(t, w.Notify(t.Context(), outage), kind)
		require.Len(t, requests, 1, kind)
		busy = false
		require.NoError(t, w.Notify(t.Context(), outage), kind)
		require.Len(t, requests, 3, kind)
	}
}

// TestDocumentedRules checks requests against the rules of the vendors' documents, for messages
// with more, and with stranger, content than a service sends.
func TestDocumentedRules(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	all := every(t, r.URL, nil)
	for _, piece := range []string{"é", "😀"} {
		long := strings.Repeat(piece, 600)
		for _, link := range []string{"https://pos.example.org/" + strings.Repeat("x", 1500), "http://pos:8080/status/", "http://localhost/status/", ""} {
			for _, event := range []Event{Worse, Ended} {
				a := Alert{
					Key: long, Event: event, Level: Critical, Title: long, Check: long, Instance: long, Status: "fail", Output: long, Runbook: link,
					Since: noon.Add(5 * time.Second), Links: []Link{{"acknowledge", link}, {"silence", link}, {"", link}, {"extra", link}},
				}
				for range 12 {
					a.Reporters = append(a.Reporters, long)
					a.Values = append(a.Values, Value{Name: long, Component: long, Value: 1, Unit: long})
				}
				m := Message{Subject: long, Text: long, Level: Critical, Source: long, Key: "1", Time: noon, Link: link, Alerts: []Alert{a, a}}
				for kind, w := range all {
					require.NoError(t, w.Notify(t.Context(), m), kind)
					body := r.bodies[len(r.bodies)-1]
					require.NoError(t, documented(kind, body), "%s %q %q %s", kind, piece, link, event)
				}
				m.Alerts = nil
				for range 12 {
					m.Fields = append(m.Fields, Field{long, long})
				}
				for kind, w := range all {
					require.NoError(t, w.Notify(t.Context(), m), kind)
					require.NoError(t, documented(kind, r.bodies[len(r.bodies)-1]), "%s %q %q", kind, piece, link)
				}
			}
		}
	}
	_, err := NewNtfy("https://ntfy.sh/pos-alerts", "pos-alerts", nil)
	require.ErrorContains(t, err, "server alone")
}

// documented returns the first rule of a vendor that a request breaks.
func documented(kind string, body []byte) error {
	var v struct {
		Message, Alias, Description, Entity, Source, Note string
		Tags                                              []string
		Details                                           map[string]string
		Text                                              string
		Reply                                             struct {
			Rows [][]struct{ Text, URL string } `json:"inline_keyboard"`
		} `json:"reply_markup"`
		Actions []struct{ Label, URL string }
		Title   string
	}
	switch kind {
	case "Alertmanager":
		var list []struct {
			StartsAt, EndsAt time.Time
			Labels           map[string]string
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		for _, a := range list {
			if a.EndsAt.Before(a.StartsAt) {
				return fmt.Errorf("start time %v must be before end time %v", a.StartsAt, a.EndsAt)
			}
			if a.Labels["alertname"] == "" {
				return fmt.Errorf("no name")
			}
		}
		return nil
	case "Opsgenie":
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		details := 0
		for name, value := range v.Details {
			details += utf16Length(name) + utf16Length(value)
		}
		for _, tag := range v.Tags {
			if utf16Length(tag) > 50 {
				return fmt.Errorf("a tag of %d", utf16Length(tag))
			}
		}
		for what, n := range map[string][2]int{
			"message": {utf16Length(v.Message), 130}, "alias": {len(v.Alias), 512}, "description": {utf16Length(v.Description), 15000},
			"entity": {utf16Length(v.Entity), 512}, "source": {utf16Length(v.Source), 100}, "details": {details, 8000}, "note": {utf16Length(v.Note), 25000},
		} {
			if n[0] > n[1] {
				return fmt.Errorf("%s of %d characters", what, n[0])
			}
		}
	case "Telegram":
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		if n := utf16Length(v.Text); n > 4096 || n == 0 {
			return fmt.Errorf("a text of %d", n)
		}
		for _, row := range v.Reply.Rows {
			if len(row) == 0 || len(row) > 8 {
				return fmt.Errorf("a row of %d buttons", len(row))
			}
			for _, b := range row {
				if host, _, _ := strings.Cut(strings.SplitN(b.URL, "/", 4)[2], ":"); b.Text == "" || !strings.Contains(host, ".") {
					return fmt.Errorf("BUTTON_URL_INVALID: %q %s", b.Text, b.URL)
				}
			}
		}
	case "ntfy":
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		if len(v.Message) > 4096 || len(v.Actions) > 3 || v.Message == "" {
			return fmt.Errorf("%d bytes, %d actions", len(v.Message), len(v.Actions))
		}
		for _, a := range v.Actions {
			if a.Label == "" || a.URL == "" {
				return fmt.Errorf("an action without a label or URL")
			}
		}
	case "Google Chat":
		if len(body) > 32000 {
			return fmt.Errorf("%d bytes", len(body))
		}
	case "PagerDuty":
		if len(body) > 512<<10 {
			return fmt.Errorf("%d bytes", len(body))
		}
	}
	return nil
}

// TestNotifyEndsWithItsContext has a context that ends before the server answers.
func TestNotifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	for kind, w := range every(t, srv.URL, nil) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		require.Error(t, w.Notify(ctx, outage), kind)
		require.Less(t, time.Since(began), 5*time.Second, kind)
		cancel()
	}
}
