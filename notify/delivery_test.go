package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a transport that answers itself. answer gets the summary of an event of PagerDuty.
type server func(r *http.Request, summary string) (int, error)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	var e struct {
		Payload struct{ Summary string }
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return nil, err
	}
	code, err := s(r, e.Payload.Summary)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("")), Request: r, Header: http.Header{"Retry-After": {"60"}}}, nil
}

// about returns a message with n alerts.
func about(n int) Message {
	m := Message{Subject: "down", Source: "pos", Key: "k", Time: noon}
	for i := range n {
		m.Alerts = append(m.Alerts, Alert{Key: fmt.Sprint("a", i), Event: Opened, Level: Critical, Title: fmt.Sprint("a", i), Status: "fail"})
	}
	return m
}

func pagerOf(t testing.TB, s server) *Webhook {
	t.Helper()
	w, err := NewPagerDuty(PagerDutyEvents, "R", &WebhookOptions{Client: &http.Client{Transport: s}})
	require.NoError(t, err)
	return w
}

// The error says which alerts of a message arrived, and a repetition sends the others.
func TestOutcomeOfEachAlert(t *testing.T) {
	t.Parallel()
	var got []string
	codes := map[string]int{"a1": 400, "a2": 429}
	w := pagerOf(t, func(_ *http.Request, summary string) (int, error) {
		got = append(got, summary)
		if summary == "a3" {
			return 0, errors.New("the connection broke")
		}
		if code := codes[summary]; code != 0 {
			return code, nil
		}
		return 202, nil
	})
	err := w.Notify(t.Context(), about(5))
	var known *DeliveryError
	require.ErrorAs(t, err, &known)
	require.Equal(t, []string{"a0", "a4"}, known.Accepted)
	require.Equal(t, []string{"a2"}, known.Refused) // the others may have arrived
	require.Equal(t, time.Minute, pauseOf(err))
	codes = nil
	require.Error(t, w.Notify(t.Context(), about(5)))
	require.Equal(t, []string{"a0", "a1", "a2", "a3", "a4", "a1", "a2", "a3"}, got)
}

// A server that is slow, or that hangs for one alert, gets the other alerts.
func TestDeadlineOfEachRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := map[string]int{}
		w := pagerOf(t, func(r *http.Request, summary string) (int, error) {
			wait := 700 * time.Millisecond
			if summary == "a0" {
				wait = time.Hour
			}
			select {
			case <-time.After(wait):
				got[summary]++
				return 202, nil
			case <-r.Context().Done():
				return 0, r.Context().Err()
			}
		})
		start := time.Now()
		err := w.Notify(t.Context(), about(MaxAlerts))
		var known *DeliveryError
		require.ErrorAs(t, err, &known)
		require.LessOrEqual(t, time.Since(start), time.Minute)
		require.Len(t, got, len(known.Accepted))
		require.Greater(t, len(got), 60)
		require.Contains(t, known.Refused, "a99", "it was not sent")
		require.NotContains(t, known.Refused, "a0", "it may have arrived")
		require.Error(t, w.Notify(t.Context(), about(MaxAlerts)))
		require.Len(t, got, MaxAlerts-1)
		for key, n := range got {
			require.Equal(t, 1, n, key)
		}
	})
}

func TestCertainty(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]certainty{302: unknown, 400: unknown, 401: refused, 404: refused, 408: unknown, 409: unknown, 413: refused, 429: refused, 500: unknown, 503: unknown, 504: unknown} {
		w := pagerOf(t, func(*http.Request, string) (int, error) { return code, nil })
		require.Equal(t, outcomes{want}, outcomesOf(about(1), w.Notify(t.Context(), about(1))), code)
	}
	// No connection: nothing was sent.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	w, err := NewPagerDuty("http://"+l.Addr().String(), "R", nil)
	require.NoError(t, err)
	require.Equal(t, outcomes{refused, refused}, outcomesOf(about(2), w.Notify(t.Context(), about(2))))
	mail, err := NewEmail(l.Addr().String(), "a@example.org", []string{"b@example.org"}, nil)
	require.NoError(t, err)
	require.Equal(t, outcomes{refused}, outcomesOf(about(1), mail.Notify(t.Context(), about(1))))
}

// A message with too many alerts is an error, never a shorter message.
func TestTooManyAlerts(t *testing.T) {
	t.Parallel()
	m := about(MaxAlerts + 1)
	w := pagerOf(t, func(*http.Request, string) (int, error) { t.Error("a request was sent"); return 202, nil })
	mail, err := NewEmail("mail.example.org:587", "a@example.org", []string{"b@example.org"}, nil)
	require.NoError(t, err)
	spool := newSpool(t, t.TempDir(), w, SpoolOptions{})
	for name, n := range map[string]Notifier{"webhook": w, "mail": mail, "spool": spool} {
		err := n.Notify(t.Context(), m)
		require.ErrorContains(t, err, "the message has 101 alerts, and a message holds 100", name)
		require.Equal(t, whole(len(m.Alerts), refused), outcomesOf(m, err), name)
	}
}

// Each channel has its outcomes, and an alert is accepted if each channel has it.
func TestMultiOutcomes(t *testing.T) {
	t.Parallel()
	m := about(3)
	first := Func(func(_ context.Context, m Message) error {
		return &DeliveryError{Accepted: []string{"a0", "a1"}, Refused: []string{"a2"}, Err: errors.New("first")}
	})
	second := Func(func(_ context.Context, m Message) error {
		return &DeliveryError{Accepted: []string{"a0"}, Refused: []string{"a1", "a2"}, Err: errors.New("second")}
	})
	all, err := NewMulti([]Notifier{first, second}, nil)
	require.NoError(t, err)
	require.Equal(t, outcomes{accepted, unknown, refused}, outcomesOf(m, all.Notify(t.Context(), m)))
}

type brokenError struct{ code int }

func (e *brokenError) Error() string { return fmt.Sprint(e.code) }

// A channel whose code fails ends neither a Multi nor a Spool.
func TestBrokenChannels(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]Func{
		"panics":             func(context.Context, Message) error { panic("no") },
		"ends its goroutine": func(context.Context, Message) error { runtime.Goexit(); return nil },
		"typed nil":          func(context.Context, Message) error { var e *brokenError; return e },
		"wrapped typed nil":  func(context.Context, Message) error { var e *brokenError; return fmt.Errorf("x: %w", e) },
	} {
		all, err := NewMulti([]Notifier{n, n}, &MultiOptions{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.Error(t, all.Notify(t.Context(), about(1)), name)
		spool := newSpool(t, t.TempDir(), n, SpoolOptions{})
		require.NoError(t, spool.Notify(t.Context(), about(1)), name)
		require.Equal(t, uint64(1), spool.Stats().Failed, name)
	}
}
