package health

import (
	"net/http"
	"net/url"
)

func anonymousPage(s Status) []byte {
	return []byte("<!doctype html><html lang=\"en\"><title>" + s.String() + "</title><p>" + s.String())
}

func (r *Registry) servePage(w http.ResponseWriter, req *http.Request, query url.Values, s *Snapshot, code int) {
	p := newPayload(formatHTML, anonymousPage(s.Status))
	p.write(w, req, code)
}

// ServeStatus serves the status page.
func (r *Registry) ServeStatus(w http.ResponseWriter, req *http.Request) {
	query, ok := begin(w, req)
	if !ok {
		return
	}
	r.servePage(w, req, query, r.fresh(req).snap, 200)
}
