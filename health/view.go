package health

import (
	"sync/atomic"
	"time"
)

// view is the data that handlers read: the states of the service at one moment. Callers
// without details get a response from a constant table. The details are encoded by the
// first authorised request and kept until the next result.
type view struct {
	r *Registry
	// until is the first moment at which time alone may change the view, because a
	// result may become stale then.
	until time.Time
	// dueAt is when a reader of a registry without Run may have checks to run.
	dueAt time.Time

	health, ready Status
	details       [2]atomic.Pointer[encoded] // of /health/ and /ready/
}

// endpoint is a kind of response of a view.
type endpoint uint8

const (
	ofHealth endpoint = iota
	ofReady
)

// encoded are the details of one endpoint in the formats that do not show the
// time of the request.
type encoded struct {
	code int
	body [formats]payload
}

// snapshot returns the checks of an endpoint, and its status.
func (v *view) snapshot(e endpoint) (*Snapshot, Status) {
	s := v.r.Snapshot()
	if e == ofReady {
		narrowed, _ := s.Group(readyGroup)
		return narrowed, narrowed.Ready
	}
	return s, s.Status
}

// encoded returns the details of an endpoint, encoded once.
func (v *view) encoded(e endpoint) *encoded {
	if d := v.details[e].Load(); d != nil {
		return d
	}
	s, status := v.snapshot(e)
	d := &encoded{code: httpCode(status)}
	body := appendJSON(nil, s, status, "", nil)
	d.body[formatHealthJSON] = newPayload(formatHealthJSON, body)
	d.body[formatJSON] = newPayload(formatJSON, body)
	d.body[formatText] = newPayload(formatText, appendText(nil, s, status, "", false))
	v.details[e].Store(d)
	return d
}
