package health

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"
)

// alive is the state behind /alive/.
type alive struct {
	cause string // of SetBroken, scrubbed; "" = not broken
	beats []*Beat
}

// Beat is the heartbeat of one loop of the service, such as a queue worker. When the
// last call of Tick is older than the limit, /alive/ responds with 503. An orchestrator
// then restarts the process whose loop hangs. See [Registry.AddBeat].
type Beat struct {
	name  string
	limit time.Duration
	born  time.Time
	last  atomic.Int64 // since born, so that a set clock does not matter
}

// Tick reports that the loop is alive. It costs one atomic store.
func (b *Beat) Tick() { b.last.Store(int64(time.Since(b.born))) }

func (b *Beat) late(now time.Time) bool {
	return now.Sub(b.born)-time.Duration(b.last.Load()) > b.limit
}

// AddBeat registers a loop that must call Tick at least once per limit, from now on.
// Watch only loops that a restart would repair.
func (r *Registry) AddBeat(name string, limit time.Duration) (*Beat, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, fmt.Errorf("health: beat %q: limit %v: say how long the loop may be silent", name, limit)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.beats {
		if b.name == name {
			return nil, fmt.Errorf("health: there are two beats named %q", name)
		}
	}
	b := &Beat{name: name, limit: limit, born: time.Now()}
	r.beats = append(r.beats[:len(r.beats):len(r.beats)], b)
	r.publishAlive()
	return b, nil
}

// SetBroken makes /alive/ respond with 503 until SetBroken(nil) is called. Use it only
// for a failure that a restart repairs. Use a check for every other problem.
func (r *Registry) SetBroken(cause error) {
	text := ""
	if cause != nil {
		text = cmp.Or(r.scrub.error(cause), "broken")
	}
	r.mu.Lock()
	r.broken = text
	r.publishAlive()
	r.mu.Unlock()
	if cause != nil { // outside the lock, because a log handler may read the registry
		r.log.Error("health: set broken", "cause", text)
	}
}

// publishAlive creates a new state for /alive/. Callers hold r.mu.
func (r *Registry) publishAlive() {
	r.alive.Store(&alive{cause: r.broken, beats: r.beats})
}

func (a *alive) trouble(now time.Time) string {
	if a.cause != "" {
		return a.cause
	}
	for _, b := range a.beats {
		if b.late(now) {
			return "no beat of " + b.name + " within " + b.limit.String()
		}
	}
	return ""
}
