package alert_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// Each receiver gets what its route says, and all of it ends.
func TestRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, critical, disks, elsewhere := newLetters(), newLetters(), newLetters(), newLetters()
		_, stop := serve(t, nil, alert.Options{Instance: "pos-1", Receivers: []alert.Receiver{
			{Name: "all", Notifier: all},
			{Name: "critical", Notifier: critical, MinLevel: notify.Critical},
			{Name: "disks", Notifier: disks, Checks: []string{"disk*"}, NoRecovery: true},
			{Name: "elsewhere", Notifier: elsewhere, Instances: []string{"web-*"}},
		}}, during("disk-a", false, 10*m, 40*m, slow), during("db", true, 20*m, 30*m, down))
		time.Sleep(2 * h)
		stop()
		count := func(l *letters, want int) {
			t.Helper()
			if len(l.all()) != want {
				t.Errorf("%d messages, want %d:%v", len(l.all()), want, l)
			}
		}
		count(all, 4)
		count(critical, 2)
		count(disks, 1)
		count(elsewhere, 0)
		if critical.containing("db") != 2 || disks.containing("disk-a") != 1 {
			t.Errorf("%v%v", critical, disks)
		}
	})
}

// Outside its hours a receiver is told nothing. What lasts is told when they
// begin.
func TestHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins on Saturday, 1 January 2000, 00:00 UTC
		mail, day := newLetters(), newLetters()
		_, stop := serve(t, mail, alert.Options{Receivers: []alert.Receiver{{
			Name: "day", Notifier: day, Hours: []alert.Window{{From: "08:00", To: "18:00", Location: time.UTC}},
		}}}, during("short", true, h, 2*h, down), during("long", true, 3*h, 20*h, down))
		time.Sleep(40 * h)
		stop()
		if mail.containing("short") != 2 || day.containing("short") != 0 || day.containing("UNHEALTHY") < 1 || day.containing("RECOVERED") != 1 {
			t.Fatalf("%v%v", mail, day)
		}
		for _, at := range day.at {
			if hour := int(at.Hours()) % 24; hour < 8 || hour >= 18 {
				t.Errorf("told at %v", at)
			}
		}
		if day.at[0] > 8*h+2*m {
			t.Errorf("told at %v", day.at[0])
		}
	})
}

// Nobody acknowledges: the next receiver is told. Somebody does: it is not, and
// reminders end. The end is told in any case.
func TestEscalation(t *testing.T) {
	t.Parallel()
	for _, ack := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first, second := newLetters(), newLetters()
			al, stop := serve(t, first, alert.Options{Receivers: []alert.Receiver{{Name: "second", Notifier: second, After: 15 * m}}},
				during("db", true, 0, 10*h, down))
			time.Sleep(10 * m)
			if ack {
				if err := al.Acknowledge(t.Context(), al.Alerts().Open[0].ID, "ada"); err != nil {
					t.Fatal(err)
				}
				if open := al.Alerts().Open; open[0].AckBy != "ada" || open[0].AckAt.IsZero() {
					t.Errorf("%+v", open)
				}
			}
			time.Sleep(12 * h)
			stop()
			switch {
			case ack && (len(second.all()) != 0 || len(first.all()) != 2):
				t.Errorf("acknowledged: %v%v", first, second)
			case !ack && (second.containing("[UNHEALTHY] pos: db") < 1 || second.at[0] < 15*m || second.at[0] > 18*m || second.containing("RECOVERED") != 1):
				t.Errorf("not acknowledged: %v", second)
			case !ack && len(first.all()) < 4: // the beginning, two reminders, the end
				t.Errorf("reminders: %v", first)
			}
			if closed := al.Alerts().Closed; len(closed) != 1 || closed[0].Ending != "recovered" || closed[0].Ended.Sub(closed[0].Since) < 9*h+59*m || closed[0].Notified < 2 {
				t.Errorf("%+v", closed)
			}
		})
	}
}

// An acknowledged warning that becomes critical is told again.
func TestAcknowledgementEndsWithARise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		var mu sync.Mutex
		result := slow
		c := during("disk", true, 0, ever, slow)
		c.Checker = checker(func() health.Result { mu.Lock(); defer mu.Unlock(); return result })
		al, stop := serve(t, mail, alert.Options{}, c)
		time.Sleep(10 * m)
		if err := al.Acknowledge(t.Context(), "disk", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * h)
		mu.Lock()
		result = down
		mu.Unlock()
		time.Sleep(5 * m)
		if got := mail.subjects(); len(got) != 2 || got[1] != "[UNHEALTHY] pos: WORSE disk" {
			t.Errorf("%v", mail)
		}
		if a := al.Alerts().Open[0]; a.AckBy != "" || !a.Critical {
			t.Errorf("%+v", a)
		}
		stop()
		if err := al.Acknowledge(t.Context(), "nothing", "ada"); !errors.Is(err, alert.ErrNoAlert) {
			t.Errorf("%v", err)
		}
	})
}

// Many alerts of one cause make one message; the end names them.
func TestGrouping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, pd := newPager(t)
		mail := newLetters()
		var checks []health.Check
		for i := range 5 {
			checks = append(checks, during(fmt.Sprintf("part-%d", i), true, 10*m, 40*m, down))
		}
		_, stop := serve(t, mail, alert.Options{Receivers: []alert.Receiver{{Name: "pager", Notifier: pd}}}, checks...)
		time.Sleep(2 * h)
		stop()
		if n := len(mail.all()); n < 2 || n > 4 {
			t.Errorf("%v", mail)
		}
		if len(p.pages) != 5 || len(p.open) != 0 {
			t.Errorf("pages %q, open %v", p.pages, p.open)
		}
		topics := map[string]bool{}
		for _, msg := range mail.all() {
			topics[msg.Topic] = true
		}
		if len(topics) != 1 {
			t.Errorf("%d threads: %v", len(topics), topics)
		}
	})
}

// The subject of the thread stays from the beginning to the end; what is new is
// marked.
func TestThreads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		_, stop := serve(t, mail, alert.Options{}, during("database", true, 0, 10*h, down), during("payments", true, 20*m, 40*m, down))
		time.Sleep(12 * h)
		stop()
		byCheck := map[string][]notify.Message{}
		for _, msg := range mail.all() {
			byCheck[msg.Alerts[0].Check] = append(byCheck[msg.Alerts[0].Check], msg)
		}
		for check, list := range byCheck {
			for _, msg := range list {
				if msg.Topic != "pos: "+check || msg.Key != list[0].Key {
					t.Errorf("%q %q in the thread %q %q", msg.Subject, msg.Topic, list[0].Topic, list[0].Key)
				}
			}
			if first := list[0]; !strings.HasPrefix(first.Text, "NEW "+check+": FAIL, critical since ") || !strings.Contains(first.HTML, "NEW</span> "+check) {
				t.Errorf("%s\n%s", first.Text, first.HTML)
			}
			last := list[len(list)-1]
			if !strings.HasPrefix(last.Subject, "[RECOVERED] pos: "+check+" after ") || !strings.Contains(last.HTML, "#067647") || !strings.Contains(last.HTML, "<h1") {
				t.Errorf("%s\n%s", last.Subject, last.HTML)
			}
		}
		if len(byCheck) != 2 || byCheck["database"][0].Key == byCheck["payments"][0].Key {
			t.Errorf("%v", mail)
		}
	})
}

// The times of an alert reach from the first bad result to the first good one,
// not from its confirmation or its mail.
func TestTimesOfTheOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		c := during("db", true, 10*m, 25*m, down)
		c.Interval = 15 * time.Second
		start := time.Now()
		_, stop := serve(t, mail, alert.Options{}, c)
		time.Sleep(h)
		stop()
		end := mail.all()[1].Alerts[0]
		if since := end.Since.Sub(start); since < 10*m || since > 10*m+17*time.Second {
			t.Errorf("since %v", since)
		}
		if over := end.Ended.Sub(start); over < 25*m || over > 25*m+17*time.Second {
			t.Errorf("ended %v", over)
		}
		if s := mail.subjects()[1]; s != "[RECOVERED] pos: db after 15 min" {
			t.Error(s)
		}
	})
}

// The facts are data, for programs.
func TestAlertsAsData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		c := during("disk", true, 0, ever, down)
		c.Runbook = "https://wiki.example.org/disk"
		c.Checker = checker(func() health.Result {
			return health.Result{Summary: "nearly full", Observed: []health.Measurement{{
				Name: "utilization", Component: "/var", Value: 97, Unit: "percent", Limits: health.Limits{Warn: 80, Fail: 90},
			}}}
		})
		_, stop := serve(t, mail, alert.Options{Instance: "pos-1", LinkURL: "https://pos.example.org/alerts", LinkSecret: make([]byte, 16)}, c)
		time.Sleep(5 * m)
		stop()
		msg := mail.all()[0]
		a := msg.Alerts[0]
		want := notify.Value{Name: "utilization", Component: "/var", Value: 97, Unit: "percent", Warn: 80, Fail: 90}
		if a.Event != notify.Opened || a.Level != notify.Critical || a.Check != "disk" || a.Instance != "pos-1" || a.Status != "fail" ||
			a.Output != "nearly full" || len(a.Values) != 1 || a.Values[0] != want || a.Since.IsZero() || a.Runbook == "" || len(a.Links) != 2 {
			t.Errorf("%+v", a)
		}
		for _, words := range []string{"utilization /var 97 percent (warn at 80, fail at 90)", "Runbook: https://wiki.example.org/disk", "Acknowledge: https://pos.example.org/alerts?"} {
			if !strings.Contains(msg.Text, words) {
				t.Errorf("the text lacks %q:\n%s", words, msg.Text)
			}
		}
	})
}

func TestLanguagesAndTemplates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		es, own := newLetters(), newLetters()
		_, stop := serve(t, es, alert.Options{Language: "es", Receivers: []alert.Receiver{{
			Name: "own", Notifier: own, Language: "en", Templates: &alert.Templates{
				Subject: "{{range .News}}{{.Alert.Check}} {{.Alert.Status}} {{end}}", HTML: "<b>{{.Subject}}</b>",
			},
		}}}, during("db", true, 0, 30*m, health.Failed("<no> answer", nil)))
		time.Sleep(h)
		stop()
		if got := es.subjects(); len(got) != 2 || got[0] != "[CAÍDO] pos: db" || got[1] != "[RECUPERADO] pos: db después de 30 min" {
			t.Errorf("%v", es)
		}
		if text := es.all()[0].Text; !strings.HasPrefix(text, "NUEVO db: FALLO, crítico desde ") || !strings.Contains(text, "Próximo recordatorio") {
			t.Error(text)
		}
		if html := es.all()[0].HTML; !strings.Contains(html, `lang="es"`) || strings.Contains(html, "<no>") {
			t.Error(html)
		}
		if msg := own.all()[0]; msg.Subject != "db fail " || msg.HTML != "<b>db fail </b>" || !strings.HasPrefix(msg.Text, "NEW db") {
			t.Errorf("%+v", msg)
		}
	})
	// Both languages say everything.
	for _, l := range []string{"en", "es"} {
		if err := alert.CheckLanguage(l); err != nil {
			t.Error(err)
		}
	}
}

// A template that New accepts and that fails on an alert costs its text, and not the alert.
func TestFailingTemplate(t *testing.T) {
	t.Parallel()
	for _, texts := range []alert.Templates{
		{Subject: "{{index (index .News 0).Values 0}}"},
		{Subject: "mine", Text: "{{index (index .Open 0).Links 0}}"},
		{HTML: "{{range .News}}{{index .Values 0}}{{end}}"},
	} {
		synctest.Test(t, func(t *testing.T) {
			mail := newLetters()
			al, log, stop := watched(t, mail, alert.Options{Templates: &texts}, during("db", true, 0, h, down))
			time.Sleep(2 * h)
			stop()
			if got := mail.subjects(); len(got) != 2 || got[0] != "[UNHEALTHY] pos: db" || !strings.HasPrefix(mail.all()[0].Text, "NEW db: FAIL") {
				t.Errorf("%+v: %v", texts, mail)
			}
			if al.Stats().Sent != 2 || log.containing("Templates fail on this message") != 2 {
				t.Errorf("%+v: %+v %v", texts, al.Stats(), log.n)
			}
		})
	}
}

func TestReceiverErrors(t *testing.T) {
	reg, err := health.New([]health.Check{during("db", true, 0, h, down)}, &health.Options{Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	mail := newLetters()
	one := func(r alert.Receiver) alert.Options {
		r.Notifier = mail
		return alert.Options{Receivers: []alert.Receiver{r}}
	}
	for want, o := range map[string]alert.Options{
		"needs a notifier":               {},
		"1 to 64 characters":             one(alert.Receiver{Name: "a/b"}),
		"has no Notifier":                {Receivers: []alert.Receiver{{Name: "a"}}},
		"MinLevel":                       one(alert.Receiver{Name: "a", MinLevel: notify.Recovery}),
		"pattern":                        one(alert.Receiver{Name: "a", Checks: []string{"["}}),
		"not a time":                     one(alert.Receiver{Name: "a", Hours: []alert.Window{{From: "8", To: "9"}}}),
		"After must not":                 one(alert.Receiver{Name: "a", After: -1}),
		"positive and grow":              one(alert.Receiver{Name: "a", Reminders: []time.Duration{2, 1}}),
		"no language":                    one(alert.Receiver{Name: "a", Language: "xx"}),
		"Templates.Subject":              one(alert.Receiver{Name: "a", Templates: &alert.Templates{Subject: "{{"}}),
		"fail on an example":             one(alert.Receiver{Name: "a", Templates: &alert.Templates{Text: "{{.Nothing}}"}}),
		"two receivers":                  {Receivers: []alert.Receiver{{Name: "a", Notifier: mail}, {Name: "a", Notifier: mail}}},
		"at least 16 bytes":              {LinkURL: "https://pos.example.org/alerts", LinkSecret: []byte("short"), Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"LinkURL must be":                {LinkSecret: make([]byte, 16), Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"Reminders must be":              {Reminders: []time.Duration{-1}, Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"Retries must not be":            {Retries: []time.Duration{}, Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"unknown check":                  {Windows: []alert.Window{{Checks: []string{"x"}, From: "01:00", To: "02:00"}}, Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"StatusURL must be":              {StatusURL: "ftp://x", Receivers: one(alert.Receiver{Name: "a"}).Receivers},
		"use health.Warn or health.Fail": {MinStatus: health.Pass, Receivers: one(alert.Receiver{Name: "a"}).Receivers},
	} {
		if _, err := alert.New(reg, nil, &o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// Two processes that use one instance name are found.
func TestInstanceNameUsedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := alert.Memory()
		a, stopA := serve(t, newLetters(), alert.Options{Instance: "pos-1", Store: store}, during("db", true, ever, ever, down))
		b, stopB := serve(t, newLetters(), alert.Options{Instance: "pos-1", Store: store}, during("db", true, ever, ever, down))
		time.Sleep(5 * m)
		stopA()
		stopB()
		if a.Stats().Conflicts == 0 && b.Stats().Conflicts == 0 {
			t.Error("no conflict was counted")
		}
	})
}

// A check that is removed while it fails ends without a recovery.
func TestRemovedCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, mail := alert.Memory(), newLetters()
		_, stop := serve(t, mail, alert.Options{Instance: "pos-1", Store: store}, during("db", true, 0, ever, down), during("disk", true, ever, ever, down))
		time.Sleep(10 * m)
		stop()
		_, stop = serve(t, mail, alert.Options{Instance: "pos-1", Store: store}, during("disk", true, ever, ever, down))
		time.Sleep(10 * m)
		stop()
		if got := mail.subjects(); len(got) != 2 || !strings.HasPrefix(got[1], "[CLOSED] pos: db, no instance reports it") || mail.all()[1].Level != notify.Info {
			t.Errorf("%v", mail)
		}
	})
}

// Replicas that come and go in a deployment are told only where they fail.
func TestRollingDeployment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, mail := alert.Memory(), newLetters()
		var stops []func()
		for i := range 6 {
			_, stop := serve(t, mail, alert.Options{Instance: fmt.Sprintf("pod-%d", i), Store: store}, during("db", true, ever, ever, down))
			stops = append(stops, stop)
			if i > 2 {
				stops[0]()
				stops = stops[1:]
			}
			time.Sleep(5 * m)
		}
		time.Sleep(h)
		for _, stop := range stops {
			stop()
		}
		if len(mail.all()) != 0 {
			t.Errorf("%v", mail)
		}
	})
}

func TestNoticesAndTimeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		al, stop := serve(t, mail, alert.Options{Instance: "pos-1"}, during("db", true, 10*m, 20*m, down), during("disk", false, 5*m, ever, slow))
		time.Sleep(h)
		if err := al.Silence(t.Context(), alert.Silence{Check: "disk", Until: time.Now().Add(h), Reason: "new disk", By: "ada"}); err != nil {
			t.Fatal(err)
		}
		list := al.Alerts()
		if len(list.Open) != 1 || list.Open[0].Check != "disk" || list.Open[0].SilencedUntil.IsZero() || list.Open[0].Instance != "pos-1" || list.Open[0].Critical {
			t.Errorf("%+v", list.Open)
		}
		if len(list.Closed) != 1 || list.Closed[0].Check != "db" || !list.Closed[0].Critical || list.Closed[0].State != "fail" {
			t.Errorf("%+v", list.Closed)
		}
		lines := al.Notices()
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "Alert disk on pos-1 since 1 Jan 00:05 UTC: 1 message sent") || !strings.HasSuffix(lines[1], ": new disk") {
			t.Errorf("%q", lines)
		}
		stop()
		if !slices.Contains(mail.subjects(), "[DEGRADED] pos: disk") {
			t.Errorf("%v", mail)
		}
	})
}

// A message about a cause stands for its consequences only at a receiver that gets it, and
// only if it is as severe.
func TestConsequences(t *testing.T) {
	t.Parallel()
	payments := func() health.Check {
		c := during("payments", true, 5*m, 6*h, down)
		c.DependsOn = []string{"database"}
		return c
	}
	shop := func() health.Check {
		c := during("shop", true, 5*m, 6*h, down)
		c.DependsOn = []string{"payments"}
		return c
	}
	database := func(critical bool) health.Check { return during("database", critical, 4*m, 5*h+58*m, down) }
	for name, c := range map[string]struct {
		options alert.Options
		checks  func() []health.Check
		silence string
		want    int // messages about payments, except the end
	}{
		"told the cause": {checks: func() []health.Check { return []health.Check{database(true), payments(), shop()} }},
		"another route": {
			options: alert.Options{Receivers: []alert.Receiver{{Name: "shop", Checks: []string{"payments"}, Notifier: nil}}},
			checks:  func() []health.Check { return []health.Check{database(true), payments()} }, want: 1,
		},
		"milder cause":   {checks: func() []health.Check { return []health.Check{database(false), payments()} }, want: 1},
		"silenced cause": {checks: func() []health.Check { return []health.Check{database(true), payments()} }, silence: "database", want: 1},
		"cause in a window": {
			options: alert.Options{Windows: []alert.Window{{Checks: []string{"database"}, From: "00:00", To: "06:00"}}},
			checks:  func() []health.Check { return []health.Check{database(true), payments()} }, want: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mail, o := newLetters(), c.options
				o.Reminders = []time.Duration{}
				var to notify.Notifier = mail
				if len(o.Receivers) > 0 {
					to, o.Receivers = nil, slices.Clone(o.Receivers)
					o.Receivers[0].Notifier = mail
				}
				al, stop := serve(t, to, o, c.checks()...)
				if c.silence != "" {
					if err := al.Silence(t.Context(), alert.Silence{Check: c.silence, Until: time.Now().Add(12 * h)}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(5 * h)
				about, noted := 0, 0
				for _, msg := range mail.all() {
					for _, a := range msg.Alerts {
						if a.Event == notify.Opened && (a.Check == "payments" || a.Check == "shop") {
							about++
							if strings.Contains(msg.Text, "It depends on database, which is bad too.") {
								noted++
							}
						}
					}
				}
				if about != c.want || noted != c.want {
					t.Errorf("%d messages, %d with a note:%v", about, noted, mail)
				}
				open := al.Alerts().Open
				if c.want == 0 && (len(open) != 1 || open[0].Check != "database") {
					t.Errorf("%+v", open)
				}
				time.Sleep(3 * h)
				stop()
				if st := al.Stats(); st.Dropped != 0 && c.silence == "" && len(c.options.Windows) == 0 && len(c.options.Receivers) == 0 {
					t.Errorf("%+v", st)
				}
				if got := mail.containing("RECOVERED"); got == 0 || c.want == 0 && got != 1 {
					t.Errorf("%v", mail)
				}
			})
		})
	}
}
