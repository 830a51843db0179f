package api

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
)

//go:embed page assets words
var files embed.FS

// pageOf maps each page to its template.
var pageOf = map[string]string{
	"/": "till", "/day/": "day", "/customers/": "customers", "/products/": "products", "/reports/": "reports", "/users/": "users",
}

// pages are the web pages, in the shop's language. They are static documents. Their scripts
// read data from the API with the session cookie, like any other client.
type pages struct{ bodies map[string][]byte }

func newPages(locale string) (*pages, error) {
	words, err := loadWords(locale)
	if err != nil {
		return nil, err
	}
	script, err := json.Marshal(words)
	if err != nil {
		return nil, err
	}
	p := &pages{bodies: map[string][]byte{}}
	for _, name := range pageOf {
		var missing error
		t, err := template.New("layout.html").Funcs(template.FuncMap{"t": func(key string) string {
			if words[key] == "" {
				missing = fmt.Errorf("no word %q in %s", key, locale)
			}
			return words[key]
		}}).ParseFS(files, "page/layout.html", "page/"+name+".html")
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		err = t.Execute(&b, map[string]any{"Page": name, "Locale": locale, "Words": template.JS(script)}) //nolint:gosec // our own JSON, with < escaped
		if err != nil || missing != nil {
			return nil, fmt.Errorf("page %s: %w", name, errors.Join(err, missing))
		}
		p.bodies[name] = b.Bytes()
	}
	return p, nil
}

func loadWords(locale string) (words map[string]string, err error) {
	text, err := files.ReadFile("words/" + locale + ".json")
	if err == nil {
		err = json.Unmarshal(text, &words)
	}
	return words, err
}

func (p *pages) handler(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(p.bodies[name])
	})
}

// asset serves scripts and styles of the pages.
func asset(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	if _, err := files.Open(path.Join("assets", r.PathValue("file"))); err != nil {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	http.ServeFileFS(w, r, files, path.Join("assets", r.PathValue("file")))
}
