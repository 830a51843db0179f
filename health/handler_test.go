package health

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStrangersSeeTheStatusAndNothingElse(t *testing.T) {
	fail := failing("database")
	warn := fail
	warn.Critical = false
	for name, c := range map[string]struct {
		check Check
		code  int
		word  string
	}{
		"pass": {passing("database"), 200, "pass"},
		"warn": {warn, 200, "warn"},
		"fail": {fail, 503, "fail"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, &Options{
				Authorize: BearerToken("let-me-in"), Service: "pos-1", Release: "9.9.9", Description: "till",
			}, c.check, passing("other"))
			for _, target := range []string{
				"/health", "/health/", "/health/?verbose", "/health/?exclude=database", "/health/?group=ready",
				"/health/?format=text&verbose=1", "/health/?format=html", "/health/?group=none",
			} {
				w := get(t, r.Handler(), target, "Authorization", "Bearer wrong")
				require.Equal(t, c.code, w.Code, target)
				body := w.Body.String()
				for _, word := range []string{"database", "other", "pos-1", "9.9.9", "till", "refused", "S3cr3t", "202"} {
					require.NotContains(t, strings.ReplaceAll(body, pageStyle, ""), word, target)
				}
				if !strings.Contains(target, "format") {
					require.Equal(t, `{"status":"`+c.word+`"}`, body)
				}
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				require.Equal(t, fmt.Sprint(len(body)), w.Header().Get("Content-Length"))
				if c.code == 503 {
					require.Equal(t, "15", w.Header().Get("Retry-After"))
				}
			}
			require.Equal(t, 200, get(t, r.Handler(), "/alive").Code)
			for _, target := range []string{"/health/database", "/health/database/", "/health/nothing", "/metrics", "/"} {
				require.Equal(t, 404, get(t, r.Handler(), target).Code, target)
			}
		})
	}
	closed := newRegistry(t, nil, failing("database"))
	require.Equal(t, 404, get(t, closed.Handler(), "/status/").Code, "no page without an Authorizer")
	open := newRegistry(t, &Options{Authorize: BearerToken("x")}, failing("database"))
	w := get(t, open.Handler(), "/status/")
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer")
	require.NotContains(t, w.Body.String(), "database")
}

func TestMethods(t *testing.T) {
	r := newRegistry(t, nil, passing("a"))
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	for _, path := range []string{"/health", "/health/", "/ready", "/ready/", "/alive", "/alive/"} {
		for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodPost, http.MethodDelete} {
			req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			require.NoError(t, err)
			client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") }}
			resp, err := client.Do(req)
			require.NoError(t, err)
			resp.Body.Close()
			if method == http.MethodGet || method == http.MethodHead {
				require.Equal(t, 200, resp.StatusCode)
				require.EqualValues(t, len(`{"status":"pass"}`), resp.ContentLength)
			} else {
				require.Equal(t, 405, resp.StatusCode)
				require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
			}
		}
	}
}

func TestMountServesBothFormsWithoutRedirect(t *testing.T) {
	mux := http.NewServeMux()
	newRegistry(t, &Options{Authorize: everyone}, passing("a")).Mount(mux)
	for _, path := range []string{"/health", "/health/", "/ready", "/ready/", "/alive", "/alive/", "/status", "/status/", "/health/a", "/health/a/"} {
		require.Equal(t, 200, get(t, mux, path).Code, path)
	}
}

func decode(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	return doc
}

func TestDetails(t *testing.T) {
	disk := Check{
		Name: "disk", Type: "system", Timeout: time.Second, Runbook: "https://runbooks.example/disk",
		Checker: CheckerFunc(func(context.Context) Result {
			return Result{
				Summary: "83.2 % used",
				Observed: []Measurement{
					{Name: "utilization", Component: "/var", Value: 83.2, Unit: "percent", Limits: Limits{Warn: 80, Fail: 90}},
					{Name: "utilization", Component: "/srv", Value: 10, Unit: "percent", Limits: Limits{Warn: 80, Fail: 90}},
					{Name: "odd", Value: nan()},
				},
			}
		}),
	}
	disk.Groups = []string{"storage"}
	r := newRegistry(t, &Options{
		Authorize: BearerToken("let-me-in"), Service: "pos-1", Release: "1.4.2", Secrets: []string{"s3cret-host"},
	}, failing("database"), disk, passing("fine"))
	ask := func(target string) *httptest.ResponseRecorder {
		return get(t, r.Handler(), target, "Authorization", "Bearer let-me-in")
	}

	w := ask("/health/")
	require.Equal(t, 503, w.Code)
	require.NotContains(t, w.Body.String(), "S3cr3t")
	doc := decode(t, w)
	require.Equal(t, "fail", doc["status"])
	require.Equal(t, "1.4.2", doc["releaseId"])
	require.Equal(t, "pos-1", doc["serviceId"])
	require.Contains(t, doc["output"], "database dial postgres://***@db/pos: refused; disk 83.2 % used")
	checks := doc["checks"].(map[string]any)
	list := checks["disk:utilization"].([]any)
	require.Len(t, list, 2)
	first := list[0].(map[string]any)
	require.Equal(t, "/var", first["componentId"])
	require.Equal(t, "warn", first["status"])
	require.InDelta(t, 83.2, first["observedValue"], 0)
	require.Equal(t, map[string]any{"warn": 80.0, "fail": 90.0}, first["thresholds"])
	require.Equal(t, "https://runbooks.example/disk", first["links"].(map[string]any)["runbook"])
	require.Equal(t, "pass", list[1].(map[string]any)["status"])
	require.NotContains(t, checks["disk:odd"].([]any)[0], "observedValue", "JSON has no NaN")
	fine := checks["fine"].([]any)[0].(map[string]any)
	require.NotContains(t, fine, "output", "omitted for a pass")

	// Everything below is for the authorised.
	require.Equal(t, 200, ask("/health/?exclude=database").Code)
	require.Equal(t, "warn", decode(t, ask("/health/?exclude=database"))["status"])
	require.Equal(t, "pass", decode(t, ask("/health/?exclude=database&exclude=disk"))["status"])
	require.Equal(t, "pass", decode(t, ask("/health/?exclude=database,disk"))["status"])
	w = ask("/health/?exclude=databse")
	require.Equal(t, 503, w.Code)
	require.Equal(t, []any{"nothing to exclude: databse"}, decode(t, w)["notes"])
	require.Equal(t, "warn", decode(t, ask("/health/?group=storage"))["status"])
	require.Equal(t, 404, ask("/health/?group=nothing").Code)

	require.Equal(t, 503, ask("/health/database").Code)
	require.Equal(t, 200, ask("/health/disk/").Code)
	require.Equal(t, 200, ask("/health/fine").Code)
	require.Equal(t, 404, ask("/health/nothing").Code)
	require.Equal(t, ask("/health/nothing").Body.String(), get(t, r.Handler(), "/health/fine").Body.String(),
		"a stranger cannot tell what exists")

	text := ask("/health/?format=text").Body.String()
	require.Regexp(t, `^\[-\]database dial [^\n]*refused, for [^\n]*\n\[!\]disk 83.2 % used, for [^\n]*\nfail\n$`, text)
	require.Contains(t, ask("/health/?format=text&verbose").Body.String(), "[+]fine ok\n")
	require.Equal(t, "pass\n", ask("/health/fine?format=text").Body.String())
}

func TestAlertsInJSON(t *testing.T) {
	r := newRegistry(t, &Options{Authorize: BearerToken("let-me-in")}, passing("fine"), Check{
		Name: "later", Timeout: time.Second, Checker: CheckerFunc(func(context.Context) Result { return Passed("") }),
	})
	_, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	ask := func(target string) map[string]any {
		return decode(t, get(t, r.Handler(), target, "Authorization", "Bearer let-me-in"))
	}
	require.NotContains(t, ask("/health/"), "alerts")
	var list Alerts
	since := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r.SetAlerts(func() Alerts { return list })
	require.NotContains(t, ask("/health/"), "alerts", "none is open")
	list.Open = []Alert{{ID: "7", Check: "fine", State: "warn", Since: since, Notified: 1, LastNotified: since.Add(time.Minute), Output: "token=abcdefgh12345"}}
	for _, target := range []string{"/health/", "/ready/", "/health/?exclude=later"} {
		require.Equal(t, []any{map[string]any{
			"id": "7", "check": "fine", "state": "warn", "critical": false, "since": "2026-11-23T12:00:00.000Z", "output": "token=***",
			"notified": 1.0, "lastNotified": "2026-11-23T12:01:00.000Z",
		}}, ask(target)["alerts"], target)
	}
	require.Equal(t, `{"status":"pass"}`, get(t, r.Handler(), "/health/").Body.String(), "not for strangers")

	// The text of /ready/ is about its own checks, verbose or not.
	text := get(t, r.Handler(), "/ready/?format=text&verbose", "Authorization", "Bearer let-me-in").Body.String()
	require.Equal(t, "[+]fine ok\npass\n", text)
}

func nan() float64 { var zero float64; return zero / zero }

func TestReadyFollowsTwoResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]bool{}
		check := func(name string) Check {
			return Func(name, time.Second, func(context.Context) error {
				if bad[name] {
					return errors.New("down")
				}
				return nil
			})
		}
		local, shared, chosen, minor := check("local"), check("shared"), check("chosen"), check("minor")
		shared.Shared = true
		chosen.Shared, chosen.Ready = true, true
		minor.Critical = false
		r := newRegistry(t, nil, local, shared, chosen, minor)
		ready := func() int { return get(t, r.Handler(), "/ready/").Code }
		run := func(times int) {
			for range times {
				_, err := r.RunOnce(t.Context())
				require.NoError(t, err)
			}
		}
		r.running.Store(true) // no runs on demand
		require.Equal(t, 503, ready(), "nothing is known yet")
		require.Equal(t, 503, get(t, r.Handler(), "/health/").Code)
		require.Equal(t, Starting, r.Snapshot().Phase)
		run(1)
		require.Equal(t, 200, ready())
		for name, want := range map[string]int{"local": 503, "shared": 200, "chosen": 503, "minor": 200} {
			bad[name] = true
			run(1)
			require.Equal(t, 200, ready(), "%s: one failure moves no traffic", name)
			health := 503
			if name == "minor" {
				health = 200
			}
			require.Equal(t, health, get(t, r.Handler(), "/health/").Code, "%s: the raw state shows at once", name)
			run(1)
			require.Equal(t, want, ready(), name)
			bad[name] = false
			run(1)
			require.Equal(t, want, ready(), name)
			run(1)
			require.Equal(t, 200, ready(), "%s: two successes bring it back", name)
		}
	})
}

func TestPhases(t *testing.T) {
	r := newRegistry(t, &Options{HoldReady: true, Authorize: everyone}, passing("a"))
	w := get(t, r.Handler(), "/ready/")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "starting", decode(t, w)["output"])
	require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
	r.Started()
	require.Equal(t, 200, get(t, r.Handler(), "/ready/").Code)
	r.Drain()
	w = get(t, r.Handler(), "/ready/")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "draining", decode(t, w)["output"])
	require.Equal(t, 200, get(t, r.Handler(), "/health/").Code)
	require.Equal(t, 200, get(t, r.Handler(), "/alive/").Code)
	r.Started()
	require.Equal(t, 503, get(t, r.Handler(), "/ready/").Code, "draining is for good")
}

func TestAliveLooksAtNoCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r := newRegistry(t, &Options{Authorize: everyone}, hanging("db", release), failing("cache"))
		alive := func() int { return get(t, r.Handler(), "/alive/").Code }
		require.Equal(t, 200, alive())
		require.Zero(t, r.Stats().Checks[0].Runs, "nor does it start one")

		beat, err := r.AddBeat("worker", time.Minute)
		require.NoError(t, err)
		_, err = r.AddBeat("worker", time.Minute)
		require.Error(t, err)
		_, err = r.AddBeat("", time.Minute)
		require.Error(t, err)
		_, err = r.AddBeat("x", 0)
		require.Error(t, err)

		time.Sleep(time.Minute)
		require.Equal(t, 200, alive())
		time.Sleep(time.Second)
		require.Equal(t, 503, alive())
		require.Contains(t, get(t, r.Handler(), "/alive/").Body.String(), "no beat of worker within 1m0s")
		beat.Tick()
		require.Equal(t, 200, alive())

		r.SetBroken(errors.New("deadlock, password=S3cr3t"))
		w := get(t, r.Handler(), "/alive/?format=text")
		require.Equal(t, 503, w.Code)
		require.Equal(t, "[-]deadlock, password=***\nfail\n", w.Body.String())
		r.SetBroken(nil)
		require.Equal(t, 200, alive())
	})
}

func TestAuthorizers(t *testing.T) {
	request := func(remote, header string) *http.Request {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.RemoteAddr = remote
		req.Header.Set("Authorization", header)
		return req
	}
	token := BearerToken("abc")
	require.True(t, token(request("", "Bearer abc")))
	require.True(t, token(request("", "bearer abc")))
	for _, header := range []string{"", "abc", "Bearer", "Bearer ", "Bearer ab", "Bearer abcd", "Bearer  abc", "Basic abc"} {
		require.False(t, token(request("", header)), header)
	}
	require.False(t, BearerToken("")(request("", "Bearer ")))
	local := AllowFrom(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	require.True(t, local(request("127.0.0.1:99", "")))
	require.True(t, local(request("[::ffff:127.0.0.1]:99", "")))
	require.True(t, local(request("[::1]:99", "")))
	require.False(t, local(request("10.0.0.1:99", "")))
	require.False(t, local(request("@", "")))
	either := AnyOf(token, local)
	require.True(t, either(request("10.0.0.1:9", "Bearer abc")))
	require.True(t, either(request("127.0.0.1:9", "")))
	require.False(t, either(request("10.0.0.1:9", "")))
}

func TestConstructionRefuses(t *testing.T) {
	ok := passing("ok")
	zero := func(context.Context) (float64, error) { return 0, nil }
	none := func(context.Context) ([]Backup, error) { return nil, nil }
	with := func(change func(*Check)) []Check { c := passing("x"); change(&c); return []Check{ok, c} }
	for want, c := range map[string]struct {
		checks []Check
		o      *Options
	}{
		`two checks named "ok"`:              {[]Check{ok, ok}, nil},
		"a name is empty":                    {with(func(c *Check) { c.Name = "" }), nil},
		"longer than 64 bytes":               {with(func(c *Check) { c.Name = strings.Repeat("x", 65) }), nil},
		"use letters":                        {with(func(c *Check) { c.Name = "a/b" }), nil},
		"has no Checker":                     {with(func(c *Check) { c.Checker = nil }), nil},
		"Timeout 0s":                         {with(func(c *Check) { c.Timeout = 0 }), nil},
		"Timeout -1s":                        {with(func(c *Check) { c.Timeout = -time.Second }), nil},
		"must not be negative":               {with(func(c *Check) { c.Interval = -1 }), nil},
		"Runbook":                            {with(func(c *Check) { c.Runbook = "javascript:alert(1)" }), nil},
		`depends on the unknown check "y"`:   {with(func(c *Check) { c.DependsOn = []string{"y"} }), nil},
		`"x" depends on itself`:              {with(func(c *Check) { c.DependsOn = []string{"x"} }), nil},
		`name each group once`:               {with(func(c *Check) { c.Groups = []string{"g", "g"} }), nil},
		`use Ready for the group "ready"`:    {with(func(c *Check) { c.Groups = []string{"ready"} }), nil},
		`has the name of a check`:            {with(func(c *Check) { c.Groups = []string{"ok"} }), nil},
		"the *sql.DB is nil":                 {[]Check{Database("db", nil, nil)}, nil},
		"lists the backups is nil":           {[]Check{Backups("b", nil, nil)}, nil},
		"Limits has no threshold":            {[]Check{Gauge("q", zero, nil)}, nil},
		"no number reaches NaN":              {[]Check{Gauge("q", zero, &GaugeOptions{Limits: Limits{Warn: math.NaN(), Fail: 5}})}, nil},
		"no number reaches 1 and +Inf":       {[]Check{Gauge("q", zero, &GaugeOptions{Limits: Limits{Warn: 1, Fail: math.Inf(1)}})}, nil},
		"Limits.Clear":                       {[]Check{Gauge("q", zero, &GaugeOptions{Limits: Limits{Warn: 1, Clear: math.NaN()}})}, nil},
		"PoolWarn NaN":                       {[]Check{Database("db", new(sql.DB), &DatabaseOptions{PoolWarn: math.NaN()})}, nil},
		"MinSize and RestoreWithin":          {[]Check{Backups("b", none, &BackupsOptions{MinSize: -1})}, nil},
		"RestoreWithin must not be negative": {[]Check{Backups("b", none, &BackupsOptions{RestoreWithin: -1})}, nil},
		"Heartbeat.URL":                      {nil, &Options{Heartbeat: &Heartbeat{URL: "nonsense"}}},
		"FailAfter, RecoverAfter and MaxCon": {nil, &Options{FailAfter: -1}},
	} {
		_, err := New(c.checks, c.o)
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "health: "), err.Error())
	}
	_, err := New(nil, nil)
	require.NoError(t, err)
	a, b := passing("a"), passing("b")
	a.DependsOn, b.DependsOn = []string{"b"}, []string{"a"}
	_, err = New([]Check{a, b}, nil)
	require.ErrorContains(t, err, "depends on itself")
}

func TestDependenciesNameTheCause(t *testing.T) {
	net, db := failing("network"), failing("database")
	db.DependsOn = []string{"network"}
	r := newRegistry(t, &Options{Authorize: everyone}, net, db)
	for range 3 {
		_, err := r.RunOnce(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, []string{"network"}, state(t, r, "database").Blocked)
	require.Contains(t, get(t, r.Handler(), "/health/?format=text").Body.String(), "follows from network")
	require.Contains(t, get(t, r.Handler(), "/health/").Body.String(), `"blockedBy":["network"]`)
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats atomic.Int32
		var bad atomic.Bool
		client := &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			if beats.Add(1) == 3 {
				return nil, errors.New("unreachable")
			}
			w := httptest.NewRecorder()
			return w.Result(), nil
		})}
		var log strings.Builder
		r := newRegistry(t, &Options{
			Heartbeat: &Heartbeat{URL: "https://switch.example/S3cr3t", Client: client},
			Logger:    textLogger(&log),
		}, Func("db", time.Second, func(context.Context) error {
			if bad.Load() {
				return errors.New("down")
			}
			return nil
		}))
		stop := start(t, r)
		time.Sleep(5*time.Minute + time.Second)
		require.EqualValues(t, 5, beats.Load())
		bad.Store(true)
		time.Sleep(2 * time.Minute)
		seen := beats.Load()
		time.Sleep(10 * time.Minute)
		require.Equal(t, seen, beats.Load(), "silence while it is bad")
		require.NoError(t, stop())
		require.Contains(t, log.String(), "does not get through")
		require.Contains(t, log.String(), "gets through again")
		require.NotContains(t, log.String(), "S3cr3t")
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
