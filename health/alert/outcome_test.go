package alert_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/notify"
)

// network is the way to an on-call service. before runs before a request arrives, and
// after runs before its response does.
type network struct {
	to            http.RoundTripper
	before, after func(ctx context.Context) error
}

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.before != nil {
		if err := n.before(r.Context()); err != nil {
			return nil, err
		}
	}
	res, err := n.to.RoundTrip(r)
	if err == nil && n.after != nil {
		if err := n.after(r.Context()); err != nil {
			return nil, err
		}
	}
	return res, err
}

func (n network) notifier(t testing.TB) notify.Notifier {
	t.Helper()
	pd, err := notify.NewPagerDuty(notify.PagerDutyEvents, "R", &notify.WebhookOptions{Client: &http.Client{Transport: n}})
	if err != nil {
		t.Fatal(err)
	}
	return pd
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The pager opens an incident, and its response is lost. The end of the alert resolves it.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPager(t)
		start := time.Now()
		way := network{to: p, after: func(ctx context.Context) error {
			if time.Since(start) < 12*m {
				return pause(ctx, h)
			}
			return nil
		}}
		al, stop := serve(t, way.notifier(t), alert.Options{}, during("db", true, 5*m, 10*m, down))
		time.Sleep(3 * h)
		stop()
		if len(p.pages) != 1 || len(p.open) != 0 || len(al.Alerts().Open) != 0 || al.Stats().Dropped != 0 {
			t.Errorf("pages %q, open %v, %+v", p.pages, p.open, al.Stats())
		}
	})
}

// A rise to critical whose response is lost opens a second incident. Both are resolved.
func TestUnknownOutcomeOfARise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPager(t)
		start := time.Now()
		way := network{to: p, after: func(ctx context.Context) error {
			if d := time.Since(start); d > 40*m && d < 50*m {
				return pause(ctx, h)
			}
			return nil
		}}
		disk := checker(func() health.Result {
			switch d := time.Since(start); {
			case d >= 41*m && d < 45*m:
				return down
			case d < 2*h:
				return slow
			}
			return health.Passed("")
		})
		_, stop := serve(t, way.notifier(t), alert.Options{}, health.Check{Name: "disk", Critical: true, Timeout: time.Second, Checker: disk})
		time.Sleep(3 * h)
		stop()
		if len(p.pages) != 2 || len(p.open) != 0 {
			t.Errorf("pages %q, open %v", p.pages, p.open)
		}
	})
}

// An error says nothing about what arrived, unless it says so.
func TestErrorsAndTheEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail func(notify.Message) error
		want int // messages about the end
	}{
		"any error":       {func(notify.Message) error { return errors.New("broken") }, 1},
		"nothing arrived": {func(m notify.Message) error { return notify.Refused(m, errors.New("broken")) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mail := newLetters()
				mail.start = time.Now()
				to := notify.Func(func(ctx context.Context, msg notify.Message) error {
					if time.Since(mail.start) < 12*m {
						return c.fail(msg)
					}
					return mail.Notify(ctx, msg)
				})
				al, stop := serve(t, to, alert.Options{}, during("db", true, 5*m, 9*m, down))
				time.Sleep(3 * h)
				stop()
				if mail.containing("RECOVERED") != c.want || len(mail.all()) != c.want || al.Stats().Dropped != uint64(1-c.want) {
					t.Errorf("%v %+v", mail, al.Stats())
				}
			})
		})
	}
}

// A receiver that has accepted one of two alerts gets the end of that one.
func TestPartialOutcome(t *testing.T) {
	t.Parallel()
	for _, exact := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			open := map[string]bool{}
			sent := map[string]int{}
			to := notify.Func(func(_ context.Context, msg notify.Message) error {
				e := &notify.DeliveryError{Err: errors.New("400 for b")}
				for _, a := range msg.Alerts {
					if a.Event == notify.Ongoing {
						continue
					}
					switch sent[a.Check]++; {
					case a.Event == notify.Ended:
						delete(open, a.Check)
					case a.Check == "b":
						e.Refused = append(e.Refused, a.Key)
						continue
					default:
						open[a.Check] = true
					}
					e.Accepted = append(e.Accepted, a.Key)
				}
				switch {
				case len(e.Refused) == 0:
					return nil
				case exact:
					return e
				}
				return e.Err
			})
			al, stop := serve(t, to, alert.Options{Reminders: []time.Duration{}}, during("a", true, 5*m, 3*h, down), during("b", true, 5*m, 3*h, down))
			time.Sleep(h)
			if exact && (sent["a"] != 1 || sent["b"] < 20) {
				t.Errorf("%v: an accepted alert is sent once, a refused one again and again", sent)
			}
			time.Sleep(6 * h)
			stop()
			if len(open) != 0 || len(al.Alerts().Open) != 0 {
				t.Errorf("exact %v: open %v, %+v", exact, open, al.Stats())
			}
		})
	}
}

// An alert that a receiver never accepts, with the message that it is in, stops no other alert.
func TestAlertThatIsRejectedForEver(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]func(notify.Message, error) error{
		"refused": notify.Refused,
		"unknown": func(_ notify.Message, err error) error { return err },
	} {
		for _, critical := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", critical ", critical), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					mail := newLetters()
					to := notify.Func(func(ctx context.Context, msg notify.Message) error {
						for _, a := range msg.Alerts {
							if a.Check == "bad" {
								return failure(msg, errors.New("403 by a firewall"))
							}
						}
						return mail.Notify(ctx, msg)
					})
					_, stop := serve(t, to, alert.Options{Reminders: []time.Duration{}},
						during("bad", critical, 5*m, 20*h, down), during("also", false, 5*m, 10*h, down), during("later", false, 6*h+10*m, 9*h, down))
					time.Sleep(7 * h)
					if mail.containing("] pos: also") != 1 || mail.containing("] pos: later") != 1 || mail.at[0] > h || mail.at[1] > 6*h+15*m {
						t.Errorf("%v", mail)
					}
					time.Sleep(5 * h)
					stop()
					if mail.containing("[RECOVERED] pos: also") != 1 || mail.containing("[RECOVERED] pos: later") != 1 {
						t.Errorf("%v", mail)
					}
				})
			})
		}
	}
}

// An alert that a receiver never accepts reaches the Fallback, although it accepts others.
func TestRejectedAlertReachesTheFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail, fallback := newLetters(), newLetters()
		to := notify.Func(func(ctx context.Context, msg notify.Message) error {
			for _, a := range msg.Alerts {
				if a.Check == "bad" {
					return notify.Refused(msg, errors.New("403 by a firewall"))
				}
			}
			return mail.Notify(ctx, msg)
		})
		often := when("often", false, func() bool { return time.Since(mail.start)%(40*m) > 20*m }, down)
		_, stop := serve(t, to, alert.Options{Fallback: fallback, Reminders: []time.Duration{}}, during("bad", false, 5*m, 20*h, down), often)
		time.Sleep(24 * h)
		stop()
		if len(fallback.all()) != 2 || fallback.containing("pos: bad") != 2 || fallback.at[0] > 2*h || mail.containing("] pos: often") < 60 {
			t.Errorf("%v, %v", mail, fallback)
		}
	})
}

// Alerts that begin while a receiver is down do not prolong the pause until the next attempt.
func TestAlertsDuringAShortOutageOfTheReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail, fallback := newLetters(), newLetters()
		mail.refuse = func() error {
			if time.Since(mail.start) < 20*m {
				return errors.New("no connection")
			}
			return nil
		}
		checks := []health.Check{during("a", false, 5*m, ever, down)}
		for i := range 8 {
			checks = append(checks, during(fmt.Sprint("b", i), false, time.Duration(9+i)*m, ever, down))
		}
		_, stop := serve(t, mail, alert.Options{Fallback: fallback, Reminders: []time.Duration{}}, checks...)
		time.Sleep(2 * h)
		stop()
		if len(mail.all()) != 2 || mail.at[1] > 30*m || len(fallback.all()) != 0 {
			t.Errorf("%v, %v", mail, fallback)
		}
	})
}

// A message that is tried again, for one of its recipients, has the same ID.
func TestDeferredRecipient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := map[string]string{}
		deferred := notify.Func(func(_ context.Context, msg notify.Message) error {
			ids[msg.ID] = msg.Subject
			return errors.New("450 try again later")
		})
		_, stop := serve(t, deferred, alert.Options{}, during("disk", false, 5*m, 3*h, slow))
		time.Sleep(2 * h)
		stop()
		if len(ids) != 1 {
			t.Errorf("%q", ids)
		}
	})
}

// After an outage of the receiver, the alerts follow in two messages at once.
func TestAlertsAfterAnOutageOfTheReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		mail.refuse = func() error {
			if time.Since(mail.start) < 3*h {
				return errors.New("no connection")
			}
			return nil
		}
		_, stop := serve(t, mail, alert.Options{Reminders: []time.Duration{}}, during("a", false, 5*m, ever, down),
			during("b", false, 6*m, ever, down), during("c", true, 7*m, ever, down), during("d", false, h, ever, down))
		time.Sleep(5 * h)
		stop()
		alerts := map[string]bool{}
		for _, msg := range mail.all() {
			for _, a := range msg.Alerts {
				alerts[a.Check] = true
			}
		}
		if len(mail.all()) != 2 || len(alerts) != 4 || mail.at[1] > 3*h+6*m {
			t.Errorf("%v", mail)
		}
	})
}

// A process that dies between a delivery and its record does not forget the incident.
func TestDeathBeforeTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := alert.Memory()
		p, _ := newPager(t)
		store := &mortal{Store: disk}
		way := network{to: p, after: func(context.Context) error { store.kill(); return nil }}
		_, stop := serve(t, way.notifier(t), alert.Options{Store: store, Instance: "h"}, during("db", true, 0, ever, down))
		time.Sleep(10 * m)
		stop()
		if len(p.open) != 1 {
			t.Fatalf("open %v", p.open)
		}
		_, stop = serve(t, network{to: p}.notifier(t), alert.Options{Store: disk, Instance: "h"}, during("db", true, ever, ever, down))
		time.Sleep(h)
		stop()
		if len(p.open) != 0 {
			t.Errorf("open %v", p.open)
		}
	})
}

// Instances without their store send alerts of their own. The end resolves all of them, in
// whatever order the instances reach the store again.
func TestKeysOfSeveralInstances(t *testing.T) {
	t.Parallel()
	for _, cutOff := range [][]int{{1}, {2, 0, 1}, {0, 1, 2}}[:testserver.Sample(2, 3)] {
		synctest.Test(t, func(t *testing.T) {
			p, pd := newPager(t)
			shared := alert.Memory()
			var stores []*broken
			var stops []func()
			var alerters []*alert.Alerter
			for i := range 3 {
				s := &broken{Store: shared}
				stores = append(stores, s)
				db := during("db", true, 10*m, 2*h, down)
				db.Shared = true
				al, stop := serve(t, pd, alert.Options{Store: s, Instance: fmt.Sprint("pod-", i)}, db)
				stops, alerters = append(stops, stop), append(alerters, al)
			}
			time.Sleep(5 * m)
			for _, i := range cutOff {
				stores[i].set(true)
			}
			time.Sleep(h)
			if len(p.pages) < 2 {
				t.Errorf("%v: open %v", cutOff, p.open)
			}
			for _, i := range cutOff {
				stores[i].set(false)
				if i == 1 { // a person acts before the next decision
					if err := alerters[i].Silence(t.Context(), alert.Silence{Check: "db", Until: time.Now().Add(m)}); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(2 * m)
			}
			pages := len(p.pages)
			time.Sleep(3 * h)
			for _, stop := range stops {
				stop()
			}
			if len(p.open) != 0 || len(p.pages) != pages {
				t.Errorf("%v: open %v, pages %q", cutOff, p.open, p.pages)
			}
		})
	}
}

// Without the store, an instance that sees a shared check pass does not end the alert of one
// that sees it fail.
func TestCutOffInstanceEndsNoAlertOfAnother(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, pd := newPager(t)
			shared := alert.Memory()
			var stores []*broken
			var stops []func()
			for i, until := range []time.Duration{20 * m, 3 * h} { // pod-0 sees the end first
				s := &broken{Store: shared}
				stores = append(stores, s)
				o := alert.Options{Store: s, Instance: fmt.Sprint("pod-", i)}
				if fallback {
					o.Store = alert.Fallback(s, alert.Memory(), o.Instance)
				}
				db := during("db", true, 10*m, until, down)
				db.Shared = true
				_, stop := serve(t, pd, o, db)
				stops = append(stops, stop)
			}
			for range 4 {
				time.Sleep(30 * m)
				for _, s := range stores {
					s.set(!s.cut)
				}
				if len(p.pages) != 1 || len(p.open) != 1 {
					t.Errorf("fallback %v: pages %q, open %v", fallback, p.pages, p.open)
				}
			}
			time.Sleep(2 * h)
			for _, stop := range stops {
				stop()
			}
			if len(p.pages) != 1 || len(p.open) != 0 {
				t.Errorf("fallback %v: pages %q, open %v", fallback, p.pages, p.open)
			}
		})
	}
}

// An instance that is cut off while it sees the problem too ends no alert of another one, and
// sends nothing more about it when it sees the end.
func TestCutOffReporterEndsNoAlertOfAnother(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, pd := newPager(t)
			shared := alert.Memory()
			cut := &broken{Store: shared}
			db := func(until time.Duration) health.Check {
				db := during("db", true, 10*m, until, down)
				db.Shared = true
				return db
			}
			o := alert.Options{Store: cut, Instance: "pod-0"}
			if fallback {
				o.Store = alert.Fallback(cut, alert.Memory(), "pod-0")
			}
			_, stop := serve(t, pd, o, db(40*m))
			_, stopOther := serve(t, pd, alert.Options{Store: shared, Instance: "pod-1", ForgetLost: true}, db(2*h))
			time.Sleep(20 * m)
			cut.set(true)
			for i := range 12 {
				time.Sleep(10 * m)
				if len(p.pages) != 1 || len(p.open) != 1 && i < 9 || len(p.open) != 0 && i > 9 {
					t.Errorf("fallback %v: pages %q, open %v", fallback, p.pages, p.open)
				}
			}
			cut.set(false)
			time.Sleep(h)
			stop()
			stopOther()
			if len(p.pages) != 1 || len(p.open) != 0 {
				t.Errorf("fallback %v: pages %q, open %v", fallback, p.pages, p.open)
			}
		})
	}
}

// An instance whose main store fails just after an alarm sends no second message about its end.
func TestCutOffAfterTheAlarm(t *testing.T) {
	t.Parallel()
	for cut := 11*m + 20*time.Second; cut < 11*m+40*time.Second; cut += 2 * time.Second {
		synctest.Test(t, func(t *testing.T) {
			mail, shared := newLetters(), alert.Memory()
			main := &broken{Store: shared}
			var stops []func()
			for name, store := range map[string]alert.Store{"pod-0": alert.Fallback(main, alert.Memory(), "pod-0"), "pod-1": shared} {
				db := during("db", true, 10*m+20*time.Second, h, down)
				db.Shared = true
				_, stop := serve(t, mail, alert.Options{Store: store, Instance: name, ForgetLost: true}, db)
				stops = append(stops, stop)
			}
			time.Sleep(cut)
			main.set(true)
			time.Sleep(2*h - cut)
			main.set(false)
			time.Sleep(h)
			for _, stop := range stops {
				stop()
			}
			if mail.containing("[RECOVERED] pos: db") != mail.containing("[UNHEALTHY] pos: db") {
				t.Errorf("%v: %v", cut, mail)
			}
		})
	}
}

// An alert that ends without the store, or at the moment when the store is back, has one
// message about its end.
func TestStoreAndCheckRecoverTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cut, back time.Duration }{
		{10 * m, h},
		{10 * m, h + 5*time.Second},
		{10 * m, h + 10*time.Second},
		{10 * m, h + 20*time.Second},
		{12 * m, 2 * h},
		{11*m + 40*time.Second, 2 * h}, // just after the alarm
	} {
		synctest.Test(t, func(t *testing.T) {
			mail, store := newLetters(), &broken{Store: alert.Memory()}
			db := during("db", true, 10*m, h, down)
			db.Shared = true
			_, stop := serve(t, mail, alert.Options{Store: store}, db)
			time.Sleep(c.cut)
			store.set(true)
			time.Sleep(c.back - c.cut)
			store.set(false)
			time.Sleep(h)
			stop()
			if len(mail.all()) != 2 || mail.containing("[RECOVERED] pos: db") != 1 {
				t.Errorf("%v: %v", c, mail)
			}
		})
	}
}

// A silence that ended while an instance was cut off from the store does not come back.
func TestEndedSilenceStaysEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := alert.Memory()
		store := &broken{Store: shared}
		_, stopA := serve(t, newLetters(), alert.Options{Store: store, Instance: "pod-a"}, during("db", true, ever, ever, down))
		b, stopB := serve(t, newLetters(), alert.Options{Store: shared, Instance: "pod-b"}, during("db", true, ever, ever, down))
		silence := func(until time.Time) {
			if err := b.Silence(t.Context(), alert.Silence{Until: until}); err != nil {
				t.Fatal(err)
			}
		}
		silence(time.Now().Add(24 * h))
		time.Sleep(10 * m)
		store.set(true)
		time.Sleep(10 * m)
		silence(time.Now())
		store.set(false)
		time.Sleep(10 * m)
		if left, err := b.Silences(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("%+v %v", left, err)
		}
		stopA()
		stopB()
	})
}

// An instance that is cut off does not send what it knew about the others.
func TestCutOffInstanceTellsNothingOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, pd := newPager(t)
		shared := alert.Memory()
		fine := during("db", true, ever, ever, down)
		stores := []*broken{{Store: shared}, {Store: shared}}
		_, stopA := serve(t, pd, alert.Options{Store: stores[0], Instance: "pod-a"}, fine)
		_, kill := serve(t, pd, alert.Options{Store: stores[1], Instance: "pod-b"}, fine)
		time.Sleep(5 * m)
		start := time.Now()
		p.down = func() bool { return time.Since(start) < h }
		stores[1].set(true)
		kill()
		time.Sleep(10 * m) // pod-a finds it lost, and the pager does not answer
		stores[0].set(true)
		_, stopB := serve(t, pd, alert.Options{Store: shared, Instance: "pod-b"}, fine)
		time.Sleep(3 * h)
		for _, page := range p.pages {
			if page != "warning pos: pod-a: LOST" && page != "error pos: pod-a: LOST" { // it is the one that is cut off
				t.Errorf("pages %q", p.pages)
			}
		}
		stores[0].set(false)
		time.Sleep(h)
		stopA()
		stopB()
		if len(p.open) != 0 {
			t.Errorf("open %v", p.open)
		}
	})
}

// A slow pager gets every alert of a large outage, and its end.
func TestManyAlerts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{20, testserver.Sample(50, 150)} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := newPager(t)
			mail := newLetters()
			way := network{to: p, before: func(ctx context.Context) error { return pause(ctx, 700*time.Millisecond) }}
			var checks []health.Check
			for i := range n {
				c := during(fmt.Sprintf("c%03d", i), i%2 == 0, 5*m, h, down)
				c.Interval = m
				checks = append(checks, c)
			}
			al, stop := serve(t, nil, alert.Options{Receivers: []alert.Receiver{
				{Name: "pager", Notifier: way.notifier(t)}, {Name: "mail", Notifier: mail},
			}}, checks...)
			time.Sleep(25 * m)
			if len(p.open) != n {
				t.Errorf("the pager knows %d of %d alerts after 20 minutes", len(p.open), n)
			}
			told := map[string]bool{}
			for _, msg := range mail.all() {
				for _, a := range msg.Alerts {
					told[a.Check] = true
				}
			}
			if len(told) != n {
				t.Errorf("the mails are about %d of %d alerts", len(told), n)
			}
			time.Sleep(2 * h)
			stop()
			if len(p.open) != 0 || len(al.Alerts().Open) != 0 {
				t.Errorf("%d stay open, %+v", len(p.open), al.Stats())
			}
			if len(p.pages) != n {
				t.Errorf("%d pages for %d alerts", len(p.pages), n)
			}
		})
	}
}
