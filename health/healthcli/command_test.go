package healthcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// lab is a Command over checks that answer what the test wants, run by run.
type lab struct {
	Command
	out, errs bytes.Buffer
	mu        sync.Mutex
	answers   map[string][]health.Status // the last one stays
	runs      map[string]int
	sent      []string
	sendErr   error
}

func newLab(t testing.TB, answers map[string][]health.Status) *lab {
	l := &lab{answers: answers, runs: map[string]int{}}
	l.Command = Command{Name: "pos health", Stdout: &l.out, Stderr: &l.errs}
	l.Registry = func(context.Context) (*health.Registry, error) {
		var checks []health.Check
		for _, name := range []string{"database", "disk"} {
			checks = append(checks, health.Check{
				Name: name, Timeout: time.Second, Critical: name == "database",
				Checker: health.CheckerFunc(func(context.Context) health.Result {
					l.mu.Lock()
					defer l.mu.Unlock()
					turns := l.answers[name]
					if len(turns) == 0 {
						return health.Passed("fine")
					}
					s := turns[min(l.runs[name], len(turns)-1)]
					l.runs[name]++
					return health.Result{Status: s, Summary: name + " says " + s.String(), Observed: []health.Measurement{{Name: "n", Value: math.Inf(1)}}}
				}),
			})
		}
		return health.New(checks, &health.Options{Service: "pos", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}
	l.Notifier = func() (notify.Notifier, error) {
		return notify.Func(func(_ context.Context, m notify.Message) error {
			if l.sendErr != nil {
				return l.sendErr
			}
			l.sent = append(l.sent, m.Subject)
			return nil
		}), nil
	}
	l.Alert = alert.Options{
		Store: alert.File(filepath.Join(t.TempDir(), "alerts.json")), GroupInterval: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	return l
}

func (l *lab) do(t testing.TB, args ...string) (code int, out, errs string) {
	l.out.Reset()
	l.errs.Reset()
	l.runs = map[string]int{}
	code = l.Run(t.Context(), args)
	return code, l.out.String(), l.errs.String()
}

type turns = map[string][]health.Status

func TestExitCodesAndOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		answers turns
		args    []string
		code    int
		out     []string // all must be in it; none means no output at all
	}{
		{"well", nil, nil, Pass, nil},
		{"well, verbose", nil, []string{"--verbose"}, Pass, []string{"PASS    database: fine", "PASS    disk", "PASS: 2 checks"}},
		{"other bad", turns{"disk": {health.Fail}}, nil, Warn, []string{"FAIL    disk: disk says fail\n"}},
		{"warn", turns{"database": {health.Warn}}, nil, Warn, []string{"WARN    database (critical): database says warn\n"}},
		{"fail", turns{"database": {health.Fail}, "disk": {health.Warn}}, nil, Fail, []string{"FAIL    database (critical)", "WARN    disk"}},
		{"only", turns{"database": {health.Fail}}, []string{"--only", " disk ,disk"}, Pass, nil},
		{"json", turns{"database": {health.Fail}}, []string{"--json"}, Fail, []string{`"status": "fail"`, `"name": "database"`, `"value": "+Inf"`, `"serviceId": "pos"`}},
		{"a blip", turns{"database": {health.Fail, health.Pass}}, []string{"--retries", "2", "--retry-wait", "1ms"}, Pass, nil},
		{"no blip", turns{"database": {health.Fail}}, []string{"--retries=2", "--retry-wait=1ms"}, Fail, []string{"FAIL    database"}},
		{"as bad as all runs", turns{"database": {health.Fail, health.Warn, health.Fail}}, []string{"--retries=2", "--retry-wait=1ms"}, Warn, []string{"WARN    database"}},
		{"help", nil, []string{"-h"}, Pass, []string{"Usage: pos health", "-retry-wait"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, c.answers)
			code, out, errs := l.do(t, c.args...)
			if code != c.code || errs != "" || (len(c.out) == 0 && out != "") {
				t.Errorf("code %d, output %q, errors %q", code, out, errs)
			}
			for _, want := range c.out {
				if !strings.Contains(out, want) {
					t.Errorf("the output lacks %q:\n%s", want, out)
				}
			}
			if len(c.args) > 0 && c.args[0] == "--json" && !json.Valid([]byte(out)) {
				t.Errorf("no JSON: %s", out)
			}
		})
	}
}

func TestCannotRun(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--nope"},
		{"extra"},
		{"--only", "dsik"},
		{"--only", ","},
		{"--timeout", "0s"},
		{"--retries", "-1"},
		{"--retry-wait", "-1s"},
		{"--url", "ftp://x"},
		{"--url", "http://h/", "--notify"},
		{"--silence", "-2h"},
		{"--url", "x"},
	} {
		l := newLab(t, nil)
		if code, out, errs := l.do(t, args...); code != NoResult || out != "" || !strings.HasPrefix(errs, "pos health: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: code %d, output %q, errors %q", args, code, out, errs)
		}
	}
	l := newLab(t, nil)
	l.Alert.Store = nil
	if code, _, errs := l.do(t, "--notify"); code != NoResult || !strings.Contains(errs, "--state") {
		t.Errorf("without a state: %d, %s", code, errs)
	}
	l = newLab(t, nil)
	l.Notifier = nil
	if code, _, _ := l.do(t, "--notify"); code != NoResult {
		t.Errorf("without a notifier: %d", code)
	}
	l = newLab(t, nil)
	l.Registry = func(context.Context) (*health.Registry, error) { return nil, errors.New("no database") }
	if code, _, errs := l.do(t); code != NoResult || !strings.Contains(errs, "no database") {
		t.Errorf("without a registry: %d, %s", code, errs)
	}
	l.Registry = nil
	if code, _, _ := l.do(t); code != NoResult {
		t.Errorf("without checks: %d", code)
	}
}

// cron mails what is on stderr.
func TestErrorsShowNoPassword(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.Registry = func(context.Context) (*health.Registry, error) {
		_, err := url.Parse(strings.Join([]string{"postgres://pos:", "S3c/r3t", "@db:5432/pos"}, ""))
		return nil, err
	}
	code, out, errs := l.do(t)
	if code != NoResult || out != "" || !strings.Contains(errs, "***") || strings.Contains(errs, "S3c") || strings.Contains(errs, "r3t") {
		t.Errorf("%d, %q, %q", code, out, errs)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	l := newLab(t, turns{"database": {health.Fail}})
	notifyNow := func(want int, sent ...string) {
		t.Helper()
		code, _, errs := l.do(t, "--notify", "--retry-wait", "1ms")
		if code != want || errs != "" || strings.Join(l.sent, "|") != strings.Join(sent, "|") {
			t.Errorf("code %d, errors %q, sent %q", code, errs, l.sent)
		}
	}
	notifyNow(Fail, "[UNHEALTHY] pos: database")
	notifyNow(Fail, "[UNHEALTHY] pos: database") // nothing new, nothing sent

	// One run that passes is no recovery.
	l.answers["database"] = []health.Status{health.Pass, health.Fail}
	notifyNow(Fail, "[UNHEALTHY] pos: database")
	l.answers["database"] = nil
	code, out, _ := l.do(t, "--notify", "--retry-wait", "1ms")
	if code != Pass || out != "" || len(l.sent) != 2 || !strings.HasPrefix(l.sent[1], "[RECOVERED] pos: database") {
		t.Errorf("code %d, output %q, sent %q", code, out, l.sent)
	}
	notifyNow(Pass, l.sent...)

	// A blip is none of anybody's business.
	l.answers["database"] = []health.Status{health.Fail, health.Fail, health.Pass}
	notifyNow(Pass, l.sent...)
}

func TestNotifyFails(t *testing.T) {
	t.Parallel()
	l := newLab(t, turns{"database": {health.Fail}})
	l.sendErr = errors.New("refused")
	if code, out, errs := l.do(t, "--notify", "--retry-wait", "1ms"); code != NoResult || !strings.Contains(out, "FAIL") || !strings.Contains(errs, "refused") {
		t.Errorf("code %d, output %q, errors %q", code, out, errs)
	}
}

// The watcher elsewhere hears of each run that is well, and of no other.
func TestHeartbeat(t *testing.T) {
	pings := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if pings++; pings > 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	l := newLab(t, map[string][]health.Status{"disk": {health.Warn}})
	l.Heartbeat = &health.Heartbeat{URL: server.URL + "/token"}
	code, _, _ := l.do(t, "--verbose")
	require.Equal(t, Warn, code)
	require.Zero(t, pings, "only the run that would send messages proves that messages are sent")
	code, _, _ = l.do(t, "--notify", "--retry-wait", "0")
	require.Equal(t, Warn, code)
	require.Equal(t, 1, pings)
	down := newLab(t, map[string][]health.Status{"database": {health.Fail}})
	down.Heartbeat = l.Heartbeat
	code, _, _ = down.do(t, "--notify", "--retry-wait", "0")
	require.Equal(t, Fail, code)
	require.Equal(t, 1, pings)
	mute := newLab(t, map[string][]health.Status{"disk": {health.Warn}})
	mute.Heartbeat, mute.sendErr = l.Heartbeat, errors.New("550")
	code, _, _ = mute.do(t, "--notify", "--retry-wait", "0")
	require.Equal(t, NoResult, code)
	require.Equal(t, 1, pings)
	_, _, _ = l.do(t, "--notify", "--retry-wait", "0")
	code, _, errs := l.do(t, "--notify", "--retry-wait", "0")
	require.Equal(t, NoResult, code)
	require.Contains(t, errs, "the heartbeat was not delivered: answered 502")
	require.NotContains(t, errs, "token")
	l.Heartbeat = &health.Heartbeat{URL: "nonsense"}
	code, _, _ = l.do(t)
	require.Equal(t, NoResult, code)
}

func TestRetriesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, turns{"database": {health.Fail}})
		l.Alert.Store = alert.Memory()
		start := time.Now()
		l.do(t, "--notify")
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("two re-runs took %v", took)
		}
		start = time.Now()
		l.do(t)
		if took := time.Since(start); took != 0 {
			t.Errorf("a look without --notify took %v", took)
		}
	})
}

func TestStateAndSilence(t *testing.T) {
	t.Parallel()
	l := newLab(t, turns{"database": {health.Fail}})
	l.Alert.Store = nil
	state := filepath.Join(t.TempDir(), "state.json")
	if code, out, _ := l.do(t, "--silence", "2h", "--only", "database", "--state", state); code != Pass || !strings.HasPrefix(out, "no messages about database until ") {
		t.Errorf("code %d, output %q", code, out)
	}
	if code, _, errs := l.do(t, "--notify", "--state", state, "--retry-wait", "1ms"); code != Fail || len(l.sent) != 0 {
		t.Errorf("silenced: code %d, sent %q, %s", code, l.sent, errs)
	}
}

func TestTestNotify(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	if code, _, _ := l.do(t, "--test-notify"); code != Pass || len(l.sent) != 1 || !strings.HasPrefix(l.sent[0], "[TEST]") {
		t.Errorf("code %d, sent %q", code, l.sent)
	}
	l.sendErr = errors.New("refused")
	if code, _, errs := l.do(t, "--test-notify"); code != NoResult || !strings.Contains(errs, "refused") {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	status, body := 200, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	for _, c := range []struct {
		status int
		body   string
		code   int
		out    string
	}{
		{200, `{"status":"pass"}`, Pass, ""},
		{200, `ok`, Pass, ""},
		{200, `{"status":"warn","output":"disk \u001b[31m83 %"}`, Warn, "warn: disk  [31m83 %"},
		{503, `{"status":"fail"}`, Fail, "fail"},
		{503, `gateway`, Fail, "fail"},
		{302, ``, NoResult, ""},
		{404, ``, NoResult, ""},
	} {
		mu.Lock()
		status, body = c.status, c.body
		mu.Unlock()
		l := newLab(t, nil)
		l.Registry = nil
		code, out, _ := l.do(t, "--url", server.URL+"/health/")
		if code != c.code || !strings.Contains(out, c.out) || (c.out == "") != (out == "") {
			t.Errorf("%d %s: code %d, output %q", c.status, c.body, code, out)
		}
	}
	// Not the address of a server that was closed: another test's listener may have it already.
	l := newLab(t, nil)
	if code, _, errs := l.do(t, "--url", "http://u:S3CRET@127.0.0.1:1/health/"); code != Fail || strings.Contains(errs, "S3CRET") {
		t.Errorf("a dead server: code %d, %s", code, errs)
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	for target, wants := range map[string][]string{
		"systemd": {"/etc/systemd/system/pos-health.timer", "OnCalendar=", `"/usr/local/bin/pos" "health" "--notify"`, "systemctl"},
		"cron":    {"/usr/local/bin/pos"},
		"windows": {"schtasks"},
	} {
		var b bytes.Buffer
		program := "/usr/local/bin/pos"
		if target == "windows" {
			program = `C:\pos\pos.exe`
		}
		if err := Schedule(&b, target, "pos-health", program, "health", "--notify"); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", target, want, b.String())
			}
		}
	}
	if err := Schedule(io.Discard, "launchd", "pos-health", "/bin/pos"); err == nil {
		t.Error("an unknown target")
	}
}

// Alerts are listed and acknowledged by command.
func TestAlertsByCommand(t *testing.T) {
	t.Parallel()
	l := newLab(t, turns{"database": {health.Fail}})
	l.Alert.Instance = "pos-1"
	run := func(code int, args ...string) string {
		t.Helper()
		got, out, errs := l.do(t, args...)
		if got != code {
			t.Fatalf("%v: code %d, %s%s", args, got, out, errs)
		}
		return out + errs
	}
	if out := run(Pass, "--alerts"); out != "" {
		t.Errorf("%s", out)
	}
	run(NoResult, "--ack", "database")
	run(Fail, "--notify", "--retry-wait", "1ms")
	out := run(Pass, "--alerts")
	id, _, _ := strings.Cut(out, " ")
	if !strings.Contains(out, "database@pos-1") || !strings.Contains(out, "FAIL, critical") || !strings.Contains(out, "database says fail") {
		t.Errorf("%s", out)
	}
	for _, name := range []string{id, "database", "database@pos-1"} {
		run(Pass, "--ack", name, "--by", "ada "+name)
		if out := run(Pass, "--alerts"); !strings.Contains(out, "acknowledged by ada "+name) {
			t.Errorf("%s", out)
		}
	}
	run(Pass, "--silence", "1h", "--by", "ada")
	run(NoResult, "--url", "http://127.0.0.1:1/", "--ack", "database")
}

// deadStore is on a disk that is read-only.
type deadStore struct{}

func (deadStore) Update(context.Context, func([]byte) ([]byte, error)) error {
	return errors.New("open alerts.json.lock: read-only file system")
}

// deadPipe is an output whose reader is gone.
type deadPipe struct{}

func (deadPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// What is broken may be what the command needs for itself. The alert is sent all the same,
// and every error is reported.
func TestAlertsComeBeforeBookkeeping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, turns{"disk": {health.Fail}})
		l.Checks, l.Alert.Store, l.Stdout = deadStore{}, deadStore{}, deadPipe{}
		code, _, errs := l.do(t, "--notify")
		require.Equal(t, NoResult, code)
		require.Equal(t, []string{"[DEGRADED] pos: disk"}, l.sent)
		require.Contains(t, errs, "read-only")
		require.Contains(t, errs, "broken pipe")
	})
}

// A check that is still running at the timeout fails. It hides no result of another check.
func TestTimeoutOfOneCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // the late check ends
		l := newLab(t, turns{"database": {health.Fail}})
		l.Alert.Store = alert.Memory()
		create := l.Registry
		l.Registry = func(ctx context.Context) (*health.Registry, error) {
			reg, err := create(ctx)
			return reg, errors.Join(err, reg.Add(health.Check{
				Name: "report", Timeout: 5 * time.Minute, Checker: health.CheckerFunc(func(ctx context.Context) health.Result { <-ctx.Done(); return health.Failed("", ctx.Err()) }),
			}))
		}
		for range 3 {
			code, out, errs := l.do(t, "--notify", "--timeout", "10s")
			require.Equal(t, Fail, code, errs)
			require.Contains(t, out, "FAIL    database")
			require.Contains(t, out, "FAIL    report: no answer within --timeout 10s")
			require.NotContains(t, out, "disk")
			time.Sleep(time.Minute)
		}
		require.Equal(t, []string{"[UNHEALTHY] pos: database (and 1 more)"}, l.sent)
		code, out, _ := l.do(t, "--timeout", "10s", "--only", "report,disk")
		require.Equal(t, Warn, code)
		require.Contains(t, out, "report")
	})
}

// Checks that cannot be created are an alert of their own, with an end. The alerts about
// them stay open meanwhile.
func TestAlertAboutChecksThatCannotBeCreated(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error":              func() error { return errors.New("dial postgres://pos:S3cr3t@10.0.0.7: refused") },
		"typed nil":          func() error { var e *url.Error; return e },
		"panics":             func() error { panic("dial postgres://pos:S3cr3t@10.0.0.7: refused") },
		"ends its goroutine": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) { alertAboutChecks(t, fail) })
	}
}

func alertAboutChecks(t *testing.T, fail func() error) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, turns{"disk": {health.Fail}})
		l.Alert.Store, l.Alert.Service, l.Alert.Reminders = alert.Memory(), "pos", []time.Duration{1000 * time.Hour}
		create, calls, fails := l.Registry, 0, 0
		l.Registry = func(ctx context.Context) (*health.Registry, error) {
			if calls++; calls <= fails {
				return nil, fail()
			}
			return create(ctx)
		}
		hour := func(want int, args ...string) {
			t.Helper()
			calls = 0
			code, _, errs := l.do(t, append(args, "--notify")...)
			require.Equal(t, want, code, errs)
			require.NotContains(t, errs, "S3cr3t")
			time.Sleep(time.Hour)
		}
		hour(Warn)
		fails = 2
		hour(Warn) // the third try succeeds
		require.Len(t, l.sent, 1)
		fails = 100
		hour(NoResult)
		hour(NoResult, "--only", "disk")
		require.Equal(t, []string{"[DEGRADED] pos: disk", "[UNHEALTHY] pos: health-command"}, l.sent)
		fails = 0
		hour(Warn)
		require.Len(t, l.sent, 3)
		require.Contains(t, l.sent[2], "[RECOVERED] pos: health-command")
		delete(l.answers, "disk")
		hour(Pass, "--only", "disk")
		require.Len(t, l.sent, 4)
		require.Contains(t, l.sent[3], "[RECOVERED] pos: disk")
	})
}
