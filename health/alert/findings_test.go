package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/healthcli"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/notify"
)

// Each test of this file is a night that a person on call had with an earlier
// design. The hours pass in a synctest bubble.

var (
	discard = slog.New(slog.DiscardHandler)
	down    = health.Failed("no answer", nil)
	slow    = health.Warned("slow")
)

const (
	m    = time.Minute
	h    = time.Hour
	ever = time.Duration(1 << 62)
)

// during returns r from one moment to another, and passes otherwise.
func during(name string, critical bool, from, to time.Duration, r health.Result) health.Check {
	start := time.Now()
	return when(name, critical, func() bool { d := time.Since(start); return d >= from && d < to }, r)
}

func when(name string, critical bool, bad func() bool, r health.Result) health.Check {
	return health.Check{Name: name, Critical: critical, Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
		if bad() {
			return r
		}
		return health.Passed("ok")
	})}
}

// mortal is a store as a process sees it that can be killed: what the process
// does afterwards reaches nothing.
type mortal struct {
	alert.Store
	mu   sync.Mutex
	dead bool
}

func (s *mortal) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	s.mu.Lock()
	dead := s.dead
	s.mu.Unlock()
	if dead {
		return errors.New("killed")
	}
	return s.Store.Update(ctx, f)
}

func (s *mortal) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// serve runs a service until stop.
func serve(t testing.TB, to notify.Notifier, o alert.Options, checks ...health.Check) (al *alert.Alerter, stop func()) {
	t.Helper()
	reg, err := health.New(checks, &health.Options{Service: "pos", Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	o.Logger, o.Location = discard, time.UTC
	if al, err = alert.New(reg, to, &o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- reg.Run(ctx) }()
	go func() { ended <- al.Run(ctx) }()
	return al, func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

// letters is a receiver that keeps what it gets.
type letters struct {
	mu     sync.Mutex
	start  time.Time
	got    []notify.Message
	at     []time.Duration
	refuse func() error
}

func newLetters() *letters { return &letters{start: time.Now()} }

func (l *letters) Notify(_ context.Context, msg notify.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(); err != nil {
			return err
		}
	}
	l.got = append(l.got, msg)
	l.at = append(l.at, time.Since(l.start))
	return nil
}

func (l *letters) all() []notify.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *letters) subjects() []string {
	var s []string
	for _, msg := range l.all() {
		s = append(s, msg.Subject)
	}
	return s
}

func (l *letters) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i, msg := range l.got {
		fmt.Fprintf(&b, "\n%12v %-9v %s", l.at[i].Round(time.Second), msg.Level, msg.Subject)
	}
	return b.String()
}

func (l *letters) containing(word string) (n int) {
	for _, s := range l.subjects() {
		if strings.Contains(s, word) {
			n++
		}
	}
	return n
}

// pager is an on-call service with the documented rule of PagerDuty: an event
// with the dedup_key of an open incident joins it, and only a new one pages.
type pager struct {
	mu    sync.Mutex
	open  map[string]string // severity by key
	pages []string          // summaries that woke a person
	at    []time.Time
	down  func() bool
}

func (p *pager) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(code int) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
	}
	if p.down != nil && p.down() {
		return answer(503)
	}
	var e struct {
		Action  string `json:"event_action"`
		Key     string `json:"dedup_key"`
		Payload struct{ Summary, Severity string }
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return nil, err
	}
	switch e.Action {
	case "trigger":
		if _, ok := p.open[e.Key]; !ok {
			p.pages = append(p.pages, e.Payload.Severity+" "+e.Payload.Summary)
			p.at = append(p.at, time.Now())
		}
		p.open[e.Key] = e.Payload.Severity
	case "resolve":
		delete(p.open, e.Key)
	}
	return answer(202)
}

func newPager(t testing.TB) (*pager, notify.Notifier) {
	t.Helper()
	p := &pager{open: map[string]string{}}
	n, err := notify.NewPagerDuty(notify.PagerDutyEvents, "R", &notify.WebhookOptions{Client: &http.Client{Transport: p}})
	if err != nil {
		t.Fatal(err)
	}
	return p, n
}

// F01: an open warning, or an outage that somebody acknowledged, must not hide an
// outage.
func TestWarningHidesNoOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, pd := newPager(t)
		start := time.Now()
		_, stop := serve(t, pd, alert.Options{}, during("disk", false, h, 36*h, slow), during("db", true, 30*h, 32*h, down))
		time.Sleep(40 * h)
		stop()
		if len(p.pages) != 2 || !strings.HasPrefix(p.pages[0], "warning pos: disk") || !strings.HasPrefix(p.pages[1], "critical pos: db") {
			t.Fatalf("pages: %q", p.pages)
		}
		if late := p.at[1].Sub(start) - 30*h; late > 2*m {
			t.Errorf("the outage was told after %v", late)
		}
		if len(p.open) != 0 {
			t.Errorf("incidents stay open: %v", p.open)
		}
	})
}

// The same check gets worse after somebody acknowledged its warning at the
// on-call service.
func TestRiseToCriticalPagesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, pd := newPager(t)
		start := time.Now()
		disk := during("disk", true, 0, 4*h, slow)
		inner := disk.Checker
		disk.Checker = health.CheckerFunc(func(ctx context.Context) health.Result {
			if d := time.Since(start); d > h && d < 2*h {
				return down
			}
			return inner.Check(ctx)
		})
		_, stop := serve(t, pd, alert.Options{}, disk)
		time.Sleep(3 * h)
		if len(p.open) != 1 {
			t.Errorf("open while it warns again: %v", p.open)
		}
		time.Sleep(2 * h)
		stop()
		if len(p.pages) != 2 || !strings.HasPrefix(p.pages[1], "critical pos: disk") {
			t.Errorf("pages: %q", p.pages)
		}
		if len(p.open) != 0 {
			t.Errorf("incidents stay open: %v", p.open)
		}
	})
}

// F02: an instance that dies while a check fails is lost, not recovered, until a
// person says otherwise.
func TestDeadInstanceIsLost(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := alert.Memory()
				store := &mortal{Store: shared}
				mail := newLetters()
				p, pd := newPager(t)
				o := alert.Options{Receivers: []alert.Receiver{{Name: "pager", Notifier: pd}}}
				o.Instance, o.Store = "pod-a", store
				_, stopA := serve(t, mail, o, during("disk", true, 0, ever, down))
				o.Instance, o.Store = "pod-b", shared
				b, stopB := serve(t, mail, o, during("disk", true, ever, ever, down))
				time.Sleep(10 * m)
				if how == "killed" {
					store.kill()
				}
				stopA()
				time.Sleep(30 * m)
				if got := mail.subjects(); len(got) != 2 || got[0] != "[UNHEALTHY] pos: disk on pod-a" || got[1] != "[LOST] pos: disk on pod-a" {
					t.Fatalf("%v", mail)
				}
				msg := mail.all()[1]
				for _, word := range []string{"recover", "well", "normal"} {
					if strings.Contains(strings.ToLower(msg.Text), word) {
						t.Errorf("the text says %q:\n%s", word, msg.Text)
					}
				}
				if msg.Level != notify.Critical || len(p.open) != 1 {
					t.Errorf("level %v, open at the pager: %v", msg.Level, p.open)
				}
				open := b.Alerts().Open
				if len(open) != 1 || open[0].State != "lost" || !open[0].Critical {
					t.Errorf("%+v", open)
				}
				if err := b.Acknowledge(t.Context(), "disk", "ada"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * m)
				if n := len(b.Alerts().Open); n != 0 || len(p.open) != 0 {
					t.Errorf("%d alerts stay open, %v at the pager", n, p.open)
				}
				if last := mail.all()[len(mail.all())-1]; last.Level != notify.Info || last.Subject != "[CLOSED] pos: disk on pod-a, closed by ada" {
					t.Errorf("%v", mail)
				}
				stopB()
			})
		})
	}
}

// The instance comes back, and is well.
func TestLostInstanceReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, mail := alert.Memory(), newLetters()
		store := &mortal{Store: shared}
		_, stopA := serve(t, mail, alert.Options{Instance: "pod-a", Store: store}, during("disk", true, 0, 15*m, down))
		_, stopB := serve(t, mail, alert.Options{Instance: "pod-b", Store: shared}, during("disk", true, ever, ever, down))
		time.Sleep(10 * m)
		store.kill()
		stopA()
		time.Sleep(30 * m)
		_, stopA = serve(t, mail, alert.Options{Instance: "pod-a", Store: shared}, during("disk", true, ever, ever, down))
		time.Sleep(30 * m)
		stopA()
		stopB()
		if got := mail.subjects(); len(got) != 3 || !strings.HasPrefix(got[2], "[RECOVERED] pos: disk on pod-a after 4") {
			t.Errorf("%v", mail)
		}
	})
}

// An instance that was well and vanishes is told, and so is that it is back. One
// that is shut down is not.
func TestHealthyInstanceVanishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, mail := alert.Memory(), newLetters()
		check := func() health.Check { return during("disk", true, ever, ever, down) }
		store := &mortal{Store: shared}
		_, stopA := serve(t, mail, alert.Options{Instance: "pod-a", Store: store}, check())
		_, stopB := serve(t, mail, alert.Options{Instance: "pod-b", Store: shared}, check())
		time.Sleep(10 * m)
		store.kill()
		time.Sleep(10 * m)
		stopA()
		_, stopA = serve(t, mail, alert.Options{Instance: "pod-a", Store: shared}, check())
		time.Sleep(30 * m)
		stopA()
		time.Sleep(30 * m)
		stopB()
		got := mail.subjects()
		if len(got) != 2 || got[0] != "[LOST] pos: pod-a" || !strings.HasPrefix(got[1], "[RECOVERED] pos: pod-a after 1") {
			t.Errorf("%v", mail)
		}
	})
}

// A shared database is down and takes an instance with it. Its recovery is seen by
// the others.
func TestSharedCheckRecoversWithoutTheDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, mail := alert.Memory(), newLetters()
		db := func() health.Check {
			c := during("db", true, 5*m, 30*m, down)
			c.Shared = true
			return c
		}
		store := &mortal{Store: shared}
		_, stopA := serve(t, mail, alert.Options{Instance: "pod-a", Store: store}, db())
		_, stopB := serve(t, mail, alert.Options{Instance: "pod-b", Store: shared}, db())
		time.Sleep(10 * m)
		store.kill()
		stopA()
		time.Sleep(h)
		stopB()
		if mail.containing("[RECOVERED] pos: db after 25 min") != 1 || mail.containing("[LOST] pos: pod-a") != 1 {
			t.Errorf("%v", mail)
		}
	})
}

// Only the dead instance saw the shared check fail: nobody can say that it
// recovered.
func TestSharedCheckSeenByTheDeadOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, mail := alert.Memory(), newLetters()
		db := func(from time.Duration) health.Check {
			c := during("db", true, from, ever, down)
			c.Shared = true
			return c
		}
		store := &mortal{Store: shared}
		_, stopA := serve(t, mail, alert.Options{Instance: "pod-a", Store: store}, db(5*m))
		_, stopB := serve(t, mail, alert.Options{Instance: "pod-b", Store: shared}, db(ever))
		time.Sleep(10 * m)
		store.kill()
		stopA()
		time.Sleep(h)
		stopB()
		if mail.containing("RECOVERED") != 0 || mail.containing("[CLOSED] pos: db") != 1 || mail.containing("[LOST] pos: pod-a") != 1 {
			t.Errorf("%v", mail)
		}
	})
}

// F03: a receiver that is busy is told as soon as it responds, and the others are
// not told again.
func TestBusyReceiverIsToldLater(t *testing.T) {
	t.Parallel()
	for _, busyFor := range []time.Duration{5 * m, 15 * m} {
		synctest.Test(t, func(t *testing.T) {
			mail, phone := newLetters(), newLetters()
			start := time.Now()
			phone.refuse = func() error {
				if d := time.Since(start) - 5*m; d >= 0 && d < busyFor {
					return errors.New("503")
				}
				return nil
			}
			all, err := notify.NewMulti([]notify.Notifier{mail, phone}, &notify.MultiOptions{Logger: discard})
			if err != nil {
				t.Fatal(err)
			}
			al, stop := serve(t, all, alert.Options{}, during("db", true, 5*m, 55*m, down))
			time.Sleep(2 * h)
			stop()
			for _, l := range []*letters{mail, phone} {
				if got := l.subjects(); len(got) != 2 || got[0] != "[UNHEALTHY] pos: db" || !strings.HasPrefix(got[1], "[RECOVERED] pos: db after 50 min") {
					t.Errorf("%v", l)
				}
			}
			if late := phone.at[0] - 5*m - busyFor; late > m+time.Second {
				t.Errorf("told %v after it responds", late)
			}
			if al.Stats().Failed == 0 {
				t.Error("no failure was counted")
			}
		})
	}
}

// A receiver that says when it accepts messages again is not asked before.
func TestReceiverAsksForAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		phone := newLetters()
		var asked []time.Duration
		start := time.Now()
		phone.refuse = func() error {
			asked = append(asked, time.Since(start))
			if len(asked) < 3 {
				return fmt.Errorf("429: %w", tooMany(4*m))
			}
			return nil
		}
		_, stop := serve(t, phone, alert.Options{}, during("db", false, 0, ever, down))
		time.Sleep(h / 2)
		stop()
		if len(asked) != 3 || asked[1]-asked[0] < 4*m || asked[2]-asked[1] < 4*m || asked[2]-asked[0] > 9*m {
			t.Errorf("asked at %v", asked)
		}
	})
}

type tooMany time.Duration

func (w tooMany) Error() string             { return "too many requests" }
func (w tooMany) RetryAfter() time.Duration { return time.Duration(w) }

// F06: what a wrong clock has stored does not silence anything.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{2 * h, 2 * 365 * 24 * h} {
		store, mail := alert.Memory(), &letters{}
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(ahead)
			al, stop := serve(t, mail, alert.Options{Store: store, Instance: "h"}, during("db", true, 0, ever, down), during("disk", false, ever, ever, slow))
			time.Sleep(10 * m)
			if err := al.Silence(t.Context(), alert.Silence{Check: "disk", Until: time.Now().Add(h)}); err != nil {
				t.Fatal(err)
			}
			stop()
		})
		mail.got, mail.at = nil, nil
		synctest.Test(t, func(t *testing.T) { // each bubble begins at the same moment
			mail.start = time.Now()
			_, stop := serve(t, mail, alert.Options{Store: store, Instance: "h"}, during("db", true, 6*h, ever, down), during("disk", false, 2*h, ever, slow))
			time.Sleep(time.Duration(testserver.Sample(12, 48)) * h)
			stop()
			got := mail.subjects()
			if len(got) < 3 || !strings.HasPrefix(got[0], "[RECOVERED] pos: db") || mail.at[0] > 10*m ||
				got[1] != "[DEGRADED] pos: disk" || mail.at[1] > 2*h+5*m || !slices.Contains(got, "[UNHEALTHY] pos: db") {
				t.Errorf("%v", mail)
			}
		})
	}
}

// hourly runs the command once.
func hourly(t testing.TB, s alert.Store, to notify.Notifier, checks ...health.Check) {
	t.Helper()
	cmd := healthcli.Command{
		Registry: func(context.Context) (*health.Registry, error) {
			return health.New(checks, &health.Options{Logger: discard})
		},
		Notifier: func() (notify.Notifier, error) { return to, nil },
		Alert:    alert.Options{Service: "pos", Store: s, Logger: discard}, Stdout: io.Discard, Stderr: io.Discard,
	}
	cmd.Run(context.Background(), []string{"--notify"})
}

// F08: a server and a command share the state. A check of the own process differs
// between them, in both directions.
func TestServerAndCommandDoNotContradict(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"server", "command", "both"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, mail := alert.Memory(), newLetters()
				in := func(sees bool, from, to time.Duration) health.Check {
					if !sees {
						from = ever
					}
					return during("files", true, from, to, down)
				}
				_, stop := serve(t, mail, alert.Options{Store: store}, in(who != "command", 0, 6*h))
				start := time.Now()
				command := when("files", true, func() bool { d := time.Since(start); return who != "server" && d >= 2*h && d < 9*h }, down)
				for range 12 {
					time.Sleep(53 * m)
					hourly(t, store, mail, command)
					time.Sleep(7 * m)
				}
				stop()
				if mail.containing("RECOVERED") != 1 || mail.containing("[UNHEALTHY] pos: files") != 1+mail.containing(", for ") {
					t.Errorf("%v", mail)
				}
				want := map[string]time.Duration{"server": 6 * h, "command": 9 * h, "both": 9 * h}[who]
				if last := mail.at[len(mail.at)-1]; last < want || last > want+h+5*m {
					t.Errorf("recovered at %v, over at %v", last, want)
				}
			})
		})
	}
}

// F09, in real time: a notifier that ignores its context costs itself only.
func TestHangingReceiver(t *testing.T) {
	t.Parallel()
	c := during("db", true, 0, ever, down)
	c.Interval = 50 * time.Millisecond
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	hang := notify.Func(func(context.Context, notify.Message) error { <-release; return nil })
	fallback, mail := newLetters(), newLetters()
	al, stop := serve(t, hang, alert.Options{
		// A receiver that does not hang has this long, also on a busy machine.
		GroupWait: 50 * time.Millisecond, SendTimeout: time.Second, Retries: []time.Duration{200 * time.Millisecond},
		Fallback: fallback, Receivers: []alert.Receiver{{Name: "mail", Notifier: mail}},
	}, c)
	eventually(t, func() bool { return len(mail.all()) == 1 && len(fallback.all()) == 1 && al.Stats().Failed >= 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := al.Silence(ctx, alert.Silence{Until: time.Now().Add(time.Hour)}); err != nil {
		t.Errorf("a silence waits for the receiver: %v", err)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Run returned after %v", took)
	}
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("that did not happen within a minute")
		}
	}
}

// F10: a message just sent delays no outage.
func TestOutageRightAfterAWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		_, stop := serve(t, mail, alert.Options{}, during("disk", false, 0, ever, slow), during("db", true, 75*time.Second, 40*m, down))
		time.Sleep(h)
		stop()
		got := mail.subjects()
		i := slices.Index(got, "[UNHEALTHY] pos: db")
		if i < 0 || mail.at[i] > 75*time.Second+2*m {
			t.Fatalf("%v", mail)
		}
		// F11: the end of the outage names the database, although the disk warns on.
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "[RECOVERED] pos: db after 39 min") }) {
			t.Errorf("%v", mail)
		}
	})
}

// F12: a check that changes all the time is told with reminders and no flood.
func TestFlappingHasReminders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		start := time.Now()
		_, stop := serve(t, mail, alert.Options{}, when("db", true, func() bool { return time.Since(start)%(4*m) < m }, down))
		days, most := testserver.Sample(1, 7), testserver.Sample(8, 16)
		time.Sleep(time.Duration(days) * 24 * h)
		stop()
		var late int
		for _, at := range mail.at {
			if at > 30*m {
				late++
			}
		}
		if len(mail.at) > most || late < days {
			t.Errorf("%d messages, %d of them after the first half hour:%v", len(mail.at), late, mail)
		}
	})
}

// F17: a process that dies every 25 s never confirms a state. The stops are told.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, mail := alert.Memory(), newLetters()
		run := func(d time.Duration, kill bool) {
			store := &mortal{Store: disk}
			_, stop := serve(t, mail, alert.Options{Store: store, Instance: "pos-1"}, during("db", true, 0, ever, down))
			time.Sleep(d)
			if kill {
				store.kill()
			}
			stop()
		}
		for range 40 {
			run(25*time.Second, true)
		}
		i := slices.IndexFunc(mail.all(), func(msg notify.Message) bool { return strings.HasPrefix(msg.Subject, "[RESTARTED] pos: ") })
		if i < 0 || mail.containing("[RESTARTED]") != 1 {
			t.Fatalf("%v", mail)
		}
		if msg := mail.all()[i]; !strings.Contains(msg.Text, "times within the last hour") || msg.Level != notify.Critical {
			t.Error(msg.Text)
		}
	})
}

// A single unclean stop is told on request, and a clean one never.
func TestUncleanStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, mail := alert.Memory(), newLetters()
		p, pd := newPager(t)
		run := func(d time.Duration, kill bool) {
			store := &mortal{Store: disk}
			_, stop := serve(t, mail, alert.Options{
				Store: store, Instance: "pos-1", TellUncleanStop: true, Receivers: []alert.Receiver{{Name: "pager", Notifier: pd}},
			}, during("db", true, ever, ever, down))
			time.Sleep(d)
			if kill {
				store.kill()
			}
			stop()
		}
		run(h, false)
		run(h, true)
		if len(mail.all()) != 0 {
			t.Fatalf("%v", mail)
		}
		run(2*h, false)
		if got := mail.subjects(); len(got) != 2 || got[0] != "[RESTARTED] pos: pos-1" || !strings.HasPrefix(got[1], "[RECOVERED] pos: pos-1") {
			t.Errorf("%v", mail)
		}
		if len(p.pages) != 1 || len(p.open) != 0 {
			t.Errorf("the pager has %q, open %v", p.pages, p.open)
		}
	})
}

// checker makes a check of a function without a context.
func checker(f func() health.Result) health.Checker {
	return health.CheckerFunc(func(context.Context) health.Result { return f() })
}

// serveOnce returns an alerter that does not run.
func serveOnce(t testing.TB) (*alert.Alerter, *health.Registry) {
	t.Helper()
	reg, err := health.New([]health.Check{during("db", true, 0, ever, down)}, &health.Options{Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	al, err := alert.New(reg, newLetters(), &alert.Options{LinkURL: linkURL, LinkSecret: linkSecret, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	return al, reg
}

// A message about a failure has the output of the last bad result, also if a later result
// passed and is not confirmed, and while the check is flapping.
func TestOutputOfTheFailure(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(d time.Duration) bool{
		"passes again": func(d time.Duration) bool { return d > 5*m && d < 5*m+45*time.Second },
		"flapping":     func(d time.Duration) bool { return d > 5*m && d%(2*m) < m },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mail := newLetters()
				c := when("db", true, func() bool { return bad(time.Since(mail.start)) }, health.Failed("connection refused", nil))
				c.FailAfter, c.RecoverAfter = 3, 20
				_, stop := serve(t, mail, alert.Options{}, c)
				time.Sleep(90 * m)
				stop()
				told := 0
				for _, msg := range mail.all() {
					for _, a := range msg.Alerts {
						if a.Event != notify.Ended {
							told++
							if a.Output != "connection refused" {
								t.Errorf("%s: %q", msg.Subject, a.Output)
							}
						}
					}
				}
				if told == 0 {
					t.Errorf("%v", mail)
				}
			})
		})
	}
}

// A critical check that no loop runs is a failure.
func TestRegistryDoesNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		log, logger := newLines()
		reg, err := health.New([]health.Check{during("db", true, 0, 0, down), during("disk", false, 0, 0, down)}, &health.Options{Service: "pos", Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		al, err := alert.New(reg, mail, &alert.Options{Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = al.Run(ctx) })
		time.Sleep(20 * m)
		if got := mail.subjects(); len(got) != 1 || got[0] != "[UNHEALTHY] pos: db" || !strings.Contains(mail.all()[0].Text, "does not call Run") || log.containing("has never run") != 1 {
			t.Errorf("%v %v", mail, log.n)
		}
		wg.Go(func() { _ = reg.Run(ctx) })
		time.Sleep(20 * m)
		cancel()
		wg.Wait()
		if mail.containing("[RECOVERED] pos: db") != 1 {
			t.Errorf("%v", mail)
		}
	})
}

// A long Retry-After delays a critical alert by a minute at most, and starts the fallback.
func TestLongPauseAndACriticalAlert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fallback := newLetters()
		var asked []time.Duration
		busy := notify.Func(func(context.Context, notify.Message) error {
			asked = append(asked, time.Since(fallback.start))
			return tooMany(10 * m)
		})
		_, stop := serve(t, busy, alert.Options{Fallback: fallback}, during("db", true, 5*m, ever, down))
		time.Sleep(35 * m)
		stop()
		if len(asked) < 25 || asked[1]-asked[0] > 61*time.Second {
			t.Errorf("asked at %v", asked)
		}
		if fallback.containing("UNHEALTHY") != 1 || fallback.at[0]-asked[0] > m {
			t.Errorf("the fallback got%v", fallback)
		}
	})
}

// A deployment that starts the new process before it stops the old one is no crash.
func TestOverlappingDeployments(t *testing.T) {
	t.Parallel()
	for name, overlap := range map[string]time.Duration{"5 s": 5 * time.Second, "5 min": 5 * m} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, mail := alert.Memory(), newLetters()
				stop := func() {}
				for range 5 {
					_, next := serve(t, mail, alert.Options{Instance: "host", Store: store, TellUncleanStop: true}, during("db", true, ever, ever, down))
					time.Sleep(overlap)
					stop()
					stop = next
					time.Sleep(10 * m)
				}
				stop()
				if len(mail.all()) != 0 {
					t.Errorf("%v", mail)
				}
			})
		})
	}
}
