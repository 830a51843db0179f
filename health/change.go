package health

import (
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/internal/foreign"
)

// ChangeKind says what a [Change] reports.
type ChangeKind uint8

const (
	// RawChange means that the last result differs from the one before. One short
	// failure causes two such changes.
	RawChange ChangeKind = iota
	// ConfirmedChange means that enough results in a row agree (FailAfter,
	// RecoverAfter). Act on this kind.
	ConfirmedChange
	// FlappingStarted means six or more raw changes within an hour.
	FlappingStarted
	// FlappingStopped means half an hour without a raw change.
	FlappingStopped
)

// String returns "raw", "confirmed", "flapping started" or "flapping stopped".
func (k ChangeKind) String() string {
	switch k {
	case RawChange:
		return "raw"
	case ConfirmedChange:
		return "confirmed"
	case FlappingStarted:
		return "flapping started"
	case FlappingStopped:
		return "flapping stopped"
	}
	return fmt.Sprintf("change(%d)", uint8(k))
}

// Change is one change of the state of one check.
type Change struct {
	// Kind says which state changed: the raw one, the confirmed one, or flapping.
	Kind ChangeKind
	// Time is when the change was recorded.
	Time time.Time
	// From and To are the raw states of a RawChange, and the confirmed states of every
	// other kind.
	From, To Status
	// State is the state of the check after the change.
	State CheckState
}

const maxQueued = 1024

// subscription feeds one listener. Its goroutine runs only while changes are queued.
type subscription struct {
	listener func(Change)
	queue    []Change
	idle     chan struct{} // closed when the queue has been delivered; nil = no delivery is running
}

// Subscribe makes the registry call f for each change, until the returned function is
// called. A change that is being delivered at that moment may still arrive. The calls
// are made one at a time, in order, on a separate goroutine and outside all locks, so f
// may call any method of the registry. A slow f delays only its own calls. When it is
// 1,024 changes behind, the oldest changes are dropped and counted in [Stats].
func (r *Registry) Subscribe(f func(Change)) (cancel func()) {
	s := &subscription{listener: f}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs = append(r.subs, s)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, other := range r.subs {
			if other == s {
				r.subs = append(r.subs[:i:i], r.subs[i+1:]...)
				s.queue = nil
				return
			}
		}
	}
}

// emit queues a change for every listener. Callers hold r.mu.
func (r *Registry) emit(c Change) {
	r.stats.Changes++
	for _, s := range r.subs {
		if len(s.queue) >= maxQueued {
			s.queue = s.queue[1:]
			r.stats.DroppedChanges++
		}
		s.queue = append(s.queue, c)
		if s.idle == nil {
			s.idle = make(chan struct{})
			go r.deliver(s)
		}
	}
}

func (r *Registry) deliver(s *subscription) {
	for {
		r.mu.Lock()
		if len(s.queue) == 0 {
			close(s.idle)
			s.queue, s.idle = nil, nil
			r.mu.Unlock()
			return
		}
		c := s.queue[0]
		s.queue = s.queue[1:]
		r.mu.Unlock()
		r.tell(s.listener, c)
	}
}

// tell calls a listener. A broken mailer must not end the service that it reports on.
func (r *Registry) tell(f func(Change), c Change) {
	if fault := foreign.Call(func() { f(c) }); fault != nil {
		r.log.Error("health: a listener failed", "check", c.State.Name, "error", r.scrub.text(fault.Text))
	}
}
