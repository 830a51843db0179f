package api

import (
	"embed"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

// page serves the till and the dashboard. It is one static document: what it shows it
// gets from the API, with the session's cookie, like any other client.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	http.ServeFileFS(w, r, pageFiles, "page/pos.html")
}

// pageFile serves what the page is made of.
func pageFile(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, pageFiles, "page/"+name)
	}
}
