package health

import (
	"sync"
	"time"
)

// view is what handlers read: one immutable evaluation of the registry, with
// its answers encoded. What strangers may see comes from a constant table; the
// details are encoded once, by the first authorised reader.
type view struct {
	snap *Snapshot
	// until is when time alone changes the evaluation: the next result gets
	// stale then.
	until time.Time
	// dueAt is when a reader of a registry without Run has checks to run.
	dueAt time.Time

	health, ready answer
}

// answer is one endpoint's reply.
type answer struct {
	status  Status
	code    int
	narrow  func() *Snapshot         // to the checks that the endpoint is about
	details func() *[formats]payload // of JSON and text; HTML shows the time and is rendered anew
}

// current returns the newest view, evaluated for the given moment.
func (r *Registry) current(now time.Time) *view {
	v := r.view.Load()
	if now.After(v.until) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if v = r.view.Load(); now.After(v.until) {
			return r.publish(now)
		}
	}
	return v
}

// publish makes a new view. Callers hold r.mu.
func (r *Registry) publish(now time.Time) *view {
	v := &view{snap: r.snapshot(now), until: now.Add(24 * time.Hour), dueAt: now.Add(24 * time.Hour)}
	for _, s := range r.slots {
		if due := s.dueAt(); due.Before(v.dueAt) {
			v.dueAt = due
		}
		if s.last.kind == KindPending {
			continue
		}
		if stale := s.last.at.Add(s.staleAfter()); !stale.Before(now) && stale.Before(v.until) {
			v.until = stale
		}
	}
	v.health = newAnswer(v.snap.Status, func() *Snapshot { return v.snap })
	v.ready = newAnswer(v.snap.Ready, func() *Snapshot {
		narrowed, _ := v.snap.Group(readyGroup)
		return narrowed
	})
	r.view.Store(v)
	return v
}

func newAnswer(s Status, narrow func() *Snapshot) answer {
	return answer{
		status: s, code: httpCode(s), narrow: narrow,
		details: sync.OnceValue(func() *[formats]payload { return encodeDetails(narrow(), s) }),
	}
}

func encodeDetails(s *Snapshot, status Status) *[formats]payload {
	var p [formats]payload
	body := appendJSON(nil, s, status, "", nil)
	p[formatHealthJSON] = newPayload(formatHealthJSON, body)
	p[formatJSON] = newPayload(formatJSON, body)
	p[formatText] = newPayload(formatText, appendText(nil, s, status, "", false))
	return &p
}
