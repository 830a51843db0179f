package health

import (
	"net/http"
	"net/url"
	"strconv"
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

// payload is an encoded body with its headers, in the form in which net/http keeps
// them. Serving it allocates nothing.
type payload struct {
	body                []byte
	contentType, length []string
	html                bool
}

func newPayload(f format, body []byte) payload {
	return payload{body: body, contentType: contentTypes[f], length: []string{strconv.Itoa(len(body))}, html: f == formatHTML}
}

// Header values that never change. Handlers share the slices: net/http and its
// middlewares append to them or replace them, and never write into them.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	varyOn     = []string{"Accept, Authorization, Cookie"}
	retryAfter = []string{strconv.Itoa(int(defaultInterval / time.Second))}
	noReferrer = []string{"no-referrer"}
	noIndex    = []string{"noindex"}
	allowGet   = []string{"GET, HEAD"}
)

func (p *payload) write(w http.ResponseWriter, req *http.Request, code int) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = p.contentType
	h["Content-Length"] = p.length
	h["X-Content-Type-Options"] = noSniff
	if len(h["Vary"]) == 0 {
		h["Vary"] = varyOn
	} else {
		h["Vary"] = append(h["Vary"], varyOn[0])
	}
	if code == http.StatusServiceUnavailable {
		h["Retry-After"] = retryAfter
	}
	if p.html {
		h["Content-Security-Policy"] = pagePolicy
		h["Referrer-Policy"] = noReferrer
		h["X-Robots-Tag"] = noIndex
	}
	w.WriteHeader(code)
	if req.Method != http.MethodHead {
		// If this fails, the client has disconnected and needs no response.
		_, _ = w.Write(p.body)
	}
}

func httpCode(s Status) int {
	if s == Pass || s == Warn {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// answers are all the responses for a caller without details.
type answers struct {
	table  [Fail + 1][formats]payload
	format format // for callers that request none
}

// newAnswers returns the bodies. plainOK and home are the fields of Options.
func newAnswers(plainOK, home string) *answers {
	a := &answers{table: statusOnly}
	if home != "" {
		for _, s := range []Status{Pass, Warn, Fail} {
			a.table[s][formatHTML] = newPayload(formatHTML, anonymousPage(s, home))
		}
	}
	if plainOK != "" {
		a.format = formatText
		for _, s := range []Status{Pass, Warn} {
			a.table[s][formatText] = newPayload(formatText, []byte(plainOK))
		}
		a.table[Fail][formatText] = newPayload(formatText, []byte(Fail.String()))
	}
	return a
}

func (a *answers) write(w http.ResponseWriter, req *http.Request, query url.Values, s Status) {
	f := formatOf(req, query, a.format)
	a.table[s][f].write(w, req, httpCode(s))
}

var statusOnly = func() (table [Fail + 1][formats]payload) {
	for _, s := range []Status{Pass, Warn, Fail} {
		json := []byte(`{"status":"` + s.String() + `"}`)
		table[s][formatHealthJSON] = newPayload(formatHealthJSON, json)
		table[s][formatJSON] = newPayload(formatJSON, json)
		table[s][formatText] = newPayload(formatText, []byte(s.String()+"\n"))
		table[s][formatHTML] = newPayload(formatHTML, anonymousPage(s, ""))
	}
	return table
}()

// ServeStatus serves the page for the person on call. Without Options.Authorize the
// response is 404. Callers that Authorize rejects get 401 and the state of the service.
// For other callers the code of the page is always 200. Probes should use /health/.
func (r *Registry) ServeStatus(w http.ResponseWriter, req *http.Request) {
	query, ok := begin(w, req)
	if !ok {
		return
	}
	switch {
	case r.opts.Authorize == nil:
		notFound(w, req)
		return
	case !r.authorized(req):
		w.Header().Set("WWW-Authenticate", `Bearer realm="status"`)
		r.plain.table[r.fresh(req).health][formatHTML].write(w, req, http.StatusUnauthorized)
		return
	}
	r.fresh(req)
	s := r.Snapshot()
	if f := formatOf(req, query, formatHealthJSON); query.Has("format") && f != formatHTML {
		r.serveDetails(w, req, query, s, s.Status, "")
		return
	}
	r.servePage(w, req, query, s, http.StatusOK)
}

func (r *Registry) authorized(req *http.Request) bool {
	return r.opts.Authorize != nil && r.opts.Authorize(req)
}

// ServeAlive responds with 200 while the process can serve HTTP. It never reads the
// result of a check. A liveness probe that watched the database would restart every
// replica during an outage of the database. Only SetBroken and a late Beat cause a 503.
func (r *Registry) ServeAlive(w http.ResponseWriter, req *http.Request) {
	query, ok := begin(w, req)
	if !ok {
		return
	}
	status, output := Pass, r.alive.Load().trouble(time.Now())
	if output != "" {
		status = Fail
	}
	f := formatOf(req, query, formatHealthJSON)
	if status == Pass || f == formatHTML || !r.authorized(req) {
		r.plain.write(w, req, query, status)
		return
	}
	p := newPayload(f, appendAlive(nil, f, status, output))
	p.write(w, req, httpCode(status))
}

// formatOf chooses the representation: first by ?format=, then by Accept, then the
// given one. An unknown value gets JSON and never a 406, because probes send unusual
// headers.
func formatOf(req *http.Request, query map[string][]string, other format) format {
	if asked := query["format"]; len(asked) > 0 {
		switch strings.ToLower(asked[0]) {
		case "html":
			return formatHTML
		case "text", "txt", "plain":
			return formatText
		case "json":
			return formatJSON
		}
		return formatHealthJSON
	}
	accept := req.Header["Accept"]
	if len(accept) == 0 || len(accept) == 1 && accept[0] == "*/*" {
		return other
	}
	return bestFormat(strings.Join(accept, ","))
}

func (v *view) status(e endpoint) Status {
	if e == ofReady {
		return v.ready
	}
	return v.health
}

// current returns the newest view, evaluated for the given moment.
func (r *Registry) current(now time.Time) *view {
	v := r.view.Load()
	if now.After(v.until) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if v = r.view.Load(); now.After(v.until) {
			r.recount(now)
			return r.publish()
		}
	}
	return v
}
