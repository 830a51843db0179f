package health

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Handler serves /health/, /health/{name}, /ready/, /alive/ and /status/, and 404 for
// all other paths. Each path works with and without the trailing slash, without a
// redirect. Use http.StripPrefix to serve them under another path, or use the Serve
// methods one by one.
func (r *Registry) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch path := req.URL.Path; path {
		case "/health/", "/health":
			r.serveHealth(w, req, "")
		case "/ready/", "/ready":
			r.ServeReady(w, req)
		case "/alive/", "/alive":
			r.ServeAlive(w, req)
		case "/status/", "/status":
			r.ServeStatus(w, req)
		default:
			name, ok := strings.CutPrefix(path, "/health/")
			if !ok {
				http.NotFound(w, req)
				return
			}
			r.serveHealth(w, req, strings.TrimSuffix(name, "/"))
		}
	})
}

// Mount registers Handler on a mux under the paths that it serves. It registers only
// GET and HEAD, so that a pattern such as "GET /" does not conflict.
func (r *Registry) Mount(mux *http.ServeMux) {
	h := r.Handler()
	for _, path := range []string{"/health", "/ready", "/alive", "/status"} {
		mux.Handle("GET "+path, h)
		mux.Handle("GET "+path+"/", h)
	}
}

// ServeHealth reports the raw state of the whole service: 200 for pass and warn, else
// 503. Authorised callers get the details and may use ?exclude= (repeated or with
// commas), ?group=, ?verbose and ?format=json, text or html. For other callers the
// query makes no difference.
func (r *Registry) ServeHealth(w http.ResponseWriter, req *http.Request) {
	r.serveHealth(w, req, "")
}

// ServeReady reports whether this instance should get traffic. It responds with 200 if
// the instance has started, is not draining, and no check of the group "ready" has
// failed twice in a row. By default, a critical check that hangs is noticed within 5 s,
// and the response is 503 after one more interval.
func (r *Registry) ServeReady(w http.ResponseWriter, req *http.Request) {
	query, ok := begin(w, req)
	if !ok {
		return
	}
	v := r.fresh(req)
	r.serveView(w, req, query, v, ofReady)
}

func (r *Registry) serveHealth(w http.ResponseWriter, req *http.Request, name string) {
	query, ok := begin(w, req)
	if !ok {
		return
	}
	v := r.fresh(req)
	if name == "" && (len(query) == 0 || !narrows(query)) {
		r.serveView(w, req, query, v, ofHealth)
		return
	}
	if !r.authorized(req) {
		if name != "" { // the same as for a check that does not exist
			notFound(w, req)
			return
		}
		r.plain.write(w, req, query, v.health)
		return
	}
	snap, note := r.Snapshot(), ""
	if name != "" {
		if snap = snap.Only(name); len(snap.Checks) == 0 {
			notFound(w, req)
			return
		}
		// In a request for one check, the check counts in full, critical or not.
		snap.Status = worstCheck(snap.Checks)
	} else if snap, note, ok = narrow(snap, query); !ok {
		notFound(w, req)
		return
	}
	r.serveDetails(w, req, query, snap, snap.Status, note)
}

// serveView responds with a view. All formats except the page are encoded in advance.
func (r *Registry) serveView(w http.ResponseWriter, req *http.Request, query url.Values, v *view, e endpoint) {
	if !r.authorized(req) {
		r.plain.write(w, req, query, v.status(e))
		return
	}
	f := formatOf(req, query, formatHealthJSON)
	switch {
	case f == formatHTML:
		r.servePage(w, req, query, r.Snapshot(), httpCode(v.status(e)))
	case f == formatText && query.Has("verbose"), f != formatText && len(r.openAlerts()) > 0:
		s, status := v.snapshot(e)
		r.serveDetails(w, req, query, s, status, "")
	default:
		d := v.encoded(e)
		d.body[f].write(w, req, d.code)
	}
}

// serveDetails responds with a snapshot that was made for this request.
func (r *Registry) serveDetails(w http.ResponseWriter, req *http.Request, query url.Values, s *Snapshot, status Status, note string) {
	var p payload
	switch f := formatOf(req, query, formatHealthJSON); f {
	case formatHTML:
		r.servePage(w, req, query, s, httpCode(status))
		return
	case formatText:
		p = newPayload(f, appendText(nil, s, status, note, query.Has("verbose")))
	default:
		p = newPayload(f, appendJSON(nil, s, status, note, r.openAlerts()))
	}
	p.write(w, req, httpCode(status))
}

// fresh returns the view to respond with. Without Run, it runs the checks that are due.
func (r *Registry) fresh(req *http.Request) *view {
	now := time.Now()
	v := r.current(now)
	if !r.running.Load() && !now.Before(v.dueAt) {
		r.freshen(req.Context())
		v = r.current(time.Now())
	}
	return v
}

// begin rejects every method except GET and HEAD, and parses the query if there is one.
func begin(w http.ResponseWriter, req *http.Request) (url.Values, bool) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header()["Allow"] = allowGet
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return nil, false
	}
	if req.URL.RawQuery == "" {
		return nil, true
	}
	// If a part of the query is malformed, the readable part is used.
	query, _ := url.ParseQuery(req.URL.RawQuery)
	return query, true
}

func narrows(query url.Values) bool { return query.Has("exclude") || query.Has("group") }

// narrow applies ?group= and ?exclude=. The note names exclusions that matched no
// check. They must not break a probe, and must not stay unnoticed either.
func narrow(s *Snapshot, query url.Values) (narrowed *Snapshot, note string, ok bool) {
	if query.Has("group") {
		if s, ok = s.Group(query.Get("group")); !ok {
			return nil, "", false
		}
	}
	var names, unknown []string
	for _, value := range query["exclude"] {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, name)
			if _, known := s.Check(name); !known && len(unknown) < 8 {
				unknown = append(unknown, cutTo(oneLine(name), maxName))
			}
		}
	}
	if len(unknown) > 0 {
		note = "nothing to exclude: " + strings.Join(unknown, ", ")
	}
	return s.Without(names...), note, true
}

func worstCheck(checks []CheckState) Status {
	worst := Unknown
	for _, c := range checks {
		worst = max(worst, c.Status)
	}
	return worst
}

func notFound(w http.ResponseWriter, req *http.Request) {
	p := newPayload(formatJSON, []byte(`{"detail":"not found"}`))
	p.write(w, req, http.StatusNotFound)
}
