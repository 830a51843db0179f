package health

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Registry holds checks and their states. Create one with [New]. All methods
// are safe for concurrent use.
type Registry struct {
	opts  Options
	log   *slog.Logger
	scrub *scrubber

	born time.Time

	view    atomic.Pointer[view]  // the view that handlers read
	running atomic.Bool           // Run has been called and has not returned
	alive   atomic.Pointer[alive] // the state behind /alive/
	traces  atomic.Pointer[[]*Trace]
	faults  atomic.Uint64 // hooks that panicked or ended their goroutine
	plain   *answers      // for callers without details

	alerts atomic.Pointer[func() Alerts] // of SetAlerts

	mu     sync.Mutex // guards everything below and the slots' states
	slots  []*slot    // in the order in which they were added; replaced, never changed
	byName map[string]*slot
	tally  tally
	work   *background // of Run; nil = Run is not running
	// No result is stale before staleFrom, and no check is due before dueFrom.
	staleFrom, dueFrom time.Time
	started            bool
	draining           bool
	beats              []*Beat
	broken             string // the cause of SetBroken, scrubbed
	refresh            *refresh
	left               map[any]*run // runs in flight of removed checks, by the identity of their Checker
	subs               []*subscription
	notices            []func() []string
	stats              Stats
}

// New returns a registry of the given checks. It rejects duplicate, empty or malformed
// names, checks without a Timeout or a Checker, and dependencies on unknown checks. It
// opens no connection and starts no goroutine. Call [Registry.Run] to run checks in the
// background.
func New(checks []Check, opts *Options) (*Registry, error) {
	o, err := opts.normalized()
	if err != nil {
		return nil, err
	}
	r := &Registry{
		opts: o, log: o.Logger, scrub: newScrubber(o.Secrets), plain: newAnswers(o.PlainOK, o.Home),
		byName: make(map[string]*slot, len(checks)), left: map[any]*run{}, born: time.Now(), started: !o.HoldReady,
	}
	r.traces.Store(&[]*Trace{o.Trace})
	if o.OnChange != nil {
		r.Subscribe(o.OnChange)
	}
	if err := r.Add(checks...); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publishAlive()
	return r, nil
}

// Add adds checks to a registry in use, or returns an error and adds no check. If Run
// is running, each check starts at once. Until its first result, an added critical
// check counts as failed, and a check of the group "ready" counts as starting. A Checker
// that still runs for a removed check is not called again before it returns.
func (r *Registry) Add(checks ...Check) error {
	checks = slices.Clone(checks)
	for i := range checks { // outside the lock, because Validate is code of the check
		var err error
		if checks[i], err = checks[i].normalized(&r.opts); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	slots, byName := slices.Clone(r.slots), maps.Clone(r.byName)
	var added []*slot
	for _, c := range checks {
		if byName[c.Name] != nil {
			return fmt.Errorf("health: there are two checks named %q", c.Name)
		}
		s := newSlot(c)
		added = append(added, s)
		byName[c.Name] = s
	}
	slots = append(slots, added...)
	for _, s := range slots {
		for _, group := range s.Groups {
			if byName[group] != nil {
				return fmt.Errorf("health: group %q has the name of a check", group)
			}
		}
	}
	if err := validDependencies(slots, byName); err != nil {
		return err
	}
	for _, s := range added {
		s.adopt(r.left)
	}
	r.slots, r.byName = slots, byName
	r.recount(time.Now())
	r.publish()
	if r.work != nil {
		for _, s := range added {
			r.work.start(r, s)
		}
	}
	return nil
}

// Remove removes checks from a registry in use, or returns an error and removes no
// check. It rejects an unknown name, and a check that another one depends on. It does
// not wait for a run in flight, and the result of that run is not used.
func (r *Registry) Remove(names ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	byName := maps.Clone(r.byName)
	for _, name := range names {
		if byName[name] == nil {
			return fmt.Errorf("health: there is no check %q to remove", name)
		}
		delete(byName, name)
	}
	var slots, gone []*slot
	for _, s := range r.slots {
		if byName[s.Name] == nil {
			gone = append(gone, s)
			continue
		}
		slots = append(slots, s)
	}
	if err := validDependencies(slots, byName); err != nil {
		return fmt.Errorf("%w; remove it as well", err)
	}
	for _, s := range gone {
		s.removed = true
		s.leave(r.left)
		if s.stop != nil {
			s.stop()
		}
	}
	r.slots, r.byName = slots, byName
	r.recount(time.Now())
	r.publish()
	return nil
}

// validDependencies rejects unknown names and cycles.
func validDependencies(slots []*slot, byName map[string]*slot) error {
	const walking, done = 1, 2
	seen := map[*slot]int{}
	var walk func(s *slot) error
	walk = func(s *slot) error {
		switch seen[s] {
		case walking:
			return fmt.Errorf("health: check %q depends on itself", s.Name)
		case done:
			return nil
		}
		seen[s] = walking
		for _, name := range s.DependsOn {
			parent := byName[name]
			if parent == nil {
				return fmt.Errorf("health: check %q depends on the unknown check %q", s.Name, name)
			}
			if err := walk(parent); err != nil {
				return err
			}
		}
		seen[s] = done
		return nil
	}
	for _, s := range slots {
		if err := walk(s); err != nil {
			return err
		}
	}
	return nil
}

// Names returns the names of the checks in the order in which they were added.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return namesOf(r.slots)
}

func namesOf(slots []*slot) []string {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = s.Name
	}
	return names
}

// Scrub removes passwords, tokens and the texts of Options.Secrets from a text. Use it
// before you show or send the text elsewhere.
func (r *Registry) Scrub(text string) string { return r.scrub.text(text) }
