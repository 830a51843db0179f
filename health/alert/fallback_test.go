package alert

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// events are the subjects without durations.
func events(box *inbox) string {
	return regexp.MustCompile(` after [^|]+( \||$)`).ReplaceAllString(subjects(box), "$1")
}

const twoOutages = "[UNHEALTHY] pos: database | [RECOVERED] pos: database | [UNHEALTHY] pos: database | [RECOVERED] pos: database"

// The store is what fails. Each outage has one alarm and one end, from a server, from a
// command that starts each hour, and from both on one host.
func TestFallbackTellsEachOutageOnce(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	for _, c := range []struct {
		name            string
		server, command bool
	}{{"server", true, false}, {"server alone", true, false}, {"command", false, true}, {"both", true, true}} {
		spare := filepath.Join(t.TempDir(), "alerts.json")
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				main, box := &counting{Store: Memory()}, &inbox{}
				o := Options{Instance: "pos-1", Reminders: []time.Duration{100 * time.Hour}}
				open := func() *lab {
					if o.Store = main; c.name != "server alone" { // whose process remembers
						o.Store = Fallback(main, File(spare), "pos-1")
					}
					return newLab(t, o, box, sharedDatabase()...)
				}
				server := open()
				if c.server {
					server.run(t)
					defer server.stop()
				}
				for h := range 12 {
					down := h%6 >= 2 && h%6 < 5
					main.set(down)
					state := map[bool]health.Status{false: health.Pass, true: health.Fail}[down]
					server.set(state, "database")
					time.Sleep(10 * time.Minute)
					if c.command {
						command := open() // a new process
						command.set(state, "database")
						if err := command.once(t); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(50 * time.Minute)
				}
				if got := events(box); got != twoOutages {
					t.Error(got)
				}
			})
		})
	}
}

// The alerts and the heartbeats of other instances end with nothing during an outage of the
// store, and go on after it.
func TestFallbackOfSeveralInstances(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		main, box := Memory(), &inbox{}
		var labs []*lab
		var stores []*counting
		for _, name := range []string{"pos-1", "pos-2"} {
			store := &counting{Store: main}
			stores = append(stores, store)
			o := Options{Instance: name, Store: Fallback(store, File(filepath.Join(dir, name)), name), Reminders: []time.Duration{100 * time.Hour}}
			labs = append(labs, newLab(t, o, box, sharedDatabase()...).run(t))
		}
		labs[1].set(health.Fail, "disk")
		time.Sleep(10 * time.Minute)
		stores[0].set(true)
		time.Sleep(30 * time.Minute) // pos-2 reports pos-1 as lost
		stores[1].set(true)
		time.Sleep(30 * time.Minute)
		stores[0].set(false)
		stores[1].set(false)
		time.Sleep(30 * time.Minute)
		labs[1].set(health.Pass, "disk")
		time.Sleep(30 * time.Minute)
		for _, l := range labs {
			l.stop()
		}
		if got := events(box); got != "[UNHEALTHY] pos: disk on pos-2 | [LOST] pos: pos-1 | [RECOVERED] pos: pos-1 | [RECOVERED] pos: disk on pos-2" {
			t.Error(got)
		}
	})
}

// If main fails after the decision, the spare store has it.
func TestFallbackKeepsADecisionThatMainLost(t *testing.T) {
	t.Parallel()
	main, spare := &mortalOnce{Store: Memory()}, Memory()
	box := &inbox{}
	for range 2 {
		l := newLab(t, Options{Instance: "pos-1", Store: Fallback(main, spare, "pos-1")}, box, critical("database")...)
		l.set(health.Fail, "database")
		if err := l.once(t); err != nil {
			t.Error(err)
		}
	}
	expect(t, box, "[UNHEALTHY] pos: database")
}

// A look without news writes neither store.
func TestFallbackWritesOnlyNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		main, spare := &counting{Store: Memory()}, &counting{Store: Memory()}
		l := newLab(t, Options{Instance: "pos-1", Store: Fallback(main, spare, "pos-1")}, &inbox{}, critical("database")...).run(t)
		time.Sleep(time.Hour)
		l.stop()
		if spare.writes > main.writes {
			t.Errorf("%d writes of the main store, and %d of the spare one", main.writes, spare.writes)
		}
	})
}

// mortalOnce loses each document of the first process.
type mortalOnce struct {
	Store
	updates int
}

func (m *mortalOnce) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	if m.updates++; m.updates > 3 {
		return m.Store.Update(ctx, f)
	}
	if _, err := f(nil); err != nil {
		return err
	}
	return errors.New("the commit failed")
}

// A Fallback of another instance would forget what this one observes.
func TestFallbackOfAnotherInstance(t *testing.T) {
	reg, err := health.New([]health.Check{health.Func("db", time.Second, func(context.Context) error { return nil })}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for instance, fails := range map[string]bool{"pos-1": false, "pos-2": true} {
		_, err := New(reg, &inbox{}, &Options{Instance: instance, Store: Fallback(Memory(), Memory(), "pos-1")})
		if (err != nil) != fails {
			t.Errorf("%s: %v", instance, err)
		}
	}
}
