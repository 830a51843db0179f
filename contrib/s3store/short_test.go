package s3store

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// A body that ends early is an error of the connection. Without one, a job would call the
// backup damaged.
func TestDownloadThatEndsEarly(t *testing.T) {
	addr := start(t)
	direct := clientOf(t, addr, secretKey)
	name := bucket(t, direct, false)
	const size = 3 << 20
	put(t, open(t, direct, name, nil), "down", strings.Repeat("x", size))
	for what, end := range map[string]func(w http.ResponseWriter, body []byte){
		"cut": func(w http.ResponseWriter, body []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			w.WriteHeader(http.StatusOK)
			w.Write(body)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"short": func(w http.ResponseWriter, body []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(http.StatusOK)
			w.Write(body)
		},
		"chunked": func(w http.ResponseWriter, body []byte) {
			w.Header().Del("Content-Length")
			w.WriteHeader(http.StatusOK)
			w.Write(body)
			http.NewResponseController(w).Flush()
		},
	} {
		for _, length := range []int{0, 1, 511, 32 << 10, 1 << 20, size - 1} {
			client := through(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/down") {
					next.ServeHTTP(w, r)
					return
				}
				recorded := httptest.NewRecorder()
				next.ServeHTTP(recorded, r)
				for key, values := range recorded.Header() {
					w.Header()[key] = values
				}
				end(w, recorded.Body.Bytes()[:length])
			})
			r, err := open(t, client, name, nil).Open(t.Context(), "down")
			if err != nil {
				t.Errorf("%s %d: open %v", what, length, err)
				continue
			}
			n, err := io.Copy(io.Discard, r)
			if !errors.Is(err, io.ErrUnexpectedEOF) || n != int64(length) {
				t.Errorf("%s at %d: read %d bytes, %v", what, length, n, err)
			}
			r.Close()
		}
	}
}
