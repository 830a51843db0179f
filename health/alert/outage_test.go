package alert_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// lines is a log that counts its errors by their text.
type lines struct {
	slog.Handler
	mu sync.Mutex
	n  map[string]int
}

func newLines() (*lines, *slog.Logger) {
	l := &lines{Handler: slog.DiscardHandler, n: map[string]int{}}
	return l, slog.New(l)
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level >= slog.LevelWarn {
		l.n[r.Message]++
	}
	return nil
}

func (l *lines) containing(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line, count := range l.n {
		if strings.Contains(line, text) {
			n += count
		}
	}
	return n
}

// watched is serve with a log.
func watched(t testing.TB, to notify.Notifier, o alert.Options, checks ...health.Check) (al *alert.Alerter, log *lines, stop func()) {
	t.Helper()
	log, o.Logger = newLines()
	reg, err := health.New(checks, &health.Options{Service: "pos", Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	o.Location = time.UTC
	if al, err = alert.New(reg, to, &o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- reg.Run(ctx) }()
	go func() { ended <- al.Run(ctx) }()
	return al, log, func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

// hanging is a store that does not return while it is held.
type hanging struct {
	alert.Store
	mu     sync.Mutex
	late   bool // hangs after the decision, not before it
	held   chan struct{}
	inside int
	most   int
}

func (s *hanging) hold() { s.mu.Lock(); defer s.mu.Unlock(); s.held = make(chan struct{}) }
func (s *hanging) free() { s.mu.Lock(); defer s.mu.Unlock(); close(s.held); s.held = nil }

func (s *hanging) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	s.mu.Lock()
	held, late := s.held, s.late
	s.inside++
	s.most = max(s.most, s.inside)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.inside--; s.mu.Unlock() }()
	if held != nil && !late {
		<-held
	}
	return s.Store.Update(ctx, func(b []byte) ([]byte, error) {
		next, err := f(b)
		if held != nil && late {
			<-held
		}
		return next, err
	})
}

// A store that hangs, before a decision or after it, delays an alert by little more than
// a minute. Its late result changes nothing.
func TestHangingStore(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("late ", late), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, mail := &hanging{Store: alert.Memory(), late: late}, newLetters()
				al, log, stop := watched(t, mail, alert.Options{Store: store, Instance: "h"}, during("db", true, 10*m, 5*h, down))
				time.Sleep(5 * m)
				store.hold()
				time.Sleep(h)
				if got := mail.subjects(); len(got) != 1 || got[0] != "[UNHEALTHY] pos: db" || mail.at[0] > 14*m {
					t.Errorf("%v", mail)
				}
				if err := al.Silence(t.Context(), alert.Silence{Until: time.Now().Add(h)}); err == nil {
					t.Error("a silence was not stored, and no error says so")
				}
				store.free()
				time.Sleep(6 * h)
				store.hold()
				time.Sleep(m)
				began := time.Now()
				stop()
				if took := time.Since(began); took > 12*time.Second {
					t.Errorf("Run returned after %v", took)
				}
				store.free()
				if mail.containing("UNHEALTHY") < 1 || mail.containing("RECOVERED") != 1 || mail.containing("LOST") != 0 || store.most != 1 {
					t.Errorf("%v, %d calls at once", mail, store.most)
				}
				if st := al.Stats(); st.StoreErrors == 0 || log.containing("the state cannot be stored") > 2 {
					t.Errorf("%+v, %v", st, log.n)
				}
			})
		})
	}
}

// A process that keeps the lock of the state file silences no alert.
func TestHeldLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "alerts.json")
		lock := flock.New(path + ".lock")
		if ok, err := lock.TryLock(); err != nil || !ok {
			t.Fatal(err)
		}
		mail := newLetters()
		al, log, stop := watched(t, mail, alert.Options{Store: alert.File(path)}, during("db", true, 0, h, down))
		time.Sleep(20 * m)
		if mail.containing("UNHEALTHY") != 1 || mail.at[0] > 5*m || al.Stats().StoreErrors == 0 || log.containing("the state cannot be stored") != 1 {
			t.Errorf("%v %+v %v", mail, al.Stats(), log.n)
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * h)
		stop()
		if mail.containing("RECOVERED") != 1 {
			t.Errorf("%v", mail)
		}
	})
}

// A command waits a minute for the lock, and then sends its messages and reports the store.
func TestHeldLockOfACommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		reg, err := health.New([]health.Check{during("db", true, 0, ever, down)}, &health.Options{Service: "pos", Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		al, err := alert.New(reg, mail, &alert.Options{Store: inUse{}, Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := reg.RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := al.Once(t.Context(), reg.Snapshot()); !errors.Is(err, alert.ErrBusy) || len(mail.all()) != 1 || time.Since(began) > 2*m {
			t.Errorf("%v after %v: %v", err, time.Since(began), mail)
		}
	})
}

// inUse is a store that another process never releases.
type inUse struct{}

func (inUse) Update(context.Context, func([]byte) ([]byte, error)) error { return alert.ErrBusy }

type brokenError struct{ code int }

func (e *brokenError) Error() string { return fmt.Sprint(e.code) }

type badWait struct{}

func (badWait) Error() string             { return "busy" }
func (badWait) RetryAfter() time.Duration { panic("no clock") }

// Code of the user that panics or ends its goroutine costs a message at most.
func TestForeignCodeFails(t *testing.T) {
	t.Parallel()
	none := func() error { var e *brokenError; return e }
	for name, fail := range map[string]func() error{
		"panics":                func() error { panic("no") },
		"ends its goroutine":    func() error { runtime.Goexit(); return nil },
		"typed nil":             none,
		"wrapped typed nil":     func() error { return fmt.Errorf("sending: %w", none()) },
		"RetryAfter that fails": func() error { return badWait{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mail, store := newLetters(), &failing{Store: alert.Memory()}
				var calls atomic.Int32
				al, log, stop := watched(t, mail, alert.Options{
					Store: store, Trace: &alert.Trace{Delivery: func(context.Context, alert.DeliveryEvent) { calls.Add(1); _ = fail(); panic("metrics") }},
					Receivers: []alert.Receiver{{Name: "broken", Notifier: notify.Func(func(context.Context, notify.Message) error { return fail() })}},
				}, during("db", true, 5*m, 3*h, down))
				time.Sleep(h)
				store.set(fail)
				time.Sleep(m)
				store.set(nil)
				time.Sleep(4 * h)
				stop()
				if got := mail.subjects(); mail.containing("UNHEALTHY") < 1 || mail.containing("RECOVERED") != 1 {
					t.Errorf("%q", got)
				}
				if st := al.Stats(); st.Failed == 0 || st.StoreErrors == 0 || calls.Load() == 0 || log.containing("Trace.Delivery") == 0 {
					t.Errorf("%+v, %d calls of the hook, %v", st, calls.Load(), log.n)
				}
			})
		})
	}
}

// failing is a store whose code fails.
type failing struct {
	alert.Store
	mu   sync.Mutex
	fail func() error
}

func (s *failing) set(fail func() error) { s.mu.Lock(); defer s.mu.Unlock(); s.fail = fail }

func (s *failing) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		return fail()
	}
	return s.Store.Update(ctx, f)
}

// standby leaves all messages to another process.
type standby struct{}

func (standby) Update(context.Context, func([]byte) ([]byte, error)) error { return alert.ErrStandby }

// A process that stands by sends nothing, however long that lasts.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, store := range []alert.Store{standby{}, alert.Fallback(standby{}, alert.Memory(), "a")} {
			mail := newLetters()
			al, _, stop := watched(t, mail, alert.Options{Store: store, Instance: "a"}, during("db", true, 0, ever, down))
			time.Sleep(24 * h)
			stop()
			if n := len(mail.all()); n != 0 || al.Stats().StoreErrors != 0 {
				t.Errorf("%d messages, %+v", n, al.Stats())
			}
		}
	})
}

// kill ends a process without a trace in the store.
func kill(store *broken, stop func()) {
	store.set(true)
	stop()
}

// A silence, a window or a route that is about a check hides no loss of the instance.
func TestLossIsToldDespiteOpenAlert(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		silence alert.Silence
		o       alert.Options
		want    int
	}{
		"nothing":            {want: 0}, // the alert about the disk tells it
		"silenced alert":     {silence: alert.Silence{Subject: "disk@pod-a"}, want: 1},
		"silenced check":     {silence: alert.Silence{Check: "disk"}, want: 1},
		"silenced instance":  {silence: alert.Silence{Instance: "pod-a"}, want: 0},
		"window":             {o: alert.Options{Windows: []alert.Window{{Checks: []string{"disk"}, From: "00:10", To: "00:05"}}}, want: 1},
		"receiver by checks": {o: alert.Options{Receivers: []alert.Receiver{{Name: "instances", Checks: []string{""}}}}, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared, mail := alert.Memory(), newLetters()
				store := &broken{Store: shared}
				c.o.Store, c.o.Instance = shared, "pod-b"
				for i := range c.o.Receivers {
					c.o.Receivers[i].Notifier = mail
				}
				b, stopB := serve(t, mail, c.o, during("disk", false, ever, ever, slow))
				c.o.Store, c.o.Instance = store, "pod-a"
				_, stopA := serve(t, mail, c.o, during("disk", false, 0, ever, slow))
				time.Sleep(20 * m)
				if c.silence != (alert.Silence{}) {
					c.silence.Until = time.Now().Add(20 * 24 * h)
					if err := b.Silence(t.Context(), c.silence); err != nil {
						t.Error(err)
					}
				}
				kill(store, stopA)
				time.Sleep(12 * h)
				if n := mail.containing("[LOST] pos: pod-a"); n < c.want || c.want == 0 && n > 0 {
					t.Errorf("%v", mail)
				}
				// A person closes the alert about the instance, and it stays closed.
				if c.want > 0 {
					if err := b.Acknowledge(t.Context(), "lost@pod-a", "me"); err != nil {
						t.Error(err)
					}
					time.Sleep(2 * h)
					if open := b.Alerts().Open; len(open) != 0 {
						t.Errorf("open %+v", open)
					}
				}
				stopB()
			})
		})
	}
}

// A receiver that is down hides no loss of an instance from the others.
func TestSecondLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, mail := alert.Memory(), newLetters()
		dead := notify.Func(func(context.Context, notify.Message) error { return errors.New("no answer") })
		o := alert.Options{Store: shared, Instance: "pod-b", Receivers: []alert.Receiver{{Name: "dead", Notifier: dead}}}
		_, stop := serve(t, mail, o, during("disk", false, ever, ever, slow))
		for range 3 {
			store := &broken{Store: shared}
			o.Store, o.Instance = store, "pod-a"
			_, stopA := serve(t, mail, o, during("disk", false, ever, ever, slow))
			time.Sleep(20 * m)
			kill(store, stopA)
			time.Sleep(h)
		}
		stop()
		if mail.containing("[LOST] pos: pod-a") != 3 || mail.containing("[RECOVERED] pos: pod-a") != 2 {
			t.Errorf("%v", mail)
		}
	})
}
