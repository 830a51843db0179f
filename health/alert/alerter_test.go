package alert

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/notify"
)

func subjects(box *inbox) string {
	var s []string
	for _, m := range box.list() {
		s = append(s, m.Subject)
	}
	return strings.Join(s, " | ")
}

func expect(t *testing.T, box *inbox, want string) {
	t.Helper()
	if got := subjects(box); got != want {
		t.Errorf("sent  %s\nwant  %s", got, want)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		checks := critical("database", "cache", "queue")
		checks[1].Critical = false
		checks[2].DependsOn = []string{"database"}
		checks[0].Runbook = "https://wiki.example.org/db?a=1&b=<2>"
		l := newLab(t, Options{StatusURL: "https://pos.example.org/status/", Instance: "pos-1"}, box, checks...).run(t)
		time.Sleep(10 * time.Minute)
		l.set(health.Fail, "database", "queue")
		time.Sleep(20 * time.Minute)
		l.set(health.Pass, "database", "queue")
		time.Sleep(20 * time.Minute)
		l.stop()
		if got := subjects(box); !strings.HasPrefix(got, "[UNHEALTHY] pos: database | [RECOVERED] pos: database after ") || strings.Count(got, "|") != 1 {
			t.Errorf("sent %s", got)
		}
		m := box.list()[0]
		first, _, _ := strings.Cut(m.Text, "\n")
		if !strings.HasPrefix(first, "NEW database: FAIL, critical since 00:1") {
			t.Errorf("the first line is %q", first)
		}
		for _, want := range []string{
			"database is bad", "Runbook: https://wiki.example.org/db", "Consequences: queue (needs database)", "Passing: cache", "Next reminder at 01:1",
		} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("the text lacks %q:\n%s", want, m.Text)
			}
		}
		if !strings.Contains(m.HTML, "database is bad") || strings.Contains(m.HTML, "<2>") || m.Link != "https://pos.example.org/status/" {
			t.Errorf("html %s", m.HTML)
		}
		if m.Level != notify.Critical || box.list()[1].Level != notify.Recovery || m.Key == "" || m.Key != box.list()[1].Key || m.Source != "pos" {
			t.Errorf("%+v\n%+v", m, box.list()[1])
		}
	})
}

func TestDegradedAndWorse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		l := newLab(t, Options{}, box, critical("disk")...).run(t)
		l.set(health.Warn, "disk")
		time.Sleep(50 * time.Minute)
		l.set(health.Fail, "disk")
		time.Sleep(50 * time.Minute) // the reminder counts anew from here
		expect(t, box, "[DEGRADED] pos: disk | [UNHEALTHY] pos: WORSE disk")
		time.Sleep(20 * time.Minute)
		l.stop()
		if n := len(box.list()); n != 3 || !strings.Contains(box.list()[2].Subject, ", for ") {
			t.Errorf("%v", box)
		}
	})
}

func TestMinStatus(t *testing.T) {
	t.Parallel()
	for name, warns := range map[string]time.Duration{"confirmed warnings": time.Hour, "one warning": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := &inbox{}
				l := newLab(t, Options{MinStatus: health.Fail}, box, critical("disk")...).run(t)
				l.set(health.Warn, "disk")
				time.Sleep(warns)
				expect(t, box, "")
				failed := time.Now()
				l.set(health.Fail, "disk")
				time.Sleep(5 * time.Minute)
				l.set(health.Warn, "disk")
				time.Sleep(10 * time.Minute)
				l.stop()
				if got := subjects(box); !strings.HasPrefix(got, "[UNHEALTHY] pos: disk | [RECOVERED] pos: disk after ") || strings.Count(got, "|") != 1 {
					t.Errorf("sent %s", got)
				}
				closed := l.Alerts().Closed
				if len(closed) != 1 {
					t.Fatalf("%+v", closed)
				}
				// Runs are a minute apart, give or take 10 %, and the second one without a failure ends it.
				if late, took := closed[0].Since.Sub(failed), closed[0].Ended.Sub(closed[0].Since); late < 0 || late > 67*time.Second || took < 4*time.Minute || took > 8*time.Minute {
					t.Errorf("the outage began %v after the failure and took %v", late, took)
				}
			})
		})
	}
}

// A mail server that is down costs nobody the alert: it is tried again, and
// written anew.
func TestDeliveryFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{err: errDown}
		l := newLab(t, Options{}, box, critical("database")...).run(t)
		l.set(health.Fail, "database")
		time.Sleep(30 * time.Minute)
		if st := l.Stats(); st.Sent != 0 || st.Failed != uint64(box.attempts()) || box.attempts() < 25 || box.attempts() > 30 || st.LastError == "" {
			t.Errorf("%+v after %d tries", st, box.attempts()) // critical: once a minute
		}
		box.fail(nil)
		time.Sleep(61 * time.Second)
		expect(t, box, "[UNHEALTHY] pos: database")
		l.set(health.Pass, "database")
		time.Sleep(10 * time.Minute)
		l.stop()
		if n := len(box.list()); n != 2 {
			t.Errorf("%v", box)
		}
		if l.Stats().LastError != "" {
			t.Error("an error of the past is still shown")
		}
	})
}

// Nobody hears of the end of something whose beginning never reached them.
func TestNoRecoveryWithoutProblem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{err: errDown}
		l := newLab(t, Options{}, box, critical("database")...).run(t)
		l.set(health.Fail, "database")
		time.Sleep(20 * time.Minute)
		l.set(health.Pass, "database")
		time.Sleep(5 * time.Minute)
		box.fail(nil)
		time.Sleep(5 * time.Hour)
		l.stop()
		expect(t, box, "")
		if l.Stats().Dropped != 1 {
			t.Errorf("%+v", l.Stats())
		}
	})
}

// A recovery that could not be delivered is not lost.
func TestRecoveryIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		l := newLab(t, Options{}, box, critical("database")...).run(t)
		l.set(health.Fail, "database")
		time.Sleep(20 * time.Minute)
		box.fail(errDown)
		l.set(health.Pass, "database")
		time.Sleep(20 * time.Minute)
		box.fail(nil)
		time.Sleep(time.Hour)
		l.stop()
		if n := len(box.list()); n != 2 || box.list()[1].Level != notify.Recovery {
			t.Errorf("%v", box)
		}
	})
}

func TestFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, other := &inbox{err: errDown}, &inbox{}
		l := newLab(t, Options{Fallback: other, Retries: []time.Duration{time.Minute, time.Minute}}, box, critical("database")...).run(t)
		l.set(health.Fail, "database")
		time.Sleep(30 * time.Minute)
		l.stop()
		expect(t, other, "[UNHEALTHY] pos: database")
		if box.attempts() < 20 {
			t.Errorf("%d tries: the receiver itself was given up", box.attempts())
		}
	})
}

// A channel that hangs or panics delays no check and ends nothing.
func TestHostileChannel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{}, &inbox{}, critical("database")...)
		var calls atomic.Int32
		l.receivers[0].Notifier = notify.Func(func(ctx context.Context, _ notify.Message) error {
			if calls.Add(1) == 1 {
				panic("broken")
			}
			<-ctx.Done()
			return ctx.Err()
		})
		l.run(t)
		l.set(health.Fail, "database")
		time.Sleep(30 * time.Minute)
		if runs := l.reg.Stats().Checks[0].Runs; runs < 27 || calls.Load() < 3 {
			t.Errorf("%d runs in 30 minutes, %d calls", runs, calls.Load())
		}
		l.stop()
	})
}

func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		l := newLab(t, Options{}, box, critical("database", "disk")...).run(t)
		if err := l.Silence(t.Context(), Silence{Check: "disk", Until: time.Now().Add(2 * time.Hour), Reason: "new disk"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Silence(t.Context(), Silence{Check: "dsik", Until: time.Now().Add(time.Hour), Reason: ""}); err == nil {
			t.Error("a typing error was silenced")
		}
		l.set(health.Fail, "disk")
		time.Sleep(time.Hour)
		expect(t, box, "")
		if n := strings.Join(l.Notices(), "\n"); !strings.Contains(n, "Alerts about disk are silenced until 1 Jan 02:00 UTC: new disk") {
			t.Errorf("notices: %s", n)
		}
		l.set(health.Fail, "database") // that one is not silenced
		time.Sleep(20 * time.Minute)
		expect(t, box, "[UNHEALTHY] pos: database")
		time.Sleep(50 * time.Minute) // the silence ends with the disk still bad: told then
		if n := len(box.list()); n != 3 || box.list()[1].Subject != "[UNHEALTHY] pos: disk" || !strings.HasPrefix(box.list()[2].Subject, "[UNHEALTHY] pos: database, for 6") {
			t.Errorf("%v", box)
		}

		// Silencing what people know of is not a recovery, and hides one until it ends.
		if err := l.Silence(t.Context(), Silence{Check: "", Until: time.Now().Add(3 * time.Hour), Reason: ""}); err != nil {
			t.Fatal(err)
		}
		l.set(health.Pass, "database", "disk")
		time.Sleep(2 * time.Hour)
		if n := len(box.list()); n != 3 {
			t.Errorf("while all is silenced: %v", box)
		}
		time.Sleep(70 * time.Minute)
		l.stop()
		if n := len(box.list()); n != 5 || box.list()[3].Level != notify.Recovery || box.list()[4].Level != notify.Recovery {
			t.Errorf("after the silence: %v", box)
		}
	})
}

func TestEndSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{}, &inbox{}, critical("disk")...)
		for _, until := range []time.Duration{time.Hour, 2 * time.Hour} {
			if err := l.Silence(t.Context(), Silence{Check: "disk", Until: time.Now().Add(until), Reason: ""}); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := l.Silences(t.Context()); err != nil || len(s) != 1 || !s[0].Until.Equal(time.Now().Add(2*time.Hour)) {
			t.Errorf("%v, %v", s, err)
		}
		if err := l.Silence(t.Context(), Silence{Check: "disk", Until: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Silences(t.Context()); err != nil || len(s) != 0 {
			t.Errorf("%v, %v", s, err)
		}
	})
}

func TestCap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
		checks := critical(names...)
		for i := range checks {
			checks[i].Critical = false
		}
		l := newLab(t, Options{MaxPerHour: 3, GroupInterval: time.Second}, box, checks...).run(t)
		for _, n := range names {
			l.set(health.Fail, n)
			time.Sleep(5 * time.Minute)
		}
		if n := len(box.list()); n != 3 || strings.Contains(box.list()[1].Text, "only critical") || !strings.Contains(box.list()[2].Text, "only critical alerts are sent until 01:") {
			t.Errorf("%d messages, the last: %s", n, box.list()[n-1].Text)
		}
		time.Sleep(25 * time.Minute)
		l.stop()
		if n := len(box.list()); n < 4 || n > 6 || !strings.Contains(box.list()[3].Subject, "(and 6 more)") {
			t.Errorf("after the cap: %v", box)
		}
	})
}

// An open incident outlives the process: a restart repeats nothing and forgets
// nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "alerts.json")
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		for i := range 4 {
			l := newLab(t, Options{Store: File(path), Instance: "pos-1"}, box, critical("database")...)
			if i < 3 {
				l.set(health.Fail, "database")
			}
			l.run(t)
			time.Sleep(25 * time.Minute)
			l.stop()
		}
		if n := len(box.list()); n != 3 || box.list()[0].Subject != "[UNHEALTHY] pos: database" || !strings.HasPrefix(box.list()[2].Subject, "[RECOVERED] pos: database after 7") {
			t.Fatalf("%v", box)
		}
		// The reminder came from the third process and knows since when.
		if text := box.list()[1].Text; !strings.Contains(text, "database: FAIL, critical since 00:00 UTC (6") {
			t.Errorf("%s", text)
		}
	})
}

func TestGroupInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{start: time.Now()}
		checks := critical("a", "b", "c")
		for i := range checks {
			checks[i].Critical = false // a rise to critical is not delayed
		}
		l := newLab(t, Options{}, box, checks...).run(t)
		for _, name := range []string{"a", "b", "c"} {
			l.set(health.Fail, name)
			time.Sleep(5 * time.Minute / 2)
		}
		time.Sleep(10 * time.Minute)
		l.stop()
		for i := range box.at[1:] {
			if pause := box.at[i+1] - box.at[i]; pause < 5*time.Minute {
				t.Errorf("two messages within %v%v", pause, box)
			}
		}
		if n := len(box.at); n < 2 || n > 3 {
			t.Errorf("%v", box)
		}
	})
}

// A command that cron starts and a server share the file: one of them speaks.
func TestOnceBesideRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts.json")
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		server := newLab(t, Options{Store: File(path), Instance: "pos-1"}, box, critical("database", "disk")...)
		command := newLab(t, Options{Store: File(path), Instance: "pos-1"}, box, critical("database", "disk")...)
		server.set(health.Fail, "database")
		command.set(health.Fail, "database")
		server.run(t)
		time.Sleep(10 * time.Minute)
		for range 3 {
			if _, err := command.reg.RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := command.Once(t.Context(), command.reg.Snapshot()); err != nil {
			t.Fatal(err)
		}
		server.stop()
		expect(t, box, "[UNHEALTHY] pos: database")
	})
}

// once runs the checks until they are confirmed and looks, as a command does.
func (l *lab) once(t testing.TB, names ...string) error {
	t.Helper()
	var snap *health.Snapshot
	var err error
	for range 3 {
		if snap, err = l.reg.RunOnce(t.Context(), names...); err != nil {
			t.Fatal(err)
		}
	}
	return l.Once(t.Context(), snap)
}

// An hourly command mails at once, by the reminders' plan, and at the end.
func TestHourlyCommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts.json")
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{start: time.Now()}
		var bad health.Status
		hour := func() error {
			l := newLab(t, Options{Store: File(path)}, box, critical("database", "disk")...) // a new process
			l.set(bad, "database")
			return l.once(t)
		}
		for h := range 36 {
			bad = health.Pass
			if 2 <= h && h < 31 {
				bad = health.Fail
			}
			if err := hour(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour - time.Second) // never exactly
		}
		t.Log(box)
		var at []string
		for _, d := range box.at {
			at = append(at, d.Round(5*time.Minute).String())
		}
		if got := strings.Join(at, " "); got != "2h0m0s 3h0m0s 6h0m0s 26h0m0s 31h0m0s" {
			t.Errorf("messages at %s", got)
		}
	})
}

// --only looks at some checks: the others neither recover nor worsen.
func TestNarrowedSnapshot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts.json")
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		lab := func() *lab {
			l := newLab(t, Options{Store: File(path)}, box, critical("database", "disk")...)
			l.set(health.Fail, "database")
			return l
		}
		for _, names := range [][]string{nil, {"disk"}, {"database"}, nil} {
			if err := lab().once(t, names...); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		expect(t, box, "[UNHEALTHY] pos: database")
		// A check that the program no longer has is forgotten.
		without := newLab(t, Options{Store: File(path)}, box, critical("disk")...)
		if err := without.once(t); err != nil {
			t.Fatal(err)
		}
		expect(t, box, "[UNHEALTHY] pos: database | [CLOSED] pos: database, no instance reports it any more, and none saw it pass")
	})
}

func TestOnceReportsFailedDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{}, &inbox{err: errDown}, critical("database")...)
		if err := l.once(t); err != nil {
			t.Errorf("all well: %v", err)
		}
		l.set(health.Fail, "database")
		if err := l.once(t); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
	})
}

// A state that cannot be kept is reported, and is no reason to be silent.
func TestStoreOutOfReach(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	box := &inbox{}
	l := newLab(t, Options{Store: File(filepath.Join(file, "alerts.json"))}, box, critical("database")...)
	l.set(health.Fail, "database")
	for range 2 { // this process knows what it has sent
		if err := l.once(t); err == nil {
			t.Error("a store out of reach was not reported")
		}
	}
	expect(t, box, "[UNHEALTHY] pos: database")
	if st := l.Stats(); st.StoreErrors < 2 || st.Sent != 1 {
		t.Errorf("%+v", st)
	}
}

// A damaged state is no reason to be silent.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"version":3,"inst`, `{"version":99}`, "\x00\x00", `[]`, `{"version":3,"instances":{"a":null}}`, `{"version":3,"instances":{"vm":{"run":{"seen":"2099-01-01T00:00:00Z","checks":{"database":null}}}}}`, `{"version":3,"alerts":{"a":null},"receivers":{"default":null}}`} {
		path := filepath.Join(t.TempDir(), "alerts.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		box := &inbox{}
		l := newLab(t, Options{Store: File(path), Instance: "vm"}, box, critical("database")...)
		l.set(health.Fail, "database")
		if err := l.once(t); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		expect(t, box, "[UNHEALTHY] pos: database")
	}
}

// All well means no message, and a heartbeat a minute.
func TestQuietWhileWell(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts.json")
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		l := newLab(t, Options{Store: &counting{Store: File(path)}}, box, critical(five...)...).run(t)
		hours := testserver.Sample(2, 24)
		time.Sleep(time.Duration(hours) * time.Hour)
		l.stop()
		expect(t, box, "")
		if c := l.opts.Store.(*counting); c.writes > hours*60+3 {
			t.Errorf("%d writes in %d hours", c.writes, hours)
		}
	})
}

// counting counts writes and can be cut off.
type counting struct {
	Store
	mu     sync.Mutex
	cut    bool
	writes int
}

func (c *counting) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		return errors.New("out of reach")
	}
	return c.Store.Update(ctx, func(b []byte) ([]byte, error) {
		next, err := f(b)
		if !bytes.Equal(next, b) {
			c.mu.Lock()
			c.writes++
			c.mu.Unlock()
		}
		return next, err
	})
}

func (c *counting) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func fleet(t *testing.T, box *inbox, checks func() []health.Check) ([]*lab, []*counting) {
	shared := Memory()
	var labs []*lab
	var stores []*counting
	for _, name := range []string{"pos-1", "pos-2", "pos-3"} {
		store := &counting{Store: shared}
		stores = append(stores, store)
		labs = append(labs, newLab(t, Options{Store: store, Instance: name}, box, checks()...).run(t))
	}
	return labs, stores
}

func sharedDatabase() []health.Check {
	checks := critical("database", "disk")
	checks[0].Shared = true
	return checks
}

func TestFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		labs, _ := fleet(t, box, sharedDatabase)
		time.Sleep(5 * time.Minute)
		for _, l := range labs {
			l.set(health.Fail, "database")
		}
		time.Sleep(30 * time.Minute)
		expect(t, box, "[UNHEALTHY] pos: database")
		if m := box.list()[0]; strings.Contains(m.Text, "duplicated") {
			t.Errorf("%s", m.Text)
		}
		// A disk is a matter of one host.
		labs[1].set(health.Fail, "disk")
		time.Sleep(10 * time.Minute)
		expect(t, box, "[UNHEALTHY] pos: database | [UNHEALTHY] pos: disk on pos-2")
		for _, l := range labs {
			l.set(health.Pass, "database", "disk")
		}
		time.Sleep(30 * time.Minute)
		for _, l := range labs {
			l.stop()
		}
		if n := len(box.list()); n != 4 || box.list()[2].Level != notify.Recovery || box.list()[3].Level != notify.Recovery {
			t.Errorf("%v", box)
		}
	})
}

// Cut off from the store, every replica speaks for itself, once; back again, they
// agree and one of them tells the end.
func TestFleetCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		labs, stores := fleet(t, box, sharedDatabase)
		time.Sleep(5 * time.Minute)
		for i, l := range labs {
			stores[i].set(true)
			l.set(health.Fail, "database")
		}
		time.Sleep(40 * time.Minute)
		if n := len(box.list()); n < 1 || n > 3 || !strings.Contains(box.list()[0].Text, "may be duplicated") {
			t.Fatalf("%v", box)
		}
		told := len(box.list())
		for _, s := range stores {
			s.set(false)
		}
		time.Sleep(10 * time.Minute)
		if n := len(box.list()); n != told {
			t.Errorf("coming back told people again: %v", box)
		}
		for _, l := range labs {
			l.set(health.Pass, "database")
		}
		time.Sleep(time.Hour)
		for _, l := range labs {
			l.stop()
		}
		if n := len(box.list()); n != told+1 || box.list()[told].Level != notify.Recovery {
			t.Errorf("%v", box)
		}
	})
}

// To be cut off is not to see the others recover.
func TestFleetCutOffDuringIncident(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		labs, stores := fleet(t, box, sharedDatabase)
		labs[2].set(health.Fail, "disk")
		time.Sleep(10 * time.Minute)
		stores[0].set(true)
		time.Sleep(30 * time.Minute)
		for _, l := range labs {
			l.stop()
		}
		expect(t, box, "[UNHEALTHY] pos: disk on pos-3 | [LOST] pos: pos-1")
	})
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	reg, err := health.New([]health.Check{health.Func("disk", time.Second, func(context.Context) error { return nil })}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"bad status":         {MinStatus: health.Pass},
		"negative wait":      {GroupWait: -1},
		"cap of one":         {MaxPerHour: 1},
		"no retries":         {Retries: []time.Duration{}},
		"bad retry":          {Retries: []time.Duration{0}},
		"reminders shrink":   {Reminders: []time.Duration{2, 1}},
		"bad link":           {StatusURL: "javascript:alert(1)"},
		"password in link":   {StatusURL: "https://u:p@h/"},
		"bad window":         {Windows: []Window{{From: "25:00", To: "1:00"}}},
		"unknown in window":  {Windows: []Window{{From: "02:00", To: "03:00", Checks: []string{"dsik"}}}},
		"window without end": {Windows: []Window{{From: "02:00"}}},
	} {
		if _, err := New(reg, &inbox{}, &o); err == nil || !strings.HasPrefix(err.Error(), "alert: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, &inbox{}, nil); err == nil {
		t.Error("no registry")
	}
	if _, err := New(reg, nil, nil); err == nil {
		t.Error("no notifier")
	}
	if _, err := New(reg, &inbox{}, &Options{Logger: slog.Default()}); err != nil {
		t.Error(err)
	}
}
