package health

import (
	"fmt"
	"log/slog"
	"net/http"
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
	trace *Trace
	scrub *scrubber

	slots  []*slot // in the order given to New; the slice never changes
	byName map[string]*slot
	ready  []*slot
	born   time.Time

	view    atomic.Pointer[view]  // what handlers read
	running atomic.Bool           // Run is at work
	alive   atomic.Pointer[alive] // what /alive/ reads

	alerts atomic.Pointer[func() Alerts] // of SetAlerts

	mu       sync.Mutex // guards everything below and the slots' states
	started  bool
	draining bool
	beats    []*Beat
	cause    error // of SetBroken
	refresh  chan struct{}
	subs     []*subscription
	notices  []func() []string
	stats    Stats
}

// New returns a registry of the given checks. It refuses duplicate, empty or
// malformed names, checks without a Timeout or a Checker, and groups and
// dependencies on unknown checks. It dials nothing and starts nothing; call
// [Registry.Run] for checks in the background.
func New(checks []Check, opts *Options) (*Registry, error) {
	o, err := opts.normalized()
	if err != nil {
		return nil, err
	}
	r := &Registry{
		opts: o, log: o.Logger, trace: o.Trace, scrub: newScrubber(o.Secrets),
		byName: make(map[string]*slot, len(checks)), born: time.Now(), started: !o.HoldReady,
	}
	for _, c := range checks {
		c, err := c.normalized(&o)
		if err != nil {
			return nil, err
		}
		if r.byName[c.Name] != nil {
			return nil, fmt.Errorf("health: there are two checks named %q", c.Name)
		}
		s := newSlot(c)
		r.slots = append(r.slots, s)
		r.byName[c.Name] = s
	}
	if err := validGroups(o.Groups, r.byName); err != nil {
		return nil, err
	}
	if err := r.validDependencies(); err != nil {
		return nil, err
	}
	readyNames, named := o.Groups[readyGroup]
	for _, s := range r.slots {
		byRule := s.Critical && !s.Shared || s.Ready
		if named && slices.Contains(readyNames, s.Name) || !named && byRule {
			s.inReady = true
			r.ready = append(r.ready, s)
		}
	}
	if o.OnChange != nil {
		r.Subscribe(ListenerFunc(o.OnChange))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish(r.born)
	r.publishAlive()
	return r, nil
}

// validDependencies refuses unknown names and circles.
func (r *Registry) validDependencies() error {
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
			parent := r.byName[name]
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
	for _, s := range r.slots {
		if err := walk(s); err != nil {
			return err
		}
	}
	return nil
}

// Names returns the names of the checks in the order given to New.
func (r *Registry) Names() []string {
	names := make([]string, len(r.slots))
	for i, s := range r.slots {
		names[i] = s.Name
	}
	return names
}

// Scrub takes passwords, tokens and the texts of Options.Secrets out of a
// text, for whoever shows or sends it elsewhere.
func (r *Registry) Scrub(text string) string { return r.scrub.text(text) }

func (r *Registry) authorized(req *http.Request) bool {
	return r.opts.Authorize != nil && r.opts.Authorize(req)
}
