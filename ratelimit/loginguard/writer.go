package loginguard

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
)

// writer adds the cookie of a device to the header when the handler sends it: a handler such as http.TimeoutHandler
// replaces fields that were set earlier, and may state the outcome in another goroutine than the one that writes.
type writer struct {
	http.ResponseWriter
	late   func() // is called instead of adding a cookie to a header that has been sent
	mu     sync.Mutex
	cookie *http.Cookie
	sent   bool
}

// add adds the cookie to the header that will be sent.
func (w *writer) add(c *http.Cookie) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cookie = c
	if w.sent {
		w.late()
	}
}

// send completes the header. Only the goroutine that may write calls it.
func (w *writer) send() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sent && w.cookie != nil {
		w.Header().Add("Set-Cookie", w.cookie.String())
	}
	w.sent = true
}

// WriteHeader sends the header, unless the status is informational.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.send()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends the header before the body.
func (w *writer) Write(p []byte) (int, error) {
	w.send()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the sendfile of net/http.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.send()
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap serves http.ResponseController. The other methods serve handlers that use http.Flusher, http.Hijacker and
// http.Pusher.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError flushes, or returns http.ErrNotSupported.
func (w *writer) FlushError() error {
	w.send()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *writer) Flush() {
	_ = w.FlushError() // http.Flusher has no way to report it
}

// Hijack implements http.Hijacker, or returns http.ErrNotSupported.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.sent && w.cookie != nil {
		w.late() // the handler writes a header of its own
	}
	w.sent = w.sent || err == nil
	return conn, rw, err
}

// Push implements http.Pusher, or returns http.ErrNotSupported.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}
