package health

import (
	"context"
	"errors"
	"fmt"
	"html"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// busyRegistry is a service on a bad day: twelve checks in every state.
func busyRegistry(t testing.TB) *Registry {
	fixed := func(name string, critical bool, res Result) Check {
		return Check{
			Name: name, Timeout: time.Second, Critical: critical, Runbook: "https://runbooks.example/" + name,
			Checker: CheckerFunc(func(context.Context) Result { return res }),
		}
	}
	percent := func(v, warn, fail float64) []Measurement {
		return []Measurement{{Name: "utilization", Value: v, Unit: "percent", Limits: Limits{Warn: warn, Fail: fail, Clear: 2}}}
	}
	checks := []Check{
		fixed("database", true, Result{Status: Fail, Summary: "no answer", Err: errors.New("dial tcp 10.0.0.5:3306: connect: connection refused"), Observed: []Measurement{{Name: "responseTime", Value: 2000, Unit: "ms", Limits: Limits{Warn: 500}}}}),
		fixed("cache", false, Passed("answered in 1 ms")),
		fixed("disk", false, Result{Summary: "83.2 % used, 12.0 GiB free, full in about 30 h", Observed: percent(83.2, 80, 90)}),
		fixed("disk-backup", false, Result{Summary: "41.0 % used, 1.2 TiB free", Observed: percent(41, 80, 90)}),
		fixed("memory", false, Result{Summary: "61.3 % of the container's limit used (627.7 MiB of 1.0 GiB)", Observed: percent(61.3, 85, 95)}),
		fixed("cpu", false, Result{Summary: "97.0 % of 1.5 cores of the container's quota, throttled in 31 % of the periods", Observed: percent(97, 85, 95)}),
		fixed("backups", false, Passed("newest is 9 h 12 min old, 48.1 MiB")),
		fixed("tls-shop.example", false, Passed("valid for 61 days")),
		fixed("payment-provider", true, Passed("200 in 84 ms")),
		fixed("mail-queue", false, Passed("3 waiting")),
		fixed("goroutines", false, Passed("212 goroutines")),
		fixed("clock", false, Passed("off by 2 ms")),
	}
	checks[1].DependsOn = []string{"database"}
	r, err := New(checks, &Options{
		Authorize: everyone, Logger: quiet, Service: "pos-1", Release: "1.4.2", Description: "point of sale",
	})
	require.NoError(t, err)
	for range 3 {
		_, err = r.RunOnce(t.Context())
		require.NoError(t, err)
	}
	r.AddNotices(func() []string { return []string{"Incident open since 10:44 UTC, next reminder 11:44 UTC"} })
	now := time.Now()
	for i, s := range r.slots {
		for n := range cells {
			at := now.Add(time.Duration(n-cells+1) * cellTime)
			c := &s.history.ring[cellOf(at)%cells]
			switch {
			case i == 0 && n >= cells-1, i == 5 && n%9 == 4:
				c.worst, c.outages, c.down = Fail, 1, 14*time.Minute
			case i == 2 && n > 30, i == 9 && n%11 == 3:
				c.worst = Warn
			case n < 6:
				c.worst = Unknown
			default:
				c.worst = Pass
			}
		}
		s.tracker.rawSince = now.Add(-14 * time.Minute)
		s.lastPass = now.Add(-15 * time.Minute)
	}
	r.publish()
	return r
}

func TestPageSize(t *testing.T) {
	body := get(t, busyRegistry(t).Handler(), "/status/").Body.String()
	require.Less(t, len(body), 15<<10, "twelve checks")
	if file := os.Getenv("HEALTH_PAGE"); file != "" {
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
	}
	t.Logf("%d bytes", len(body))

	// The worst hour: all of them fail, each with an error and a number.
	var checks []Check
	for _, s := range busyRegistry(t).slots {
		s.Check.Checker = CheckerFunc(func(context.Context) Result {
			return Result{
				Summary: "no answer", Err: errors.New("dial tcp 10.0.0.5:3306: connect: connection refused"), Status: Fail,
				Observed: []Measurement{{Name: "responseTime", Value: 2000, Unit: "ms", Limits: Limits{Warn: 500}}},
			}
		})
		checks = append(checks, s.Check)
	}
	r := newRegistry(t, &Options{Authorize: everyone, Service: "pos-1", Release: "1.4.2"}, checks...)
	for range 3 {
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
	}
	body = get(t, r.Handler(), "/status/").Body.String()
	require.Less(t, len(body), 15<<10, "twelve failing checks")
}

func TestPageWhileStarting(t *testing.T) {
	r := newRegistry(t, &Options{Authorize: everyone}, passing("database"), failing("cache"))
	r.running.Store(true) // no request runs the checks
	body := get(t, r.Handler(), "/status/").Body.String()
	require.Contains(t, body, "<title>Starting ·", "a deployment is no alarm")
	require.Contains(t, body, "database has not been checked yet, and 1 more")
	require.Equal(t, 503, get(t, r.Handler(), "/health/").Code, "for probes it is not well yet")
	_, err := r.RunOnce(t.Context(), "cache")
	require.NoError(t, err)
	require.Contains(t, get(t, r.Handler(), "/status/").Body.String(), "<title>Failing ·")
}

// colours reads the custom properties of the two colour schemes.
func colours(t *testing.T) (light, dark map[string]string) {
	t.Helper()
	read := func(block string) map[string]string {
		found := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z]+):(#[0-9a-f]{3,6})`).FindAllStringSubmatch(block, -1) {
			found[m[1]] = m[2]
		}
		return found
	}
	before, after, ok := strings.Cut(pageStyle, "@media(prefers-color-scheme:dark)")
	require.True(t, ok)
	darkBlock, _, _ := strings.Cut(after, "\n")
	return read(before), read(darkBlock)
}

// contrast is the ratio of WCAG 2.2, section 1.4.3.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(hex string) float64 {
		hex = strings.TrimPrefix(hex, "#")
		if len(hex) == 3 {
			hex = fmt.Sprintf("%c%c%c%c%c%c", hex[0], hex[0], hex[1], hex[1], hex[2], hex[2])
		}
		n, err := strconv.ParseUint(hex, 16, 32)
		require.NoError(t, err)
		channel := func(shift uint) float64 {
			c := float64(n>>shift&0xff) / 255
			if c <= 0.04045 {
				return c / 12.92
			}
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestPageContrast(t *testing.T) {
	light, dark := colours(t)
	for scheme, c := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, text := range []string{"text", "dim", "link", "pass", "warn", "fail", "unknown"} {
			for _, ground := range []string{"bg", "card"} {
				require.NotEmpty(t, c[text], "%s %s", scheme, text)
				require.GreaterOrEqual(t, contrast(t, c[text], c[ground]), 4.5, "%s: %s on %s", scheme, text, ground)
			}
		}
	}
}

func TestPageTellsEverythingTwice(t *testing.T) {
	r := busyRegistry(t)
	w := get(t, r.Handler(), "/status/")
	body := w.Body.String()
	require.Equal(t, 200, w.Code, "a page for people, whatever the state")

	// Worst first.
	last := -1
	for _, name := range []string{"database", "cpu", "disk", "payment-provider", "cache", "memory"} {
		at := strings.Index(body, "<b>"+name+"</b>")
		require.Greater(t, at, last, name)
		last = at
	}
	// Shape and word beside colour, and a text for each picture.
	require.Equal(t, 12, strings.Count(body, `role="img" aria-label="`))
	for status, word := range words {
		if status == Unknown {
			continue
		}
		require.Contains(t, body, `<use href="#`+status.String()+`"/></svg>`+word)
	}
	require.Contains(t, body, "<title>Failing · pos-1</title>")
	require.Contains(t, body, "1 outage, 14 min")
	require.NotContains(t, body, "for under 1 ms")
	for _, structure := range []string{
		`<html lang="en">`, `<caption>`, `scope="col"`, `scope="row"`, `<main>`, `<footer>`,
		`<time datetime="`, `name="viewport"`, `name="robots" content="noindex"`, `<h1`, `rel="icon"`,
	} {
		require.Contains(t, body, structure)
	}
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "style=\"")
	require.NotRegexp(t, `(?:src|href)="(?:https?:)?//[^"]*\.(?:css|js|woff2?|png)`, body)

	policy := w.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))

	require.NotContains(t, body, `http-equiv="refresh"`)
	require.Contains(t, get(t, r.Handler(), "/status/?refresh=1").Body.String(), `http-equiv="refresh"`)
	anonymous := get(t, r.Handler(), "/health/", "Accept", "text/html")
	require.Equal(t, 503, anonymous.Code)
	require.NotContains(t, anonymous.Body.String(), `http-equiv="refresh"`)
	require.Contains(t, get(t, r.Handler(), "/status").Body.String(), `href="ready/"`)
	require.Contains(t, body, `href="../ready/"`)
	require.Equal(t, "application/json", get(t, r.Handler(), "/status/?format=json").Header().Get("Content-Type"))
}

func TestPageEscapesWhatChecksSay(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	r := newRegistry(t, &Options{Authorize: everyone, Service: evil, Release: evil}, Check{
		Name: "x", Timeout: time.Second,
		Checker: CheckerFunc(func(context.Context) Result {
			return Result{
				Status: Fail, Summary: evil, Err: errors.New(evil),
				Observed: []Measurement{{Name: evil, Component: evil, Unit: evil, Value: 1}},
			}
		}),
	})
	r.AddNotices(func() []string { return []string{evil} })
	body := get(t, r.Handler(), "/status/").Body.String()
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "<img")
}

// TestPageLeadsHome shows the way back, to callers with and without details.
func TestPageLeadsHome(t *testing.T) {
	for _, details := range []bool{true, false} {
		r, err := New(nil, &Options{Home: "/shop?a=1&b=2", Authorize: func(*http.Request) bool { return details }})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r.ServeStatus(w, httptest.NewRequest(http.MethodGet, "/status/", http.NoBody))
		if want := `<a href="/shop?a=1&amp;b=2">`; !strings.Contains(w.Body.String(), want) {
			t.Errorf("details %t: no %s in %s", details, want, w.Body)
		}
	}
}

// Links between the pages lead to pages, with and without a slash, for one check, and behind a
// prefix.
func TestPageLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	reg, err := New([]Check{Func("db", time.Second, func(context.Context) error { return nil })}, &Options{Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, err)
	inner, outer := http.NewServeMux(), http.NewServeMux()
	reg.Mount(inner)
	outer.Handle("/svc/", http.StripPrefix("/svc", inner))
	get := func(at string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		req.Header.Set("Accept", "text/html")
		outer.ServeHTTP(w, req)
		return w
	}
	for _, at := range []string{"/svc/status", "/svc/status/", "/svc/health", "/svc/health/", "/svc/ready/", "/svc/health/db", "/svc/health/db/"} {
		base, err := url.Parse(at)
		require.NoError(t, err)
		links := regexp.MustCompile(`<a href="([^"]*)"`).FindAllStringSubmatch(get(at).Body.String(), -1)
		require.GreaterOrEqual(t, len(links), 4, at)
		for _, link := range links {
			ref, err := base.Parse(html.UnescapeString(link[1]))
			require.NoError(t, err)
			require.NotEqual(t, http.StatusNotFound, get(ref.RequestURI()).Code, "%s links to %s", at, ref)
		}
	}
}
