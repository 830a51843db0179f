package s3store

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestLostResponse loses the first response to an upload that the server has stored. The client
// then sends the request again, and the server rejects it.
func TestLostResponse(t *testing.T) {
	t.Parallel()
	addr := start(t)
	var lost atomic.Int32
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: addr})
		r.Out.Host = r.In.Host // is part of the signature
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		complete := r.Request.Method == http.MethodPost && r.Request.URL.Query().Has("uploadId")
		small := r.Request.Method == http.MethodPut && strings.HasSuffix(r.Request.URL.Path, "/small")
		if r.StatusCode == http.StatusOK && (small || complete) && lost.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	front := httptest.NewServer(proxy)
	defer front.Close()
	client := clientOf(t, strings.TrimPrefix(front.URL, "http://"), secretKey)
	s := open(t, client, bucket(t, client, false), nil)
	for name, size := range map[string]int{"small": 10, "large": 6 << 20} {
		lost.Store(0)
		text := strings.Repeat("x", size)
		write := func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}
		if n, err := s.Put(t.Context(), name, write); err != nil || n != int64(size) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if lost.Load() < 1 {
			t.Errorf("%s: no response was lost", name)
		}
		if _, err := s.Put(t.Context(), name, write); err == nil {
			t.Errorf("%s: a file was replaced", name)
		}
	}
}
