package history_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/history"
)

// announce sends the form of the page.
func (s *service) announce(t *testing.T, text, hours string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	body := url.Values{"text": {text}, "hours": {hours}}.Encode()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/uptime/announce", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(req)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, req)
	return w
}

// An announcement that a person writes on one instance is on the pages of all instances, for
// every reader, until it ends or is withdrawn.
func TestAnnouncement(t *testing.T) {
	store := memory(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(t, store, "pod-a"), newService(t, store, "pod-b")
		defer a.stop()
		defer b.stop()
		synctest.Wait()
		person := func(r *http.Request) { r.AddCookie(a.login(t, "correct horse").Result().Cookies()[0]) }
		const text = "Maintenance <tonight> at 22:00, password=S3cr3t9x"

		require.Equal(t, 404, a.announce(t, text, "2", nil).Code, "a stranger")
		foreign := func(r *http.Request) { person(r); r.Header.Set("Sec-Fetch-Site", "cross-site") }
		require.Equal(t, 403, a.announce(t, text, "2", foreign).Code)
		require.Equal(t, 400, a.announce(t, text, "soon", person).Code)
		require.Equal(t, 400, a.announce(t, text, "745", person).Code)
		require.Equal(t, 400, a.announce(t, strings.Repeat("x", 1001), "", person).Code)
		require.NotContains(t, a.get(t, "/uptime/").Body.String(), "Announcement")

		w := a.announce(t, text, "20", person)
		require.Equal(t, 303, w.Code)
		require.Equal(t, "./", w.Header().Get("Location"))
		require.Contains(t, a.get(t, "/uptime/").Body.String(), "Maintenance &lt;tonight&gt; at 22:00")
		time.Sleep(saveEvery + time.Minute)
		for _, path := range []string{"/uptime/", "/uptime/json", "/uptime/feed"} {
			body := b.get(t, path).Body.String()
			require.Contains(t, body, "at 22:00", path)
			require.NotContains(t, body, "S3cr3t9x", path)
			require.NotContains(t, body, "<tonight>", path)
		}
		var report history.Report
		require.NoError(t, json.Unmarshal(b.get(t, "/uptime/json").Body.Bytes(), &report))
		require.InDelta(t, 20, report.Announcement.Until.Sub(report.Announcement.Set).Hours(), 0.01)
		time.Sleep(14 * time.Hour)
		require.NotContains(t, b.get(t, "/uptime/").Body.String(), "at 22:00", "it is over")

		require.Equal(t, 303, a.announce(t, "again", "", person).Code)
		require.Equal(t, 303, a.announce(t, "", "", person).Code)
		require.NotContains(t, a.get(t, "/uptime/").Body.String(), "again")
		time.Sleep(saveEvery + time.Minute)
		require.Nil(t, b.past.Report(true).Announcement)
		require.Error(t, a.past.Announce(t.Context(), history.Announcement{Text: "x", Until: time.Now().Add(-time.Hour)}))
	})
}

// A service that keeps only the hash of its generated password has the form too.
func TestPasswordHash(t *testing.T) {
	reg, err := health.New(nil, &health.Options{Service: "pos", Logger: quiet})
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("generated once"))
	past, err := history.New(reg, memory(t), &history.Options{PasswordHash: sum[:]})
	require.NoError(t, err)
	s := &service{mux: http.NewServeMux()}
	past.Mount(s.mux)
	require.Contains(t, s.get(t, "/uptime/").Body.String(), `type="password"`)
	require.Equal(t, 403, s.login(t, "generated twice").Code)
	cookies := s.login(t, "generated once").Result().Cookies()
	require.Len(t, cookies, 1)
	require.NotContains(t, s.get(t, "/uptime/", cookies...).Body.String(), `type="password"`)

	_, err = history.New(reg, memory(t), &history.Options{PasswordHash: sum[:], Password: "generated once"})
	require.ErrorContains(t, err, "not both")
	_, err = history.New(reg, memory(t), &history.Options{PasswordHash: sum[:20]})
	require.ErrorContains(t, err, "32")
}
