package alert

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// mortal is the store as a process sees it that can be killed: what it does
// afterwards reaches nobody.
type mortal struct {
	Store
	killed atomic.Bool
}

func (m *mortal) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	if m.killed.Load() {
		return errors.New("killed")
	}
	return m.Store.Update(ctx, f)
}

func TestUncleanStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := Memory() // what outlives the processes
		box := &inbox{}
		run := func(d time.Duration, kill bool) {
			store := &mortal{Store: disk}
			l := newLab(t, Options{Store: store, Instance: "pos-1", Location: time.UTC, TellUncleanStop: true}, box, critical("database")...)
			l.run(t)
			time.Sleep(d)
			store.killed.Store(kill)
			l.stop()
		}
		const once = "[RESTARTED] pos: it had not stopped cleanly"
		run(time.Hour, false)
		run(time.Hour, false)
		expect(t, box, "") // clean stops, as every deployment makes them
		run(time.Hour, true)
		expect(t, box, "")
		run(time.Hour, false)
		expect(t, box, once)
		text := box.list()[0].Text
		if !strings.Contains(text, "pos on pos-1 runs again since 1 Jan 03:00 UTC") || !strings.Contains(text, "that began at 1 Jan 02:00 UTC") {
			t.Error(text)
		}
		run(time.Hour, false)
		expect(t, box, once)

		// A crash loop: one message now, and one an hour later with the count.
		for range 20 {
			run(2*time.Minute, true)
		}
		run(2*time.Hour, false)
		expect(t, box, once+" | "+once+" | "+once)
		if text := box.list()[2].Text; !strings.Contains(text, "happened 19 times") {
			t.Error(text)
		}

		// A mail server that is down, and then is not.
		run(time.Hour, true)
		box.fail(errDown)
		l := newLab(t, Options{Store: disk, Instance: "pos-1", TellUncleanStop: true}, box, critical("database")...)
		l.run(t)
		time.Sleep(5 * time.Minute)
		if n := len(box.list()); n != 3 {
			t.Errorf("%d", n)
		}
		box.fail(nil)
		time.Sleep(15 * time.Minute)
		l.stop()
		expect(t, box, once+" | "+once+" | "+once+" | "+once)

		// Trouble of the checks comes first, and neither hides the other.
		run(time.Hour, true)
		l = newLab(t, Options{Store: disk, Instance: "pos-1", TellUncleanStop: true}, box, critical("database")...)
		l.set(health.Fail, "database")
		l.run(t)
		time.Sleep(10 * time.Minute)
		l.stop()
		if got := subjects(box); strings.Count(got, "RESTARTED") != 5 || strings.Count(got, "UNHEALTHY") != 1 {
			t.Error(got)
		}
	})
}

// Whoever does not ask for it is not told, and nothing is written.
func TestUncleanStopIsOffByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		disk := &memory{}
		for range 3 {
			store := &mortal{Store: disk}
			l := newLab(t, Options{Store: store, Instance: "pos-1"}, box, critical("database")...)
			l.run(t)
			time.Sleep(time.Hour)
			store.killed.Store(true)
			l.stop()
		}
		expect(t, box, "")
		if strings.Contains(string(disk.state), "lives") {
			t.Errorf("%s", disk.state)
		}
	})
}
