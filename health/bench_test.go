package health

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// bareWriter is a ResponseWriter that costs nothing itself.
type bareWriter struct {
	h    http.Header
	code int
	n    int
}

func (w *bareWriter) Header() http.Header         { return w.h }
func (w *bareWriter) WriteHeader(code int)        { w.code = code }
func (w *bareWriter) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

func BenchmarkHandler(b *testing.B) {
	var checks []Check
	for i := range 10 {
		checks = append(checks, Func(fmt.Sprintf("check-%d", i), time.Second, func(context.Context) error { return nil }))
	}
	for name, authorization := range map[string]string{"anonymous": "", "details": "Bearer let-me-in"} {
		b.Run(name, func(b *testing.B) {
			r, err := New(checks, &Options{Authorize: BearerToken("let-me-in")})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.RunOnce(b.Context()); err != nil {
				b.Fatal(err)
			}
			req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/health/", nil)
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			w := &bareWriter{h: http.Header{}}
			h := r.Handler()
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, req)
			}
			if w.code != http.StatusOK {
				b.Fatalf("answered %d", w.code)
			}
		})
	}
}
