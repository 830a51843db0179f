package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
)

// runs starts the service again and again on one store, every 10 minutes, after a clean stop
// or a kill. act is called a minute before each end.
func runs(t *testing.T, n int, kill bool, to *letters, o alert.Options, checks func(run int) []health.Check, act func(run int, al *alert.Alerter)) {
	t.Helper()
	store := alert.Memory()
	for i := range n {
		s := &mortal{Store: store}
		o.Store, o.Instance = s, "a"
		al, stop := serve(t, to, o, checks(i)...)
		time.Sleep(8 * m)
		if act != nil {
			act(i, al)
		}
		time.Sleep(m)
		if kill {
			s.kill()
		}
		stop()
		time.Sleep(m)
	}
}

// The wait of an escalation goes on through restarts and kills.
func TestEscalationOverRestarts(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first, second := newLetters(), newLetters()
			o := alert.Options{Receivers: []alert.Receiver{{Name: "second", Notifier: second, After: 30 * m}}}
			runs(t, 5, kill, first, o, func(int) []health.Check { return []health.Check{during("db", true, 0, ever, down)} }, nil)
			if first.containing("db") != 1 || second.containing("db") != 1 || second.at[0] < 30*m || second.at[0] > 32*m {
				t.Errorf("kill %v: %v%v", kill, first, second)
			}
		})
	}
}

// Acknowledgements and silences survive. A silence that ends is followed by one message, and
// only then the wait of an escalation begins.
func TestAcknowledgementAndSilenceOverRestarts(t *testing.T) {
	t.Parallel()
	for _, silence := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first, second := newLetters(), newLetters()
			o := alert.Options{Receivers: []alert.Receiver{{Name: "second", Notifier: second, After: 15 * m}}}
			late := during("db", true, 9*m, ever, down)
			runs(t, 11, false, first, o, func(int) []health.Check { return []health.Check{late} }, func(run int, al *alert.Alerter) {
				var err error
				switch {
				case silence && run == 0:
					err = al.Silence(t.Context(), alert.Silence{Check: "db", Until: time.Now().Add(50 * m)})
				case !silence && run == 1:
					err = al.Acknowledge(t.Context(), "db", "ada")
				case run == 10 && al.Alerts().Open[0].AckBy != map[bool]string{false: "ada"}[silence]:
					t.Errorf("%+v", al.Alerts().Open)
				}
				if err != nil {
					t.Error(err)
				}
			})
			switch {
			case silence && (first.containing("db") != 1 || first.at[0] < 58*m || first.at[0] > 60*m || second.containing("db") != 1 || second.at[0] < 65*m):
				t.Errorf("silence: %v%v", first, second)
			case !silence && (first.containing("db") != 1 || second.containing("db") != 0):
				t.Errorf("acknowledged: %v%v", first, second)
			}
		})
	}
}

// An alert about a check that was removed or renamed ends, and no message calls it
// recovered.
func TestCheckRemovedBetweenRestarts(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		for _, name := range []string{"", "database"} {
			synctest.Test(t, func(t *testing.T) {
				mail := newLetters()
				runs(t, 3, false, mail, alert.Options{}, func(run int) []health.Check {
					c := during("db", true, 0, ever, down)
					if c.Shared = shared; run == 0 {
						return []health.Check{c}
					}
					if c.Name = name; name == "" {
						return nil
					}
					return []health.Check{c}
				}, func(run int, al *alert.Alerter) {
					for _, open := range al.Alerts().Open {
						if run > 0 && open.Check != name {
							t.Errorf("still open: %+v", open)
						}
					}
				})
				if mail.containing("[CLOSED] pos: db, no instance reports it any more") != 1 || mail.containing("RECOVERED") != 0 ||
					name != "" && mail.containing("[UNHEALTHY] pos: "+name) != 1 {
					t.Errorf("shared %v, renamed to %q: %v", shared, name, mail)
				}
			})
		}
	}
}

// With MinStatus Fail, a check that still warns has recovered, also if all instances share
// it.
func TestMinStatusEndsAtAWarning(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mail := newLetters()
			start := time.Now()
			c := during("db", true, 0, ever, down)
			c.Shared = shared
			c.Checker = checker(func() health.Result {
				if time.Since(start) < 10*m {
					return down
				}
				return slow
			})
			_, stop := serve(t, mail, alert.Options{MinStatus: health.Fail}, c)
			time.Sleep(h)
			stop()
			if got := fmt.Sprint(mail.subjects()); !strings.Contains(got, "[RECOVERED] pos: db after 10 min") || len(mail.all()) != 2 {
				t.Errorf("shared %v: %v", shared, mail)
			}
		})
	}
}
