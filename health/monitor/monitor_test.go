package monitor_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/health/monitor"
	"github.com/mainstay-go/mainstay/notify"
)

// The whole way of a production service: a check fails, a message arrives, its link
// opens behind the login, and the link "acknowledge" works.
func TestProduction(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []notify.Message
	inbox := notify.Func(func(_ context.Context, m notify.Message) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m)
		return nil
	})
	db := health.Func("db", time.Second, func(context.Context) error { return errors.New("refused, the password is open-sesame") })
	db.Interval, db.FailAfter = 10*time.Millisecond, 1
	mon, err := monitor.New([]health.Check{db}, inbox, &monitor.Options{
		Health:  health.Options{Service: "pos", Logger: slog.New(slog.DiscardHandler)},
		Alert:   alert.Options{GroupWait: time.Millisecond, Instance: "pos-1"},
		History: history.Options{Password: "open-sesame"},
		Folder:  t.TempDir(), URL: "https://pos.example.com",
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mon.Mount(mux)
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	ended := make(chan error)
	go func() { ended <- mon.Run(context.Background()) }()
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) > 0 }, 30*time.Second, 5*time.Millisecond)
	require.ErrorContains(t, mon.Run(t.Context()), "already at work")
	mu.Lock()
	m := got[0]
	mu.Unlock()
	require.Equal(t, "[UNHEALTHY] pos: db", m.Subject)
	require.NotContains(t, m.Text+m.HTML, "open-sesame")
	require.Equal(t, "https://pos.example.com/uptime/", m.Link)

	do := func(method, target, cookie string, form url.Values) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, req)
		return w
	}
	require.NotContains(t, do(http.MethodGet, m.Link, "", nil).Body.String(), "refused")
	login := do(http.MethodPost, "/uptime/login", "", url.Values{"password": {"open-sesame"}})
	require.Equal(t, http.StatusSeeOther, login.Code)
	cookie, _, _ := strings.Cut(login.Header().Get("Set-Cookie"), ";")
	require.Contains(t, do(http.MethodGet, m.Link, cookie, nil).Body.String(), "refused")

	link := m.Alerts[0].Links[0].URL
	require.True(t, strings.HasPrefix(link, "https://pos.example.com/alert/?"), link)
	require.Equal(t, http.StatusOK, do(http.MethodPost, link, "", url.Values{"name": {"ada"}}).Code)
	require.Contains(t, mon.Alerts.Alerts().Open[0].AckBy, "ada")

	require.NoError(t, mon.Close())
	require.NoError(t, <-ended)
	require.NoError(t, mon.Close())
	require.Error(t, mon.Run(t.Context()))
}

func TestOptionsAreRefused(t *testing.T) {
	t.Parallel()
	to := notify.Func(func(context.Context, notify.Message) error { return nil })
	for want, o := range map[string]*monitor.Options{
		"name a Folder":     nil,
		"URL must be":       {Folder: t.TempDir(), URL: "pos.example.com"},
		"without a passwor": {Folder: t.TempDir(), Alert: alert.Options{StatusURL: "ftp://x"}},
	} {
		_, err := monitor.New(nil, to, o)
		require.ErrorContains(t, err, want)
	}
	_, err := monitor.New(nil, nil, &monitor.Options{Folder: t.TempDir()})
	require.ErrorContains(t, err, "needs a notifier")
}
