package health_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/history"
)

// shownPage serves the page of a service with a check in each state, long names
// and long texts.
func shownPage(t *testing.T) (url string) {
	t.Helper()
	down := health.Func("database", time.Second, func(context.Context) error {
		return errors.New("dial tcp 10.0.0.5:3306: connect: " + strings.Repeat("refused", 40))
	})
	down.Runbook = "https://runbooks.example/database"
	disk := health.Gauge("a-name-that-is-longer-than-a-phone-is-wide-when-it-is-upright", func(context.Context) (float64, error) {
		return 85, nil
	}, &health.GaugeOptions{Unit: "percent", Limits: health.Limits{Warn: 80, Fail: 90}})
	r, err := health.New([]health.Check{
		down, disk,
		health.Func("fine", time.Second, func(context.Context) error { return nil }),
		health.Func("later", time.Second, func(context.Context) error { return nil }),
	}, &health.Options{Authorize: func(*http.Request) bool { return true }, Service: "pos-1"})
	require.NoError(t, err)
	_, err = r.RunOnce(t.Context(), "database", disk.Name, "fine")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.AddNotices(func() []string {
		return []string{"Incident since 10:44 UTC; 1 message sent, the last at 10:45 UTC.", "Silenced: " + strings.Repeat("long-name", 12)}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.Handler().ServeHTTP(w, req.WithContext(ctx)) // nobody waits for "later", which stays unchecked
	}))
	t.Cleanup(server.Close)
	return server.URL + "/status/?refresh=0"
}

// lowContrast lists the texts and shapes that are too close to what is behind
// them (WCAG 2.2, 1.4.3 and 1.4.11), as the browser has computed the colours.
const lowContrast = `(() => {
const rgb = s => { const m = s.match(/[\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m; };
const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
const ratio = (a, b) => { const x = light(a), y = light(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
const bad = []; let seen = 0;
const look = (e, colour, least, what) => { seen++; const r = ratio(rgb(colour), ground(e)); if (r < least) bad.push(what + ": " + r.toFixed(2)); };
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) { const n = walk.currentNode; if (n.data.trim()) look(n.parentElement, getComputedStyle(n.parentElement).color, 4.5, n.data.trim()); }
for (const e of document.querySelectorAll("svg.i")) look(e, getComputedStyle(e).fill, 3, "icon");
for (const e of document.querySelectorAll("svg.t path")) look(e, getComputedStyle(e).stroke, 3, "strip");
return {bad, seen};
})()`

func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	url := shownPage(t)
	for scheme, ground := range map[string]string{"light": "rgb(244, 245, 247)", "dark": "rgb(15, 19, 23)"} {
		b.open(url, 1000, scheme)
		// Were the style sheet's hash in the policy wrong, this would be white.
		var background string
		b.evaluate(`getComputedStyle(document.body).backgroundColor`, &background)
		require.Equal(t, ground, background)
		var contrast struct {
			Bad  []string
			Seen int
		}
		b.evaluate(lowContrast, &contrast)
		require.Empty(t, contrast.Bad, scheme)
		require.Greater(t, contrast.Seen, 40, "the script looks at the page")
	}

	// Every link is reached by the keyboard, in the order of the page, and the one
	// that has the focus is marked.
	var links, reached []string
	b.evaluate(`[...document.links].map(a => a.textContent)`, &links)
	require.Len(t, links, 6)
	for range links {
		b.tab()
		var focus struct {
			Text    string
			Outline string
			Width   float64
		}
		b.evaluate(`(() => { const e = document.activeElement, s = getComputedStyle(e);
return {Text: e.textContent, Outline: s.outlineStyle, Width: parseFloat(s.outlineWidth)}; })()`, &focus)
		require.Equal(t, "solid", focus.Outline, focus.Text)
		require.GreaterOrEqual(t, focus.Width, 2.0)
		reached = append(reached, focus.Text)
	}
	require.Equal(t, links, reached)
	require.Contains(t, reached, "Runbook of database", "each says where it leads")
}

// Nothing is wider than the screen, and the rows stay a table for those who hear
// the page, from a phone to a desk and with text of twice the size.
func TestPageAtEveryWidthAndTextSize(t *testing.T) {
	t.Parallel()
	url := shownPage(t)
	for _, size := range []int{16, 32} {
		b := newBrowser(t, fmt.Sprintf("--blink-settings=defaultFontSize=%d", size)) // a reader's own setting
		for _, width := range []int{320, 600, 800, 1000, 1400} {
			b.open(url, width, "light")
			var page struct {
				Text           float64
				Scroll, Client int
				Hidden         []string
			}
			b.evaluate(`(() => { const e = document.documentElement;
return {Text: parseFloat(getComputedStyle(document.body).fontSize), Scroll: e.scrollWidth, Client: e.clientWidth,
  Hidden: [...document.querySelectorAll("tbody td, tbody th, tbody div, h1, header p")].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.textContent)}; })()`, &page)
			require.InDelta(t, size, page.Text, 0.1, "the setting has its effect")
			require.LessOrEqual(t, page.Scroll, page.Client, "%d px: content is wider than the screen", width)
			require.Empty(t, page.Hidden, "%d px: text runs out of its box", width)

			var tree struct {
				Nodes []struct {
					Ignored bool
					Role    struct{ Value string }
				}
			}
			b.call("Accessibility.getFullAXTree", nil, &tree)
			roles := map[string]int{}
			for _, n := range tree.Nodes {
				if !n.Ignored {
					roles[n.Role.Value]++
				}
			}
			require.Equal(t, 1, roles["heading"], "%d px: %v", width, roles)
			require.Equal(t, 1, roles["table"], "%d px: %v", width, roles)
			require.Equal(t, 5, roles["row"], "%d px", width)
			require.Equal(t, 4, roles["rowheader"], "%d px", width)
			require.Equal(t, 4, roles["columnheader"], "%d px", width)
			require.Equal(t, 12, roles["cell"], "%d px", width)
		}
	}
}

// uptimePage serves the pages of the history of 12 checks, of which the last one fails, with
// long names and texts.
func uptimePage(t *testing.T) (url string) {
	t.Helper()
	var checks []health.Check
	for i := range 12 {
		checks = append(checks, health.Func(fmt.Sprintf("%s-%02d", strings.Repeat("LongNameOfACheck", 3), i), time.Second, func(context.Context) error {
			if i == 11 {
				return errors.New(strings.Repeat("refused", 60))
			}
			return nil
		}))
	}
	reg, err := health.New(checks, &health.Options{Service: strings.Repeat("service", 10), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = reg.RunOnce(t.Context())
	require.NoError(t, err)
	reg.SetAlerts(func() health.Alerts {
		a := health.Alert{
			ID: "1", Check: checks[11].Name, Instance: strings.Repeat("pod", 20), State: "fail", Since: time.Now(), Output: strings.Repeat("refused", 60),
			AckBy: "ada", SilencedUntil: time.Now().Add(time.Hour), Actions: []health.AlertAction{{Name: "silence", URL: "https://pos.example/alert/?x=1"}},
		}
		closed := a
		closed.ID, closed.Ended, closed.Ending = "2", time.Now(), "recovered"
		return health.Alerts{Open: []health.Alert{a}, Closed: []health.Alert{closed}}
	})
	store, err := history.Files(t.TempDir())
	require.NoError(t, err)
	past, err := history.New(reg, store, &history.Options{
		Public: reg.Names(), Password: "correct horse", Authorize: func(r *http.Request) bool { return r.URL.RawQuery == "all" },
	})
	require.NoError(t, err)
	require.NoError(t, past.Announce(t.Context(), history.Announcement{Text: "Maintenance at 22:00.\n" + strings.Repeat("long", 50), Until: time.Now().Add(time.Hour)}))
	mux := http.NewServeMux()
	past.Mount(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/uptime/"
}

func TestUptimePageInABrowser(t *testing.T) {
	t.Parallel()
	url := uptimePage(t)
	b := newBrowser(t)
	for _, path := range []string{"", "?all"} {
		for width, scheme := range map[int]string{320: "light", 640: "dark"} { // 640 px is a screen of 1280 px at 200 %
			b.open(url+path, width, scheme)
			var page struct {
				Scroll, Client  int
				Headings        []string
				Links, Controls int
			}
			b.evaluate(`(() => { const e = document.documentElement, all = s => [...document.querySelectorAll(s)];
return {Scroll: e.scrollWidth, Client: e.clientWidth, Headings: all("h1,h2,h3").map(h => h.tagName + " " + h.textContent),
  Links: document.links.length, Controls: all("input,textarea,button").length}; })()`, &page)
			require.LessOrEqual(t, page.Scroll, page.Client, "%s %d px: content is wider than the screen", path, width)
			require.Contains(t, page.Headings[0], "H1 Failing")
			require.Equal(t, []string{"H2 Announcement", "H2 Open alerts"}, page.Headings[1:3])
			at := slices.Index(page.Headings, "H2 Checks")
			require.Regexp(t, "^H3 Failing .*-11$", page.Headings[at+1], "the worst check is the first")
			require.Equal(t, "H2 Closed alerts", page.Headings[at+13])
			var contrast struct {
				Bad  []string
				Seen int
			}
			b.evaluate(lowContrast, &contrast)
			require.Empty(t, contrast.Bad, scheme)

			// Tab visits every link and every field, each with a mark.
			seen := map[string]bool{}
			for range page.Links + page.Controls {
				b.tab()
				var focus struct {
					Place   string
					Outline string
					Named   bool
				}
				b.evaluate(`(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
return {Place: e.tagName + Math.round(r.x + scrollX) + "," + Math.round(r.y + scrollY), Outline: s.outlineStyle + s.outlineWidth,
  Named: !!(e.textContent.trim() || e.labels && e.labels.length)}; })()`, &focus)
				require.Equal(t, "solid3px", focus.Outline, focus.Place)
				require.True(t, focus.Named, focus.Place)
				seen[focus.Place] = true
			}
			require.Len(t, seen, page.Links+page.Controls, "%s", path)
		}
	}
}
