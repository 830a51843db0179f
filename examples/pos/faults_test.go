package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// faults is a proxy that fails like networks, proxies and servers do.
type faults struct {
	url   string
	mu    sync.Mutex
	rules []*rule
}

// fault responds to a request in place of the server. next is the server.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// rule is a fault that applies to some requests until it is removed.
type rule struct {
	proxy *faults
	route string // "METHOD /path", by prefix
	do    fault
	hits  atomic.Int32
}

func newFaults(t *testing.T, server string) *faults {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	f := &faults{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if one := f.ruleOf(r); one != nil {
			one.do(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	f.url = web.URL
	return f
}

func (f *faults) ruleOf(r *http.Request) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.rules {
		if strings.HasPrefix(r.Method+" "+r.URL.RequestURI(), one.route) {
			one.hits.Add(1)
			return one
		}
	}
	return nil
}

// inject makes requests to a route fail until the rule is removed.
func (f *faults) inject(route string, do fault) *rule {
	one := &rule{proxy: f, route: route, do: do}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append([]*rule{one}, f.rules...)
	return one
}

func (r *rule) remove() {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	for i, one := range r.proxy.rules {
		if one == r {
			r.proxy.rules = append(r.proxy.rules[:i:i], r.proxy.rules[i+1:]...)
			return
		}
	}
}

// clear removes all faults.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// unreached closes the connection before the server receives the request.
func unreached(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// unanswered passes the request to the server and loses the response.
func unanswered(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// truncated loses the end of the response.
func truncated(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
}

// status responds with its own status and text, without the server.
func status(code int, body string, headers ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// replaced passes the request to the server and sends another response.
func replaced(code int, body string) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		status(code, body)(w, r, next)
	}
}

// slow delays responses until the channel is closed or the browser gives up.
func slow(until <-chan struct{}) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		wait(until, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = bytes.NewReader(rec.Body.Bytes()).WriteTo(w)
	}
}

// late delays requests until the channel is closed or the browser gives up.
func late(until <-chan struct{}) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		wait(until, r)
		next.ServeHTTP(w, r)
	}
}

func wait(until <-chan struct{}, r *http.Request) {
	select {
	case <-until:
	case <-r.Context().Done():
	}
}
