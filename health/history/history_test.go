package history_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

var quiet = slog.New(slog.DiscardHandler)

// saveEvery is long, since a test of months would write to the disk for minutes.
const saveEvery = 6 * time.Hour

// service is one process of a service with two checks.
type service struct {
	reg  *health.Registry
	past *history.History
	mux  *http.ServeMux
	bad  atomic.Bool
	stop func()
}

func newService(t *testing.T, store history.Store, instance string) *service {
	t.Helper()
	s := &service{mux: http.NewServeMux()}
	db := health.Func("db", time.Second, func(context.Context) error {
		time.Sleep(30 * time.Millisecond)
		if s.bad.Load() {
			return errors.New("dial postgres://pos:S3cr3t@10.0.0.7: refused")
		}
		return nil
	})
	db.Interval = 15 * time.Minute
	hidden := health.Func("hidden", time.Second, func(context.Context) error { return nil })
	hidden.Interval = 15 * time.Minute
	var err error
	s.reg, err = health.New([]health.Check{db, hidden}, &health.Options{Service: "pos", Logger: quiet})
	require.NoError(t, err)
	s.past, err = history.New(s.reg, store, &history.Options{Instance: instance, Password: "correct horse", Public: []string{"db"}, SaveEvery: saveEvery, Logger: quiet})
	require.NoError(t, err)
	s.past.Mount(s.mux)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- s.reg.Run(ctx) }()
	go func() { ended <- s.past.Run(ctx) }()
	s.stop = func() {
		cancel()
		require.NoError(t, errors.Join(<-ended, <-ended))
	}
	return s
}

func (s *service) get(t *testing.T, path string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for _, c := range cookies {
		req.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, req)
	return w
}

func (s *service) login(t *testing.T, password string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/uptime/login", strings.NewReader(url.Values{"password": {password}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		req.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, req)
	return w
}

func memory(t *testing.T) history.Store {
	t.Helper()
	store, err := history.Files(t.TempDir())
	require.NoError(t, err)
	return store
}

// Uptime and latency of 90 days are there after restarts, bounded, and seen by every
// instance.
func TestNinetyDaysSurviveRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := history.Files(dir)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		for i := range 24 { // a restart every 4 days, 96 days
			s := newService(t, store, "pod-a")
			time.Sleep(4*24*time.Hour - 150*time.Minute)
			s.bad.Store(i == 22) // 2.4 h of outage, some days before the end
			time.Sleep(144 * time.Minute)
			s.stop()
			time.Sleep(6 * time.Minute)
		}
		s := newService(t, store, "pod-b")
		defer s.stop()
		time.Sleep(12 * time.Minute)
		rep := s.past.Report(true)
		require.Equal(t, "db", rep.Checks[0].Name)
		up := rep.Checks[0].Uptime
		require.InDelta(t, 100, up["24h"], 0.001)
		require.InDelta(t, 100*(1-2.4/(7*24)), up["7d"], 0.3)
		require.InDelta(t, 100*(1-2.4/(30*24)), up["30d"], 0.1)
		require.InDelta(t, 100*(1-2.4/(90*24)), up["90d"], 0.05)
		require.InDelta(t, 30, rep.Checks[0].P50, 20)
		require.Len(t, rep.Instances, 1, "pod-a was stopped")
		page := s.get(t, "/uptime/").Body.String()
		require.Contains(t, page, "90 days")
		require.Contains(t, page, `<svg class="g"`)
	})
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(files), 91+1+3, "days that are too old are deleted")
	total := int64(0)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		total += info.Size()
	}
	require.Less(t, total, int64(2<<20), "two checks, 90 days")
}

// A process that starts with a clock that is far ahead deletes no day of any instance.
func TestClockThatIsAheadAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := history.Files(dir)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		days := func() int {
			found, err := store.Load(t.Context(), "day/2000-01-0")
			require.NoError(t, err)
			return len(found)
		}
		run := func(name string, d time.Duration) {
			s := newService(t, store, name)
			time.Sleep(d)
			s.stop()
		}
		run("pod-a", 47*time.Hour)
		require.Equal(t, 2, days())
		time.Sleep(200 * 24 * time.Hour) // what the next process sees
		run("pod-b", 30*time.Minute)
		require.Equal(t, 2, days(), "its clock may be wrong")
		run("pod-b", 2*time.Hour)
		require.Equal(t, 0, days(), "too old")
	})
}

// Processes that always end within the hour do not keep days for ever.
func TestShortProcessesDeleteToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := history.Files(dir)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		for range 30 {
			db := health.Func("db", time.Second, func(context.Context) error { return nil })
			reg, err := health.New([]health.Check{db}, &health.Options{Logger: quiet})
			require.NoError(t, err)
			past, err := history.New(reg, store, &history.Options{Instance: "pod-a", Keep: 5 * 24 * time.Hour, SaveEvery: saveEvery, Logger: quiet})
			require.NoError(t, err)
			_, err = reg.RunOnce(t.Context())
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			require.NoError(t, past.Run(ctx))
			cancel()
			time.Sleep(24 * time.Hour)
		}
		found, err := store.Load(t.Context(), "day/")
		require.NoError(t, err)
		require.Len(t, found, 12, "five days touch six dates")
		require.Contains(t, found, "day/2000-01-30/pod-a", "the newest")
	})
}

// Instances come and go with each deployment. One that was stopped is gone, one that was killed is
// lost for a week, whatever its clock said, and a wrong clock makes no instance lost.
func TestInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := history.Files(dir)
	require.NoError(t, err)
	write := func(name string, at time.Time) {
		document, err := json.Marshal(map[string]any{"instance": name, "time": at, "status": "pass", "checks": map[string]any{}})
		require.NoError(t, err)
		require.NoError(t, store.Save(t.Context(), "now/"+name, document))
	}
	synctest.Test(t, func(t *testing.T) {
		listed := func(s *service) map[string]bool {
			m := map[string]bool{}
			for _, i := range s.past.Report(true).Instances {
				m[i.Name] = i.Lost
				require.False(t, i.Seen.After(time.Now()), i.Name)
			}
			return m
		}
		a := newService(t, store, "pod-a")
		time.Sleep(saveEvery + time.Minute)
		for i := range 20 {
			s := newService(t, store, fmt.Sprint("pod-", i))
			time.Sleep(time.Minute)
			s.stop()
		}
		write("killed", time.Now().Add(-time.Minute))
		write("ahead", time.Now().Add(2*365*24*time.Hour))
		write("behind", time.Now().Add(-24*time.Hour))
		time.Sleep(saveEvery)
		require.Equal(t, map[string]bool{"pod-a": false, "killed": false, "ahead": false, "behind": false}, listed(a))
		for i := range 4 { // only one of them goes on saving
			write("behind", time.Now().Add(-24*time.Hour+time.Duration(i)))
			time.Sleep(saveEvery)
		}
		require.Equal(t, map[string]bool{"pod-a": false, "killed": true, "ahead": true, "behind": false}, listed(a))
		time.Sleep(8 * 24 * time.Hour)
		require.Equal(t, map[string]bool{"pod-a": false}, listed(a))
		a.stop()
		left, err := store.Load(t.Context(), "now/")
		require.NoError(t, err)
		require.Empty(t, left, "the store does not grow with each deployment")
	})
}

func TestWhatStrangersSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, memory(t), "pod-a")
		defer s.stop()
		s.reg.SetAlerts(func() health.Alerts {
			return health.Alerts{
				Open:   []health.Alert{{ID: "1", Check: "db", Instance: "pod-a", State: "fail", Since: time.Now(), Output: "password=S3cr3t9x"}},
				Closed: []health.Alert{{ID: "2", Check: "hidden", State: "warn", Since: time.Now(), Ended: time.Now(), Ending: "recovered"}},
			}
		})
		s.bad.Store(true)
		time.Sleep(20 * time.Minute)
		var cookie *http.Cookie
		for _, path := range []string{"/uptime/", "/uptime/json", "/uptime/feed", "/uptime/badge/db.svg"} {
			w := s.get(t, path)
			require.Equal(t, 200, w.Code, path)
			for _, secret := range []string{"hidden", "pod-a", "10.0.0.7", "S3cr3t", "refused", "<script"} {
				require.NotContains(t, w.Body.String(), secret, path)
			}
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		}
		require.Equal(t, 404, s.get(t, "/uptime/badge/hidden.svg").Code)
		require.Equal(t, 404, s.get(t, "/uptime/badge/db.svg?span=1y").Code)
		require.Equal(t, 404, s.get(t, "/uptime/badge/db.svg?show=output").Code)
		require.Contains(t, s.get(t, "/uptime/badge/db.svg?show=state").Body.String(), "db: failing")
		require.Regexp(t, `db p95 24h: [0-9.]+ ms`, s.get(t, "/uptime/badge/db.svg?show=latency&span=24h").Body.String())
		require.Regexp(t, `db 7d: [0-9.]+ %`, s.get(t, "/uptime/badge/db.svg?span=7d").Body.String())

		w := s.login(t, "wrong horse")
		require.Equal(t, 403, w.Code)
		require.Contains(t, w.Body.String(), "The password is wrong.")
		w = s.login(t, "correct horse")
		require.Equal(t, 303, w.Code)
		cookie = w.Result().Cookies()[0]
		require.True(t, cookie.HttpOnly)
		page := s.get(t, "/uptime/", cookie).Body.String()
		for _, want := range []string{"hidden", "pod-a", "10.0.0.7", "recovered", "password=***"} {
			require.Contains(t, page, want)
		}
		require.NotContains(t, page, "S3cr3t")
		require.NotContains(t, page, `type="password"`)

		forged := *cookie
		forged.Value = "9999999999." + strings.Split(cookie.Value, ".")[1]
		require.NotContains(t, s.get(t, "/uptime/", &forged).Body.String(), "hidden")
		time.Sleep(13 * time.Hour)
		require.NotContains(t, s.get(t, "/uptime/", cookie).Body.String(), "hidden", "the cookie has ended")

		var feed struct {
			Entries []struct {
				Title string `xml:"title"`
			} `xml:"entry"`
		}
		require.NoError(t, xml.Unmarshal(s.get(t, "/uptime/feed").Body.Bytes(), &feed))
		require.Len(t, feed.Entries, 1)
		var rep history.Report
		require.NoError(t, json.Unmarshal(s.get(t, "/uptime/json").Body.Bytes(), &rep))
		require.Equal(t, health.Fail, rep.Checks[0].Status)

		for range 20 {
			w = s.login(t, "guess")
		}
		require.Equal(t, 429, w.Code)
		require.Equal(t, 429, s.login(t, "correct horse", &forged).Code)
		require.Equal(t, 303, s.login(t, "correct horse", cookie).Code, "who has logged in before is not locked out by guesses")
		for range 20 {
			w = s.login(t, "guess", cookie)
		}
		require.Equal(t, 429, w.Code, "a stolen cookie does not make guesses free")
	})
}

// A browser logs in wherever the pages are: at the root, behind a proxy that removes a
// prefix, or behind a handler that adds a slash to every path.
func TestLoginInABrowser(t *testing.T) {
	addSlash := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = strings.TrimSuffix(r.URL.Path, "/") + "/"
			next.ServeHTTP(w, r)
		})
	}
	for _, c := range []struct {
		name, base string
		around     func(http.Handler) http.Handler
	}{
		{"plain", "/uptime", func(h http.Handler) http.Handler { return h }},
		{"prefix", "/ops/uptime", func(h http.Handler) http.Handler { return http.StripPrefix("/ops", h) }},
		{"proxy", "/ops/uptime", func(h http.Handler) http.Handler {
			return http.StripPrefix("/ops", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.RequestURI = r.URL.RequestURI()
				h.ServeHTTP(w, r)
			}))
		}},
		{"slash", "/uptime", addSlash},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, memory(t), "pod-a")
			defer s.stop()
			server := httptest.NewServer(c.around(s.mux))
			defer server.Close()
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			client := &http.Client{Jar: jar}
			get := func(path string) string {
				resp, err := client.Get(server.URL + c.base + path)
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, 200, resp.StatusCode, path)
				return resp.Request.URL.Path + "\n" + string(body)
			}
			require.True(t, strings.HasPrefix(get(""), c.base+"/\n"), "the page's own path ends with a slash")
			for _, path := range []string{"/login", "/login/"} {
				jar, err = cookiejar.New(nil)
				require.NoError(t, err)
				client.Jar = jar
				require.NotContains(t, get("/"), "hidden")
				resp, err := client.PostForm(server.URL+c.base+path, url.Values{"password": {"correct horse"}})
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, 200, resp.StatusCode)
				require.Equal(t, c.base+"/", resp.Request.URL.Path)
				require.Contains(t, get(""), "hidden")
				for _, path := range []string{"/json", "/feed", "/badge/hidden.svg"} {
					require.NotContains(t, get(path), "<form", path)
					get(path + "/")
				}
			}
		})
	}
}

// failing is a store that is out of reach for a while, and has a damaged document.
type failing struct {
	history.Store
	down atomic.Bool
}

func (f *failing) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	if f.down.Load() {
		return nil, errors.New("out of reach")
	}
	return f.Store.Load(ctx, prefix)
}

func (f *failing) Save(ctx context.Context, key string, document []byte) error {
	if f.down.Load() {
		return errors.New("out of reach")
	}
	return f.Store.Save(ctx, key, document)
}

func TestStoreThatFails(t *testing.T) {
	store := &failing{Store: memory(t)}
	for key, document := range map[string]string{"day/2000-01-01/x": `{"date":"2000-01-01","instance":"x","checks":{"a":{"step":300,"cells":{"999":{}}}}}`, "day/x": "{", "now/x": "[]"} {
		require.NoError(t, store.Save(t.Context(), key, []byte(document)))
	}
	synctest.Test(t, func(t *testing.T) {
		store.down.Store(true)
		s := newService(t, store, "pod-a")
		s.bad.Store(true)
		time.Sleep(12 * time.Hour) // many intervals: where in an interval the change falls does not matter
		s.bad.Store(false)
		time.Sleep(12 * time.Hour)
		require.InDelta(t, 50, s.past.Report(true).Checks[0].Uptime["24h"], 12, "this process's results are shown")
		store.down.Store(false)
		time.Sleep(time.Minute)
		s.stop()
		again := newService(t, store, "pod-a")
		defer again.stop()
		time.Sleep(2 * time.Minute)
		require.InDelta(t, 50, again.past.Report(true).Checks[0].Uptime["24h"], 12, "nothing of the outage of the store is missing")
	})
}

func storeContract(t *testing.T, store history.Store) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":1}`)))
	require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", []byte(`{"x":2}`)))
	require.NoError(t, store.Save(ctx, "now/a", []byte(`{"y":"ä*"}`)))
	found, err := store.Load(ctx, "day/2026-11-28")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"day/2026-11-28/a%2Fb": []byte(`{"x":2}`)}, found)
	require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", nil))
	require.NoError(t, store.Save(ctx, "day/2026-11-28/a%2Fb", nil), "deleting twice is no error")
	found, err = store.Load(ctx, "day/")
	require.NoError(t, err)
	require.Empty(t, found)
	found, err = store.Load(ctx, "")
	require.NoError(t, err)
	require.Len(t, found, 1)
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	store, err := history.Files(dir)
	require.NoError(t, err)
	storeContract(t, store)
	require.NoError(t, store.Save(t.Context(), "../../escape", []byte("x")))
	require.NoFileExists(t, filepath.Join(dir, "..", "..", "escape.json"))
}

func TestRedis(t *testing.T) {
	server := testserver.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	store, err := history.Redis(client, "pos:health")
	require.NoError(t, err)
	storeContract(t, store)
}

func TestConstructionRefuses(t *testing.T) {
	reg, err := health.New(nil, &health.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	for _, o := range []*history.Options{{Keep: 91 * 24 * time.Hour}, {SaveEvery: -1}, {Password: "short"}} {
		_, err := history.New(reg, memory(t), o)
		require.ErrorContains(t, err, "history: ")
	}
	_, err = history.New(reg, nil, nil)
	require.Error(t, err)
	_, err = history.Database(nil, history.SQLite, "t")
	require.Error(t, err)
	_, err = history.Redis(nil, "x")
	require.Error(t, err)
	_, err = history.Files("")
	require.Error(t, err)
}
