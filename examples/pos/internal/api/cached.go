package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// cached responds with the object that load returns, or with the stored bytes of an earlier
// response at the same versions.
func (a *API) cached(w http.ResponseWriter, r *http.Request, c *shopcache.Responses, at func(store.Versions) string, load func(context.Context) (any, error)) {
	a.cachedBody(w, r, c, at, "", func(ctx context.Context) ([]byte, error) {
		v, err := load(ctx)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(v)
		return append(body, '\n'), err
	})
}

// cachedList is cached for a handler that writes its own response. It stores only responses
// with status 200. Their links contain the host of the request, and their rows may depend on the
// role of the caller, so the key contains both.
func (a *API) cachedList(w http.ResponseWriter, r *http.Request, c *shopcache.Responses, at func(store.Versions) string, handle http.HandlerFunc) {
	sum := sha256.Sum256([]byte(r.Host + "\n" + r.Header.Get("X-Forwarded-Proto") + "\n" + r.Header.Get("X-Forwarded-Host") + "\n" + callerOf(r).user.Role + "\n" + r.URL.RawQuery))
	a.cachedBody(w, r, c, at, "/"+hex.EncodeToString(sum[:12]), func(ctx context.Context) ([]byte, error) {
		rec := &memoryWriter{header: http.Header{}, status: http.StatusOK}
		handle(rec, r.WithContext(ctx))
		if rec.status != http.StatusOK {
			return nil, rec
		}
		return rec.body.Bytes(), nil
	})
}

func (a *API) cachedBody(w http.ResponseWriter, r *http.Request, c *shopcache.Responses, at func(store.Versions) string, suffix string, load func(context.Context) ([]byte, error)) {
	versions, err := a.Caches.Versions(r.Context())
	if err != nil {
		a.failed(w, r, err)
		return
	}
	key := at(versions) + suffix
	body, err := c.GetOrLoad(r.Context(), key, load)
	var other *memoryWriter
	switch {
	case errors.As(err, &other):
		other.replay(w)
		return
	case err != nil:
		a.failed(w, r, err)
		return
	}
	h, tag := w.Header(), `"`+key+`"`
	h.Set("Etag", tag)
	h.Set("Cache-Control", "private, no-cache")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body))) // one write instead of chunks
	_, _ = w.Write(body)
}

// memoryWriter stores a response. As an error, it is a response with a status other than 200.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (m *memoryWriter) Header() http.Header         { return m.header }
func (m *memoryWriter) WriteHeader(status int)      { m.status = status }
func (m *memoryWriter) Write(p []byte) (int, error) { return m.body.Write(p) }
func (m *memoryWriter) Error() string               { return "the list cannot be served: " + m.body.String() }

func (m *memoryWriter) replay(w http.ResponseWriter) {
	for name, values := range m.header {
		w.Header()[name] = values
	}
	w.WriteHeader(m.status)
	_, _ = w.Write(m.body.Bytes())
}
