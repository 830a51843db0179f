package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var errDown = errors.New("the mail server is down")

// inbox is a Notifier that keeps what it gets and when.
type inbox struct {
	mu    sync.Mutex
	start time.Time
	mails []notify.Message
	at    []time.Duration
	err   error
	tries int
}

func (b *inbox) Notify(_ context.Context, m notify.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.err != nil {
		return notify.Refused(m, b.err) // nothing arrived
	}
	b.mails = append(b.mails, m)
	b.at = append(b.at, time.Since(b.start))
	return nil
}

func (b *inbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *inbox) list() []notify.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]notify.Message(nil), b.mails...)
}

func (b *inbox) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries
}

func (b *inbox) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s strings.Builder
	for i, m := range b.mails {
		fmt.Fprintf(&s, "\n  %8v %s", b.at[i].Round(time.Second), m.Subject)
	}
	return s.String()
}

// lab is a registry whose checks say what the test wants, and an alerter.
type lab struct {
	*Alerter
	reg   *health.Registry
	inbox *inbox
	mu    sync.Mutex
	state map[string]health.Status
	stop  func()
}

// set makes the named checks answer with s from their next run on.
func (l *lab) set(s health.Status, names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		l.state[n] = s
	}
}

func newLab(t testing.TB, o Options, box *inbox, checks ...health.Check) *lab {
	t.Helper()
	l := &lab{inbox: box, state: map[string]health.Status{}}
	if box.start.IsZero() {
		box.start = time.Now()
	}
	for i := range checks {
		c := &checks[i]
		name := c.Name
		c.Timeout, c.Interval = time.Second, time.Minute
		c.Checker = health.CheckerFunc(func(context.Context) health.Result {
			l.mu.Lock()
			defer l.mu.Unlock()
			s := cmp.Or(l.state[name], health.Pass)
			if s == health.Pass {
				return health.Passed("")
			}
			return health.Result{Status: s, Summary: name + " is bad"}
		})
	}
	var err error
	if l.reg, err = health.New(checks, &health.Options{Logger: quiet, Service: "pos"}); err != nil {
		t.Fatal(err)
	}
	o.Logger, o.Location = cmp.Or(o.Logger, quiet), time.UTC
	if l.Alerter, err = New(l.reg, box, &o); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) run(t testing.TB) *lab {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.reg.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := l.Alerter.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	l.stop = func() { cancel(); wg.Wait() }
	return l
}

func critical(names ...string) []health.Check {
	var out []health.Check
	for _, n := range names {
		out = append(out, health.Check{Name: n, Critical: true})
	}
	return out
}

var five = []string{"database", "cache", "disk", "memory", "backups"}

// The traces by which alerting is judged: how many messages a person gets, and
// how soon the first one comes.
func TestReplay(t *testing.T) {
	t.Parallel()
	minutes := func(at time.Duration) int { return int(at / time.Minute) }
	for _, c := range []struct {
		name       string
		checks     []string
		bad        func(at time.Duration) bool
		for_       time.Duration
		least      int
		most       int
		firstUntil time.Duration
	}{
		{"all well", five, func(time.Duration) bool { return false }, 24 * time.Hour, 0, 0, 0},
		{"a blip of 1 min each hour", five[:1], func(at time.Duration) bool { return minutes(at)%60 == 10 }, 24 * time.Hour, 0, 0, 0},
		{"1 check out for 6 h", five[:1], within(time.Hour, 7*time.Hour), 24 * time.Hour, 2, 4, 5 * time.Minute},
		{"5 checks out for 6 h", five, within(time.Hour, 7*time.Hour), 24 * time.Hour, 2, 6, 5 * time.Minute},
		// Runs are a minute apart, give or take 10 %: now and then three of them meet
		// the same half of the trace.
		{"flapping 1 min for 6 h", five[:1], func(at time.Duration) bool {
			return within(time.Hour, 7*time.Hour)(at) && minutes(at)%2 == 0
		}, 24 * time.Hour, 2, 10, 30 * time.Minute},
		{"flapping 4 min for 6 h", five[:1], func(at time.Duration) bool {
			return within(time.Hour, 7*time.Hour)(at) && minutes(at)/4%2 == 0
		}, 24 * time.Hour, 2, 10, 10 * time.Minute},
		{"down for good", five[:1], within(2*time.Hour, 1000*time.Hour), 24 * time.Hour, 3, 3, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				box := &inbox{start: start}
				l := newLab(t, Options{}, box, critical(c.checks...)...).run(t)
				began := time.Duration(0)
				for at := time.Duration(0); at < c.for_; at += 30 * time.Second {
					if c.bad(at) {
						if began == 0 {
							began = at
						}
						l.set(health.Fail, c.checks...)
					} else {
						l.set(health.Pass, c.checks...)
					}
					time.Sleep(30 * time.Second)
				}
				l.stop()
				t.Logf("%d messages%v", len(box.mails), box)
				if n := len(box.mails); n < c.least || n > c.most {
					t.Errorf("%d messages, want %d to %d", n, c.least, c.most)
				}
				if len(box.at) > 0 && box.at[0]-began > c.firstUntil {
					t.Errorf("the first message came %v after the trouble began", box.at[0]-began)
				}
			})
		})
	}
}

func within(from, to time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return from <= at && at < to }
}
